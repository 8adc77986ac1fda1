"""Alignment of a tiny text encoder with collaborative embeddings of two kinds of items."""

from dataclasses import replace

import pyarrow as pa
import pytest
import torch
from tinytext import tiny_sentences

from hybridrec.data.batches import Histories, Query
from hybridrec.data.split import ColdItems
from hybridrec.encoders.text import TextEncoder
from hybridrec.errors import DataError
from hybridrec.evaluation.ranking import evaluate
from hybridrec.foldin import least_squares
from hybridrec.methods.align import Align, Contrast, FoldSampler, Rebuild
from hybridrec.training import fit

COLOURS = ["red", "green", "blue", "pink", "grey"]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_sentences(tmp_path_factory.mktemp("base"), ["quiet drama space robots", " ".join(COLOURS)])


@pytest.fixture(name="data")
def _data(planted):
    titles = [f"{COLOURS[i % 5]} {('quiet drama', 'space robots')[i % 2]}" for i in range(40)]
    table = pa.table({"item_id": planted.ids["item"].values, "title": titles})
    return ColdItems(valid=0.1, test=0.2)(replace(planted, tables={"item": table}))


class Placed:
    """Collaborative embeddings: the kind of an item, and something of its own; users by least squares."""

    def __init__(self, dim=6):
        random = torch.randn(40, dim, generator=torch.Generator().manual_seed(0))
        kind = torch.where(torch.arange(40) % 2 == 0, 1.0, -1.0)
        self.items = torch.cat([kind.unsqueeze(1), 0.3 * random[:, 1:]], 1)

    def catalogue(self):
        return self.items

    def represent(self, query):
        assert (query.user == -1).all()  # a learned vector would have seen the step's items
        return least_squares(query.history, self.items)


def aligned(data, base, **arguments):
    torch.manual_seed(0)
    titles = data.tables["item"]["title"].to_pylist()
    return Align(data, TextEncoder(base, dim=6, rank=2), titles, Placed(), **arguments)


def known_query(data):
    return Query(torch.arange(60), data.histories())


def test_every_item_of_a_fold_is_drawn_once_and_batches_keep_to_a_fold(data, base):
    method = aligned(data, base)
    sampler = method.sampler(data, batch_size=3, seed=5)
    batches = [b.item for b in sampler.epoch(0)]
    assert len(batches) == sampler.steps and [len(b) for b in batches] == [sampler.size(s) for s in range(sampler.steps)]
    assert torch.equal(torch.cat(batches).sort().values, data.train.index[1].unique())
    assert all(len(set(method.fold[b].tolist())) == 1 for b in batches)
    assert torch.equal(torch.cat([b.item for b in sampler.epoch(0)]), torch.cat(batches))
    assert not torch.equal(torch.cat([b.item for b in sampler.epoch(1)]), torch.cat(batches))
    assert torch.equal(torch.cat([b.item for b in sampler.epoch(0, start=4)]), torch.cat(batches[4:]))


def test_processes_share_a_batch(data, base):
    method = aligned(data, base)
    sampler = FoldSampler(data, 6, fold=method.fold)
    both = zip(sampler.epoch(0), sampler.epoch(0, 0, 2), sampler.epoch(0, 1, 2), strict=True)
    for whole, one, two in both:
        assert sorted([*one.item.tolist(), *two.item.tolist()]) == sorted(whole.item.tolist())


def test_users_of_a_fold_never_saw_its_items(data, base):
    method = aligned(data, base, folds=3)
    history = data.histories()
    for f in range(3):
        rows = [history.item[a:b] for a, b in zip(history.offset[:-1], history.offset[1:], strict=True)]
        rest = Histories.lists([row[method.fold[row] != f].tolist() for row in rows])
        torch.testing.assert_close(method.users[f], least_squares(rest, method.items))


def test_items_that_training_never_saw_say_nothing_in_a_history(data, base):
    method = aligned(data, base)
    cold = data.cold("test")[:2].tolist()
    query = Query(torch.tensor([-1, -1, 0]), Histories.lists([[1, 2], [1, *cold, 2], cold]))
    one, other, empty = method.represent(query)
    assert torch.equal(one, other) and not empty.any()


def test_loss_is_the_mean_surprise_of_the_links_by_hand(data, base):
    method = aligned(data, base).eval()
    method.start(1.0)
    item = (method.fold == 2).nonzero().flatten()[:4]
    z = method.catalogue()[item]
    links = [(user, chosen) for user, chosen in data.train.index.unique(dim=1).T.tolist() if chosen in item]
    total, weights = torch.zeros(()), 0.0
    for user, chosen in links:
        scores = method.log_scale.exp() * z @ method.users[2][user]
        weight = sum(u == user for u, _ in links) ** -0.5
        total, weights = total - weight * scores.log_softmax(0)[item.tolist().index(chosen)], weights + weight
    terms = method(type(next(method.sampler(data, batch_size=4).epoch(0)))(item))
    torch.testing.assert_close(terms["choose"], total / weights)


