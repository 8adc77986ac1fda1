"""Histories as sequences, and the sampler of their windows."""

from collections import Counter

import numpy as np
import pytest
import torch

from hybridrec.data.batches import Histories
from hybridrec.data.dataset import Dataset, Ids, Relation
from hybridrec.data.sequences import HistorySampler, PrefixSampler, appended, kept, last, newest, places, prepended, shifted
from hybridrec.data.split import TemporalSplit

H = Histories.lists([[5, 6, 7], [], [8], [1, 2, 3, 4]])


def lists(history):
    return [history.item[a:b].tolist() for a, b in zip(history.offset[:-1], history.offset[1:], strict=True)]


def dataset(lengths, seed=0, time=None):
    random = np.random.default_rng(seed)
    links = [(user, item) for user, n in enumerate(lengths) for item in random.integers(0, 50, n)]
    index = torch.tensor(links).T.contiguous()
    relation = Relation("user", "item", index, time)
    return Dataset({"user": Ids(range(len(lengths))), "item": Ids(range(50))}, {"x": relation}, "x")


LENGTHS = [0, 1, 2, 3, 12, 5, 30, 2, 9, 10, 11, 4, 7]


def test_cut_shifted_and_marked():
    assert lists(last(H, 2)) == [[6, 7], [], [8], [3, 4]]
    assert lists(last(H, 9)) == lists(H)
    assert lists(shifted(H, 0)) == [[0, 5, 6], [], [0], [0, 1, 2, 3]]
    assert lists(prepended(H, 0)) == [[0, 5, 6, 7], [0], [0, 8], [0, 1, 2, 3, 4]]
    assert lists(appended(H, 0)) == [[5, 6, 7, 0], [0], [8, 0], [1, 2, 3, 4, 0]]
    assert lists(kept(H, H.item % 2 == 1)) == [[5, 7], [], [], [1, 3]]
    assert places(H).tolist() == [0, 1, 2, 0, 0, 1, 2, 3]
    assert appended(H, 0).item[newest(appended(H, 0))].tolist() == [0, 0, 0, 0]
    empty = Histories.lists([[], []])
    assert lists(shifted(empty, 3)) == lists(last(empty, 3)) == [[], []]
    assert lists(prepended(empty, 3)) == [[3], [3]]


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_every_history_gives_its_last_entries_once_an_epoch(batch_size):
    data = dataset(LENGTHS)
    sampler = HistorySampler(data, batch_size, seed=3, window=10)
    batches = list(sampler.epoch(0))
    assert [len(b.user) for b in batches] == [sampler.size(s) for s in range(sampler.steps)]
    found = {user: row for b in batches for user, row in zip(b.user.tolist(), lists(b.history), strict=True)}
    whole = lists(data.histories())
    assert found == {user: row[-10:] for user, row in enumerate(whole) if len(row) >= 2}
    assert sum(len(b.user) for b in batches) == len(found)
    for batch in batches:
        assert (batch.history.lengths.diff() >= 0).all()


@pytest.mark.parametrize("stride", [1, 4, 10])
def test_with_a_stride_every_entry_is_in_some_window(stride):
    data = dataset(LENGTHS)
    windows = [
        (user, tuple(row))
        for b in HistorySampler(data, 5, window=10, stride=stride, shortest=1).epoch(0)
        for user, row in zip(b.user.tolist(), lists(b.history), strict=True)
    ]
    for user, row in enumerate(lists(data.histories())):
        ends = [end for end in range(len(row), 0, -stride) if end == len(row) or end + stride > 10]
        assert Counter(w for u, w in windows if u == user) == Counter(tuple(row[max(0, e - 10) : e]) for e in ends)
        assert not row or min(max(0, e - 10) for e in ends) == 0


def test_an_epoch_depends_on_seed_and_number_alone_and_may_start_anywhere():
    data = dataset(LENGTHS)

    def users(seed, epoch, **kwargs):
        return [b.user.tolist() for b in HistorySampler(data, 4, seed=seed, window=10).epoch(epoch, **kwargs)]

    assert users(0, 3) == users(0, 3)
    assert users(0, 3) != users(0, 4) and users(0, 3) != users(1, 3)
    assert users(0, 3, start=2) == users(0, 3)[2:]


