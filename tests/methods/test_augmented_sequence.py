"""Sequence methods that learn or generate their augmentations, term by term, against what they say, computed row by row."""

import math

import pytest
import torch
import torch.nn.functional as F
from conftest import planted
from torch import nn

from hybridrec.data.batches import Histories, Query, Rows
from hybridrec.data.sequences import preceded
from hybridrec.decoders.sequence_unet import SequenceUNet
from hybridrec.losses.adversarial import opposed
from hybridrec.methods import AsarRec, DiffuASR
from hybridrec.objectives import FullSoftmax

ROWS = [[1, 2, 3, 4], [5, 6, 7, 8, 9], [2, 3]]  # the first two share a block, with padding


@pytest.fixture(scope="module")
def data():
    return planted(users=20, items=12, each=6)


@pytest.fixture
def batch():
    return Rows(torch.tensor([0, 3, 8]), Histories.lists(ROWS))


def built(cls, data, dim=8, **arguments):
    torch.manual_seed(0)
    return cls(data, dim=dim, depth=1, window=7, dropout=0.0, objective=FullSoftmax(), **arguments)


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


def contrast(one, two, temperature):
    """NT-Xent as a double loop."""
    x, n, total = torch.cat([one, two]), len(one), 0
    for i in range(2 * n):
        score = F.cosine_similarity(x[i : i + 1], x) / temperature
        total = total - score[(i + n) % (2 * n)] + score[[j for j in range(2 * n) if j != i]].logsumexp(0)
    return total / (2 * n)


def fixed(change):
    """Draws that leave every step as it is, and then what ``change`` makes of that, wherever a step is real."""
    turn = iter(range(1000))

    def draw(odds):
        m = torch.eye(*odds.shape[1:]).expand_as(odds).clone()
        if next(turn) % 2:
            change(m)
        return m * odds.isfinite()

    return draw


def swapped(m):
    m[:, [0, 1]] = m[:, [1, 0]]


def dropped(m):
    m[:, 1] = 0


@pytest.mark.parametrize("change", [swapped, dropped])
def test_asarrec_equals_its_formula(data, batch, change):
    method = built(AsarRec, data, weight=0.3, diverse=0.2, invariant=0.7, temperature=0.5)
    method.augment.draw = fixed(change)
    terms = method(batch)
    mask = method.reader.mask
    changed = [[row[1], row[0], *row[2:]] if change is swapped else [row[0], mask, *row[2:]] for row in ROWS]
    expected = contrast(after(method, ROWS), after(method, changed), 0.5)
    torch.testing.assert_close(terms["contrast"], 0.3 * expected)
    # Two entries each of the identity and of what it was changed to differ, or one of the identity alone.
    distance = sum((4 if change is swapped else 1) / (2 * len(row)) for row in ROWS) / 3
    assert terms["diversity"].item() == pytest.approx(0.2 * (1 - distance))
    lost = []
    for row in ROWS:
        d = [1 / math.log2(1 + back) for back in range(len(row), 0, -1)]
        kept = sum(x * x for x in d[2:]) + (2 * d[0] * d[1] if change is swapped else d[0] ** 2)
        lost.append(1 - kept / sum(x * x for x in d))
    assert terms["invariance"].item() == pytest.approx(0.7 * sum(lost) / 3 / 2, rel=1e-4)  # the other view lost nothing


def test_the_augmenter_ascends_what_the_encoder_descends(data, batch):
    found = {}
    for inform in (1.0, 0.0, -1.0):
        method = built(AsarRec, data, inform=inform)
        torch.manual_seed(3)
        method(batch)["contrast"].backward()
        found[inform] = [p.grad for p in method.augment.parameters()], method.reader.encoder.place.grad
    up, none, down = found[1.0], found[0.0], found[-1.0]
    assert all(torch.equal(a, -b) for a, b in zip(up[0], down[0], strict=True)) and not any(g.any() for g in none[0])
    assert any(g.any() for g in up[0]) and torch.equal(up[1], down[1]) and torch.equal(up[1], none[1]) and up[1].any()


def test_what_is_opposed_is_itself():
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    y = opposed(x, 0.5)
    (y * torch.tensor([3.0, 4.0])).sum().backward()
    assert torch.equal(y, x) and x.grad.tolist() == [-1.5, -2.0]


def test_asarrec_draws_two_views_anew(data, batch):
    method = built(AsarRec, data)
    views = method.views(batch.history)
    assert not torch.allclose(views.one, views.two) and (views.apart > 0).any()
    assert views.one.shape == (3, 8) and len(views.kept) == 6


def test_items_go_before_rows_that_have_some():
    history = Histories.lists([[1, 2], [], [3]])
    longer = preceded(history, torch.tensor([[7, 8], [9, 9], [5, 6]]))
    assert lists(longer) == [[7, 8, 1, 2], [], [5, 6, 3]]


class Oracle(nn.Module):
    """A denoiser that knows what the noise is in, ``clean`` (..., M, D), for a guide other than ``blind``; 0 for that one."""

    def __init__(self, method, clean):
        super().__init__()
        self.kept, self.clean = method.scheduler.alphas_cumprod, clean
        self.blind = nn.Parameter(torch.full((clean.shape[-1],), 5.0))
        self.asked = []

    def forward(self, x, t, guide):
        self.asked.append((torch.as_tensor(t), guide))
        kept = self.kept[torch.as_tensor(t)].view(-1, 1, 1)
        noise = (x - kept.sqrt() * self.clean) / (1 - kept).sqrt()
        return torch.where((guide == self.blind).all(1).view(-1, 1, 1), 0.0, noise)