def test_start_is_the_ridge_regression(data, base):
    method = aligned(data, base)
    method.start(0.5)
    known = method.fold >= 0
    s, q = method.sentences()[known], method.items[known]
    x = s - s.mean(0)
    w = torch.linalg.lstsq(torch.cat([x, 0.5**0.5 * torch.eye(16)]), torch.cat([q - q.mean(0), torch.zeros(16, 6)])).solution
    torch.testing.assert_close(method.catalogue()[known], x @ w + q.mean(0), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("objective", [Contrast(), Rebuild()])
def test_terms_reach_adapter_and_projection(data, base, objective):
    method = aligned(data, base, objective=objective, views=[["red"] * 40, ["space"] * 40], share=1.0)
    method.start(1.0)
    terms = method.train()(next(method.sampler(data, batch_size=16).epoch(0)))
    assert set(terms) == {"choose", "align"} and all(t.isfinite() and t.dim() == 0 for t in terms.values())
    sum(terms.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in method.parameters() if p.requires_grad)


def test_objectives_are_least_where_texts_stand_on_their_items():
    torch.manual_seed(0)
    q = torch.randn(20, 8)
    for objective in (Contrast(), Rebuild()):
        assert objective(q, q) < objective(q + 0.5 * torch.randn(20, 8), q) < objective(q.flip(0), q)
    assert Rebuild()(2 * q, q).item() == pytest.approx(0, abs=1e-6)


def test_views_stand_for_texts_as_often_as_asked(data, base):
    method = aligned(data, base, views=[["red"] * 40, ["space"] * 40], share=0.5)
    torch.manual_seed(0)
    which = method._renderings(torch.zeros(3000, dtype=torch.int64))
    assert abs((which == 0).float().mean() - 0.5) < 0.05 and abs((which == 1).float().mean() - 0.25) < 0.05
    assert not aligned(data, base)._renderings(torch.zeros(100, dtype=torch.int64)).any()


def test_training_places_cold_items_by_what_their_texts_say(data, base):
    method = aligned(data, base)
    cold = data.cold("test")

    def gap():
        kind = method.catalogue()[cold, 0]
        return (kind[cold % 2 == 0].min() - kind[cold % 2 == 1].max()).item()

    assert gap() == 0  # the projection begins at zero
    trained = fit(method, data, epochs=20, batch_size=16, lr=1e-2, every=20, progress=False)
    assert trained.history[-1]["choose"] < trained.history[0]["choose"]
    assert gap() > 0.05  # every item of one kind stands beyond every item of the other
    assert evaluate(method, data, candidates=cold, ks=(4,)).metrics["ndcg@4"] > 0.46  # by kind alone: 0.63, by nothing: 0.42


def test_unseen_users_are_folded_in(data, base):
    method = aligned(data, base).eval()
    method.start(1.0)
    history = data.histories().take(torch.tensor([3]))
    known, unknown = (method.score(Query(torch.tensor([u]), history)) for u in (3, -1))
    assert known.shape == (1, 40) and torch.equal(known, unknown)
    everyone = method.represent(known_query(data))
    torch.testing.assert_close(everyone, method.everyone)


def test_misshapen_input_is_named(data, base):
    encoder = TextEncoder(base, dim=6)
    with pytest.raises(DataError, match="3 texts for 40 items"):
        Align(data, encoder, ["a"] * 3, Placed())
    with pytest.raises(DataError, match=r"\(40, 5\), wanted \(40, 6\)"):
        Align(data, encoder, ["a"] * 40, Placed(5))


def test_texts_are_the_mean_of_the_tuned_and_the_frozen_encoder(data, base, tmp_path):
    method = aligned(data, base)
    method.start(1.0)
    encoder = method.encoder.eval()
    begun = method.catalogue().clone()
    with torch.no_grad():
        for p in encoder.adapter():
            torch.nn.init.normal_(p, std=0.2)
        encoder.projection.weight.mul_(2.0)
    texts = data.tables["item"]["title"].to_pylist()
    tuned = encoder.projection(encoder.sentences(encoder.tokenise(texts)))
    torch.testing.assert_close(method.catalogue(), (tuned + begun) / 2)
    torch.testing.assert_close(encoder.encode(texts), (tuned + begun) / 2)
    encoder.save(tmp_path)
    torch.testing.assert_close(TextEncoder.load(tmp_path).encode(texts), encoder.encode(texts))
    encoder.mix = 1.0
    torch.testing.assert_close(encoder.encode(texts), tuned)
    assert all(p.requires_grad for p in encoder.adapter())  # asking the frozen side has not frozen the adapter