@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_each_batch(world):
    data = dataset(LENGTHS)
    one = list(HistorySampler(data, 6, window=10).epoch(1))
    shares = [list(HistorySampler(data, 6, window=10).epoch(1, rank, world)) for rank in range(world)]
    for step, batch in enumerate(one):
        parts = [share[step] for share in shares]
        assert sorted(u for p in parts for u in p.user.tolist()) == sorted(batch.user.tolist())
        assert sum(len(p.history.item) for p in parts) == len(batch.history.item)


def test_entries_of_one_time_keep_file_order():
    time = torch.tensor([2.0, 1.0, 2.0, 1.0, 0.0])
    relation = Relation("user", "item", torch.tensor([[0, 0, 0, 0, 0], [10, 11, 12, 13, 14]]), time)
    data = Dataset({"user": Ids([0]), "item": Ids(range(20))}, {"x": relation}, "x")
    assert next(iter(HistorySampler(data, window=9).epoch(0))).history.item.tolist() == [14, 11, 13, 10, 12]


def test_memory_is_that_of_the_entries_not_of_the_longest_history():
    lengths = [3] * 5000 + [20_000]
    sampler = HistorySampler(dataset(lengths), 64, window=50)
    held = sum(x.nbytes for x in (sampler.user, sampler.end, sampler.length, *(y for y in sampler.history if y is not None)))
    assert held < 8 * 3 * sum(lengths)
    assert max(len(b.history.item) for b in sampler.epoch(0)) <= 63 * 3 + 50


def test_windows_of_nothing_are_refused():
    with pytest.raises(ValueError, match="at least 1"):
        HistorySampler(dataset(LENGTHS), window=0)


@pytest.mark.parametrize("window", [1, 4, 50])
def test_every_entry_is_told_once_an_epoch_from_what_stood_before_it(window):
    data = dataset(LENGTHS)
    sampler = PrefixSampler(data, batch_size=7, seed=3, window=window)
    batches = list(sampler.epoch(0))
    assert [len(b.user) for b in batches] == [sampler.size(s) for s in range(sampler.steps)]
    found = Counter((user, tuple(row)) for b in batches for user, row in zip(b.user.tolist(), lists(b.history), strict=True))
    whole = lists(data.histories())
    assert found == Counter((u, tuple(row[: t + 1][-window:])) for u, row in enumerate(whole) for t in range(len(row)))
    for batch in batches:
        assert (batch.history.lengths.diff() >= 0).all()


def test_some_entries_of_each_history_are_drawn_anew_for_every_epoch():
    data = dataset(LENGTHS)
    sampler = PrefixSampler(data, batch_size=7, seed=3, each=3)

    def told(epoch, **share):
        return [
            (u, tuple(r)) for b in sampler.epoch(epoch, **share) for u, r in zip(b.user.tolist(), lists(b.history), strict=True)
        ]

    assert Counter(user for user, _ in told(0)) == {user: min(n, 3) for user, n in enumerate(LENGTHS) if n}
    assert len(set(told(0))) == len(told(0)) and set(told(0)) != set(told(1))
    assert told(1) == told(1)
    assert sorted(told(0, rank=0, world=2) + told(0, rank=1, world=2)) == sorted(told(0))
    with pytest.raises(ValueError, match="each must be at least 1"):
        PrefixSampler(data, each=0)


def test_after_a_split_by_time_histories_end_where_the_held_out_rows_begin_and_ties_keep_file_order():
    # Users by turns; rows of one moment: items 3 then 1 of user 0, and 9, 8 of user 1.
    index = torch.tensor([[0, 0, 1, 0, 1, 1, 0, 1, 0], [5, 3, 7, 1, 9, 8, 2, 6, 4]])
    time = torch.tensor([1.0, 2, 1, 2, 3, 3, 4, 4, 5], dtype=torch.float64)
    relation = Relation("user", "item", index, time)
    whole = Dataset({"user": Ids(range(2)), "item": Ids(range(10))}, {"x": relation}, "x")
    data = TemporalSplit(valid=0.2, test=0.1)(whole)
    assert lists(data.histories()) == [[5, 3, 1], [7, 9, 8]]
    assert lists(data.histories("train", "valid")) == [[5, 3, 1, 2], [7, 9, 8, 6]]
    rows = {b.user.item(): lists(b.history)[0] for b in HistorySampler(data, batch_size=1).epoch(0)}
    assert rows == {0: [5, 3, 1], 1: [7, 9, 8]}
    assert data.heldout["test"].index.tolist() == [[0], [4]]
