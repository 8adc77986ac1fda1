"""Contrastive sequence methods, term by term, against what their papers say, computed row by row."""

import pytest
import torch
import torch.nn.functional as F
from conftest import planted

from hybridrec.data.batches import Histories, Rows
from hybridrec.methods import CL4SRec, DuoRec, ICLRec
from hybridrec.objectives import FullSoftmax


@pytest.fixture(scope="module")
def data():
    return planted(users=20, items=12, each=6)


@pytest.fixture
def batch(data):
    users = torch.tensor([0, 3, 8, 5])
    return Rows(users, data.histories().take(users))


def built(cls, data, **arguments):
    torch.manual_seed(0)
    return cls(data, dim=8, depth=1, window=6, dropout=0.0, temperature=0.5, objective=FullSoftmax(), **arguments)


def lists(h):
    return [h.item[a:b].tolist() for a, b in zip(h.offset[:-1], h.offset[1:], strict=True)]


def after(method, rows):
    """What is known after each row, read alone with the start before it."""
    reader = method.reader
    found = []
    for row in rows:
        read = Histories.lists([[reader.start, *row]])
        found.append(reader.encoder(read, reader.table[read.item])[-1])
    return torch.stack(found)


def contrast(one, two, same=None, temperature=0.5):
    """NT-Xent as a double loop."""
    x, n, total = torch.cat([one, two]), len(one), 0
    for i in range(2 * n):
        other = (i + n) % (2 * n)
        keep = [j for j in range(2 * n) if j == other or (j != i and not (same is not None and same[j % n] == same[i % n]))]
        score = F.cosine_similarity(x[i : i + 1], x) / temperature
        total = total - score[other] + score[keep].logsumexp(0)
    return total / (2 * n)


def next_item(method, batch):
    total = 0
    for row in lists(batch.history):
        for t, item in enumerate(row):
            score = method.reader.items @ after(method, [row[:t]])[0]
            total = total + F.cross_entropy(score, torch.tensor(item))
    return total / len(batch.user) / method.length


def test_cl4srec_equals_its_formula(data, batch):
    method = built(CL4SRec, data, weight=0.3)
    views = [Histories.lists([row[1:] for row in lists(batch.history)]), batch.history]
    drawn = iter(views)
    method.view = lambda history: next(drawn)
    terms = method(batch)
    torch.testing.assert_close(terms["next"], next_item(method, batch))
    one, two = (after(method, lists(view)) for view in views)
    torch.testing.assert_close(terms["contrast"], 0.3 * contrast(one, two))


def test_duorec_pairs_what_led_to_the_same_item(data):
    method = built(DuoRec, data, weight=0.3)
    rows = [[1, 2, 3], [4, 5], [7, 3]]
    batch = Rows(torch.tensor([0, 1, 2]), Histories.lists(rows))
    others = [[5, 6], [9], [8, 8]]
    asked = []
    method.prefixes.another = lambda user, target, window: asked.append(target) or Histories.lists(others)
    terms = method(batch)
    assert asked[0].tolist() == [3, 5, 3]
    one, two = after(method, [row[:-1] for row in rows]), after(method, others)
    torch.testing.assert_close(terms["contrast"], 0.3 * contrast(one, two, same=[3, 5, 3]))
    torch.testing.assert_close(terms["next"], next_item(method, batch))


def test_duorec_draws_dropout_anew_for_its_views(data, batch):
    torch.manual_seed(0)
    method = DuoRec(data, dim=8, depth=1, dropout=0.5)
    read = method.reader
    one, two = (method.view(read)(batch.history) for _ in range(2))
    assert not torch.allclose(one, two)


def test_iclrec_sets_views_against_the_nearest_of_all_intents(data, batch):
    method = built(ICLRec, data, weight=0.2, contrast=0.3, intents=3)
    method.refresh()
    assert method._found.shape == (3, 8)
    method.view = lambda history: history
    terms = method(batch)
    x = after(method, lists(batch.history))
    cosine = F.cosine_similarity(x.unsqueeze(1), method._found.unsqueeze(0), dim=2)
    torch.testing.assert_close(terms["intent"], 0.2 * F.cross_entropy(cosine / 0.5, cosine.argmax(1)))
    torch.testing.assert_close(terms["contrast"], 0.3 * contrast(x, x))


def test_iclrec_has_no_intent_while_it_warms_up(data, batch):
    method = built(ICLRec, data, warmup=1, intents=3)
    method.refresh()
    assert set(method(batch)) == {"next", "contrast"}
    method.refresh()
    assert set(method(batch)) == {"next", "contrast", "intent"}
