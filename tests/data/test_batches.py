"""Batches and the samplers that draw them."""

from collections import Counter

import numpy as np
import pytest
import torch

from hybridrec.data import batches
from hybridrec.data.batches import Histories, PairSampler, Plan, Rows, RowSampler
from hybridrec.data.dataset import Dataset, Ids, Relation
from hybridrec.errors import DataError


def dataset(users=40, items=25, seed=0):
    """Users with 0 to all but one of the items, some pairs twice."""
    random = np.random.default_rng(seed)
    links = [(u, i) for u in range(1, users) for i in random.choice(items, random.integers(1, items), replace=False)]
    links += links[:17]
    index = torch.tensor(links).T.contiguous()
    return Dataset({"user": Ids(np.arange(users)), "item": Ids(np.arange(items))}, {"x": Relation("user", "item", index)}, "x")


def links(data):
    return Counter(zip(*data.train.index.tolist(), strict=True))


@pytest.mark.parametrize("batch_size", [1, 7, 64, 10_000])
def test_pairs_of_an_epoch_are_the_training_links(batch_size):
    data = dataset()
    sampler = PairSampler(data, batch_size, seed=3)
    epoch = list(sampler.epoch(0))
    assert len(epoch) == sampler.steps
    assert [len(b.user) for b in epoch] == [sampler.size(s) for s in range(sampler.steps)]
    assert max(map(sampler.size, range(sampler.steps))) <= batch_size
    assert max(map(sampler.size, range(sampler.steps))) - min(map(sampler.size, range(sampler.steps))) <= 1
    assert Counter(p for b in epoch for p in zip(b.user.tolist(), b.positive.tolist(), strict=True)) == links(data)


@pytest.mark.parametrize("negatives", [1, 5])
def test_negatives_are_never_chosen_items(negatives):
    data = dataset()
    chosen = set(links(data))
    for epoch in range(3):
        for batch in PairSampler(data, 100, negatives=negatives).epoch(epoch):
            assert batch.negative.shape == ((len(batch.user),) if negatives == 1 else (len(batch.user), negatives))
            negative = batch.negative.view(len(batch.user), -1)
            assert not any((u, i) in chosen for u, row in zip(batch.user.tolist(), negative.tolist(), strict=True) for i in row)


def test_negatives_are_uniform_over_what_was_not_chosen():
    data = Dataset(
        {"user": Ids([0]), "item": Ids(range(8))},
        {"x": Relation("user", "item", torch.tensor([[0] * 5, [0, 2, 3, 5, 7]]))},
        "x",
    )
    sampler = PairSampler(data, 5, negatives=2000)
    drawn = torch.bincount(next(iter(sampler.epoch(0))).negative.flatten(), minlength=8)
    assert drawn[[0, 2, 3, 5, 7]].sum() == 0
    assert ((drawn[[1, 4, 6]] - 10_000 / 3).abs() < 5 * (10_000 * 2 / 9) ** 0.5).all()


def test_a_user_who_chose_everything_has_no_negative():
    data = Dataset(
        {"user": Ids(["ann", "bob"]), "item": Ids([1, 2])},
        {"x": Relation("user", "item", torch.tensor([[0, 1, 1], [0, 0, 1]]))},
        "x",
    )
    with pytest.raises(DataError, match="user 'bob' chose all 2 items: no negative can be drawn"):
        PairSampler(data)


@pytest.mark.parametrize("sampler", [PairSampler, RowSampler])
@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_an_epoch_without_loss_or_overlap(sampler, world):
    data = dataset()
    one = list(sampler(data, 12, seed=1).epoch(4))
    shares = [list(sampler(data, 12, seed=1).epoch(4, rank, world)) for rank in range(world)]
    for step, batch in enumerate(one):
        parts = [share[step] for share in shares]
        assert max(len(p.user) for p in parts) - min(len(p.user) for p in parts) <= 1
        for rank, part in enumerate(parts):
            assert torch.equal(part.user, batch.user[rank::world])
            if sampler is PairSampler:
                assert torch.equal(part.positive, batch.positive[rank::world])
                assert torch.equal(part.negative, batch.negative[rank::world])


@pytest.mark.parametrize("sampler", [PairSampler, RowSampler])
def test_an_epoch_is_fixed_by_seed_and_number(sampler):
    def stream(seed, epoch):
        return torch.cat([b.user for b in sampler(dataset(), 16, seed=seed).epoch(epoch)]).tolist()

    assert stream(0, 0) == stream(0, 0)
    assert len({tuple(stream(seed, epoch)) for seed in (0, 1) for epoch in (0, 1)}) == 4