def test_diffuasr_noises_the_first_items_of_long_rows_and_is_guided_by_the_rest(data):
    method = built(DiffuASR, data, dim=16, length=2, blind=0.0)
    rows = [[1, 2, 3, 4, 5], [6, 7, 8], [9, 1, 0, 2]]  # the second has too few
    vectors = F.normalize(method.reader.items.detach(), dim=1) * 4
    clean = torch.stack([vectors[[1, 2]], vectors[[9, 1]]])
    method.denoiser = Oracle(method, clean)
    assert method.denoising(Histories.lists(rows)).item() < 1e-5
    (t, guide) = method.denoiser.asked[0]
    assert t.shape == (2,) and (t < 1000).all()
    torch.testing.assert_close(guide, torch.stack([vectors[[3, 4, 5]].mean(0), vectors[[0, 2]].mean(0)]))
    method.blind = 1.0
    assert method.denoising(Histories.lists(rows)).item() > 0.3  # unguided, the oracle says there is no noise
    assert method.denoising(Histories.lists([[1, 2]])).item() == 0


def test_diffuasr_generates_what_its_denoiser_knows(data):
    method = built(DiffuASR, data, dim=16, length=3, scale=0.0)
    wanted = torch.tensor([4, 2, 9])
    method.denoiser = Oracle(method, method.vectors[wanted])
    history = Histories.lists([[1, 2, 3], [5]])
    noise = torch.randn(2, 3, 16)
    assert torch.equal(method.generated(history, noise), wanted.expand(2, 3))
    assert [int(t) for t, _ in method.denoiser.asked[::2]] == [999, 799, 599, 399, 199]
    # With a scale, DDIM (arXiv 2010.02502, eq. 12, without its noise) over the combined prediction, as it stands there.
    method.scale, x, kept = 0.5, noise, method.scheduler.alphas_cumprod
    guide, none = torch.stack([method.vectors[[1, 2, 3]].mean(0), method.vectors[5]]), method.denoiser.blind.expand(2, 16)
    for t, to in ((999, 799), (799, 599), (599, 399), (399, 199), (199, -1)):
        error = 1.5 * method.denoiser(x, t, guide) - 0.5 * method.denoiser(x, t, none)
        clean = (x - (1 - kept[t]).sqrt() * error) / kept[t].sqrt()
        before = kept[to] if to >= 0 else torch.tensor(1.0)
        x = before.sqrt() * clean + (1 - before).sqrt() * error
    alike = F.cosine_similarity(x.unsqueeze(2), method.reader.items, dim=3)
    assert torch.equal(method.generated(history, noise), alike.argmax(2))


def test_diffuasr_reads_generated_items_and_asks_only_for_the_others(data, batch):
    method = built(DiffuASR, data, dim=16, length=3)
    pseudo = torch.arange(60).view(20, 3) % 12
    method.pseudo = pseudo
    terms = method(batch)
    total = 0
    for user, row in zip(batch.user.tolist(), ROWS, strict=True):
        whole = [*pseudo[user].tolist(), *row][-7:]
        for place in range(len(whole) - len(row), len(whole)):
            score = method.reader.items @ after(method, [whole[:place]])[0]
            total = total + F.cross_entropy(score, torch.tensor(whole[place]))
    assert set(terms) == {"next"}
    torch.testing.assert_close(terms["next"], total / 3 / method.mean)


def test_diffuasr_warms_up_then_generates_once_and_answers_likewise(data):
    method = built(DiffuASR, data, dim=16, length=2, warmup=1).eval()
    history = data.histories().take(torch.tensor([0, 1]))
    query = Query(torch.tensor([0, 1, -1]), Histories.lists([*lists(history), []]))
    plain = method.represent(query)
    torch.testing.assert_close(plain, after(method, lists(query.history)))
    method.refresh()
    assert not method.longer and "diffusion" in method(Rows(torch.tensor([0]), Histories.lists([[1, 2, 3, 4]])))
    method.refresh()
    first = method.pseudo.clone()
    method.refresh()
    assert method.longer and torch.equal(first, method.pseudo) and method.reader.met[first].all()
    items = method.generated(history, method.noise.expand(2, -1, -1)).tolist()
    longer = [[*new, *row] for new, row in zip(items, lists(history), strict=True)]
    torch.testing.assert_close(method.represent(query), after(method, [*longer, []]))


def test_the_unet_takes_vectors_for_square_images():
    with pytest.raises(ValueError, match="dim must be a square number, 16 or 64, not 12"):
        SequenceUNet(3, 12)
    torch.manual_seed(0)
    model = SequenceUNet(3, 64).eval()
    assert model.unet.config.in_channels == 3 and len(model.unet.config.block_out_channels) == 3  # sides 8, 4, 2
    x, guide = torch.randn(2, 3, 64), torch.randn(2, 64)
    out = model(x, torch.tensor([5, 900]), guide)
    assert out.shape == x.shape
    torch.testing.assert_close(out[1:], model(x[1:], 900, guide[1:]))
    assert not torch.allclose(out[1:], model(x[1:], 900, guide[:1]))
    assert not torch.allclose(out[1:], model(x[1:], 5, guide[1:]))
