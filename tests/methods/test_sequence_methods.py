"""Sequence models: what they read, and what they do with histories that are long, empty or hold unknown items."""

import pytest
import torch
from conftest import planted

from hybridrec.data.batches import Histories, Query
from hybridrec.data.dataset import Dataset, Ids, Relation
from hybridrec.encoders.sequence import GRU, Backbone
from hybridrec.errors import QueryError
from hybridrec.evaluation.ranking import evaluate
from hybridrec.methods import SASRec
from hybridrec.methods.bert4rec import BERT4Rec
from hybridrec.objectives import BinaryCrossEntropy, FullSoftmax, GeneralisedBCE, SampledSoftmax
from hybridrec.saving import load_method, save_method
from hybridrec.training import fit


def ask(method, *lists):
    history = Histories.lists(lists)
    with torch.no_grad():
        return method.score(Query(torch.full((len(lists),), -1), history))


def ring(users=200, items=30, each=8):
    """Item i is always followed by item i + 1."""
    start = torch.randint(items, (users, 1), generator=torch.Generator().manual_seed(0))
    item = (start + torch.arange(each)) % items
    index = torch.stack([torch.arange(users).repeat_interleave(each), item.flatten()])
    time = torch.arange(index.shape[1], dtype=torch.float64)
    return Dataset({"user": Ids(range(users)), "item": Ids(range(items))}, {"x": Relation("user", "item", index, time)}, "x")


@pytest.fixture(scope="module")
def data():
    return planted()


@pytest.fixture(params=[SASRec, BERT4Rec])
def method(request, data):
    torch.manual_seed(0)
    return request.param(data, dim=16, window=6).eval()


def test_of_a_long_history_only_the_last_entries_count(method):
    long = [1, 2, 3, 4, 5, 6, 7, 8, 9]
    torch.testing.assert_close(ask(method, long), ask(method, [30, 31, *long[-5:]]))
    assert not torch.allclose(ask(method, long), ask(method, [30, *long[-4:]]))


def test_an_empty_history_has_an_answer_of_its_own(method):
    scores = ask(method, [], [3])
    assert scores.isfinite().all() and scores[0].std() > 0
    torch.testing.assert_close(scores[:1], ask(method, []))


def test_items_without_training_rows_are_passed_over(data):
    train = data.train.keep(data.train.index[1] != 7)
    for cls in (SASRec, BERT4Rec):
        method = cls(Dataset(data.ids, {"interact": train}, "interact"), dim=16, window=6).eval()
        torch.testing.assert_close(ask(method, [1, 7, 2], [7]), ask(method, [1, 2], []))


def test_a_position_that_is_no_items_is_refused(method):
    with pytest.raises(QueryError, match="item position 40, and there are 40 items"):
        ask(method, [1, 40])
    with pytest.raises(QueryError, match="item position -1"):
        ask(method, [-1])


def test_the_order_of_a_history_matters(method):
    assert not torch.allclose(ask(method, [1, 2, 3]), ask(method, [3, 2, 1]))


OBJECTIVES = [BinaryCrossEntropy(), GeneralisedBCE(8), SampledSoftmax(8), FullSoftmax()]
GPT2 = {"model_type": "gpt2", "n_embd": 32, "n_head": 2, "n_layer": 1, "n_positions": 64, "vocab_size": 3}
MAKERS = {
    **{type(o).__name__: lambda data, o=o: SASRec(data, dim=32, dropout=0.1, objective=o) for o in OBJECTIVES},
    "GRU": lambda data: SASRec(data, dim=32, encoder=GRU(32, dropout=0.1)),
    "GPT-2": lambda data: SASRec(data, dim=32, encoder=Backbone({**GPT2, "bos_token_id": 0, "eos_token_id": 0})),
    "BERT4Rec": lambda data: BERT4Rec(data, dim=32, dropout=0.1, tail=0.5),
}


@pytest.mark.parametrize("name", MAKERS)
def test_it_learns_what_follows_what(name, tmp_path):
    data = ring()
    torch.manual_seed(0)
    method = MAKERS[name](data)
    fit(method, data, epochs=80, batch_size=32, lr=5e-3, progress=False)
    lists = [1, 2, 3, 4, 5], [8, 9, 10, 11], [25, 26, 27, 28, 29]
    scores = ask(method, *lists)
    for row, seen in enumerate(lists):
        scores[row, seen] = -torch.inf
    found = scores.topk(2).indices.tolist()
    assert all(wanted in row for wanted, row in zip([6, 12, 0], found, strict=True)), found  # chance: 1 of 14 each
    save_method(method, tmp_path, data.schema)
    assert torch.equal(ask(load_method(tmp_path)[0], [3, 4, 5], []), ask(method, [3, 4, 5], []))


def test_an_output_is_trained_on_nothing_it_could_have_read(data):
    """The loss of a history's beginning does not change with what comes after it."""
    torch.manual_seed(0)
    method = SASRec(data, dim=16, window=9, objective=FullSoftmax()).eval()
    batch = next(iter(method.sampler(data, batch_size=8).epoch(0)))
    short = Histories.lists([[1, 2, 3]])
    seen = []
    method.objective = lambda z, items, wanted: seen.append((z, wanted.item)) or z.sum()
    method(batch._replace(user=torch.tensor([0]), history=short))
    method(batch._replace(user=torch.tensor([0]), history=Histories.lists([[1, 2, 3, 9, 8]])))
    torch.testing.assert_close(seen[1][0][:3], seen[0][0])
    assert seen[1][1].tolist() == [1, 2, 3, 9, 8]
    # The output that is to foretell the first entry has read nothing but the start, and says what an empty history says.
    torch.testing.assert_close(seen[0][0][:1], method.represent(Query(torch.tensor([-1]), Histories.lists([[]]))))


def test_it_is_evaluated_by_products(method, data):
    assert 0 <= evaluate(method, data, ks=(10,)).metrics["recall@10"] <= 1