@pytest.mark.parametrize("together", [1, 50, 1 << 20])
@pytest.mark.parametrize("sampler", [PairSampler, RowSampler])
def test_an_epoch_resumes_with_the_very_same_batches(sampler, together, monkeypatch):
    monkeypatch.setattr(batches, "ROWS_AT_ONCE", together)
    whole = list(sampler(dataset(), 6, seed=2).epoch(1))
    for start in range(len(whole) + 1):
        rest = list(sampler(dataset(), 6, seed=2).epoch(1, start=start))
        assert len(rest) == len(whole) - start
        for a, b in zip(rest, whole[start:], strict=True):
            assert all(torch.equal(x, y) for x, y in zip(tensors(a), tensors(b), strict=True))


def tensors(batch):
    return [batch.user, batch.history.offset, batch.history.item] if isinstance(batch, Rows) else list(batch)


def test_rows_are_users_with_their_training_history():
    data = dataset()
    seen = Counter()
    for batch in RowSampler(data, 9).epoch(0):
        for row, user in enumerate(batch.user.tolist()):
            items = batch.history.item[batch.history.offset[row] : batch.history.offset[row + 1]].tolist()
            seen.update((user, item) for item in items)
            assert items
    assert seen == links(data)


def test_a_plan_refuses_what_cannot_be_planned():
    with pytest.raises(DataError, match="nothing to train on"):
        Plan(0, 8, 0)
    with pytest.raises(ValueError, match="batch_size must be at least 1, not 0"):
        Plan(8, 0, 0)
    with pytest.raises(DataError, match="a batch of 2 rows cannot feed 4 processes; raise batch_size"):
        Plan(8, 2, 0).mine(0, 0, 4)


RAGGED = Histories(
    torch.tensor([0, 2, 2, 5]), torch.tensor([4, 1, 3, 0, 3]), torch.tensor([1.0, 2, 3, 4, 5], dtype=torch.float64)
)


def test_histories_taken_in_any_order():
    taken = RAGGED.take(torch.tensor([2, 1, 0, 2]))
    assert taken.offset.tolist() == [0, 3, 3, 5, 8]
    assert taken.item.tolist() == [3, 0, 3, 4, 1, 3, 0, 3]
    assert taken.time.tolist() == [3, 4, 5, 1, 2, 3, 4, 5]
    assert taken.rows.tolist() == [0, 0, 0, 2, 2, 3, 3, 3]
    assert RAGGED.take(torch.tensor([], dtype=torch.int64)).offset.tolist() == [0]


def test_histories_dense():
    assert RAGGED.dense(5).tolist() == [[0, 1, 0, 0, 1], [0] * 5, [1, 0, 0, 1, 0]]
    weight = torch.tensor([0.5, 2, 1, 3, 4])
    assert RAGGED.dense(5, weight).tolist() == [[0, 2, 0, 0, 0.5], [0] * 5, [3, 0, 0, 4, 0]]


def test_histories_of_lists_and_of_relations_agree():
    of_lists = Histories.lists([[4, 1], [], [3, 0, 3]])
    assert of_lists.offset.tolist() == RAGGED.offset.tolist() and of_lists.item.tolist() == RAGGED.item.tolist()
    early = Relation("u", "i", torch.tensor([[2, 0, 2], [3, 1, 3]]), torch.tensor([3.0, 2, 5], dtype=torch.float64))
    late = Relation("u", "i", torch.tensor([[2, 0], [0, 4]]), torch.tensor([4.0, 1], dtype=torch.float64))
    grouped = Histories.of([early, late], 3)
    assert grouped.offset.tolist() == RAGGED.offset.tolist()
    assert grouped.item.tolist() == RAGGED.item.tolist() and grouped.time.tolist() == RAGGED.time.tolist()


def test_histories_without_times_keep_the_order_given():
    one = Relation("u", "i", torch.tensor([[1, 0, 1], [7, 8, 9]]))
    two = Relation("u", "i", torch.tensor([[1], [5]]), torch.tensor([0.0], dtype=torch.float64))
    grouped = Histories.of([one, two], 2)
    assert grouped.item.tolist() == [8, 7, 9, 5] and grouped.time is None
