"""Views of histories, against what each must leave as it was, and item-item similarity against a hand-worked example."""

import math

import pytest
import torch

from hybridrec.data.batches import Histories
from hybridrec.views.correlated import Insert, Substitute, correlated_items
from hybridrec.views.sequence import Crop, ItemMask, OneOf, Reorder, segment, some

LENGTHS = (7, 0, 1, 10, 3, 10)
MASK = 999


@pytest.fixture
def history():
    item = iter(range(1000))
    return Histories.lists([[next(item) for _ in range(n)] for n in LENGTHS])


def lists(h):
    return [h.item[a:b].tolist() for a, b in zip(h.offset[:-1], h.offset[1:], strict=True)]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_some_draws_exactly_so_many_of_each_row_and_each_entry_alike(history):
    count = torch.tensor([3, 0, 1, 10, 0, 4])
    total = torch.zeros(len(history.item))
    for seed in range(400):
        drawn = some(history, count, seeded(seed))
        assert torch.equal(torch.bincount(history.rows[drawn], minlength=6), count)
        total += drawn
    expected = (count / history.lengths)[history.rows]
    assert (total / 400 - expected).abs().max() < 0.1


def test_a_segment_is_one_run_that_may_start_anywhere():
    history = Histories.lists([list(range(4))])
    starts = set()
    for seed in range(60):
        run = segment(history, torch.tensor([2]), seeded(seed)).nonzero().flatten()
        assert run.tolist() == [run[0], run[0] + 1]
        starts.add(int(run[0]))
    assert starts == {0, 1, 2}


def test_crop_keeps_a_run_of_the_floor_of_the_share(history):
    for seed in range(20):
        for whole, part in zip(lists(history), lists(Crop(0.6)(history, seeded(seed))), strict=True):
            assert len(part) == min(len(whole), max(1, math.floor(0.6 * len(whole))))
            assert not part or part == list(range(part[0], part[0] + len(part)))


def test_mask_replaces_the_floor_of_the_share_in_place(history):
    for whole, part in zip(lists(history), lists(ItemMask(MASK, 0.3)(history, seeded())), strict=True):
        assert len(whole) == len(part)
        assert sum(x == MASK for x in part) == math.floor(0.3 * len(whole))
        assert all(x in (y, MASK) for x, y in zip(part, whole, strict=True))


def test_reorder_permutes_within_one_run(history):
    moved = 0
    for seed in range(20):
        for whole, part in zip(lists(history), lists(Reorder(0.5)(history, seeded(seed))), strict=True):
            assert sorted(whole) == sorted(part)
            wrong = [i for i, (x, y) in enumerate(zip(whole, part, strict=True)) if x != y]
            assert not wrong or wrong[-1] - wrong[0] < math.floor(0.5 * len(whole))
            moved += len(wrong)
    assert moved > 50


def test_one_of_gives_every_row_one_of_its_views():
    history = Histories.lists([list(range(10))] * 300)
    view = OneOf([Crop(0.5), ItemMask(MASK, 0.5)])
    parts = lists(view(history, seeded()))
    cropped = [p for p in parts if len(p) == 5]
    masked = [p for p in parts if len(p) == 10 and p.count(MASK) == 5]
    assert len(cropped) + len(masked) == 300 and 100 < len(cropped) < 200
    assert parts[0] != parts[1] or parts[1] != parts[2]


@pytest.mark.parametrize("view", [Crop(0.6), ItemMask(MASK), Reorder(), OneOf([Crop(), Reorder()])])
def test_a_view_depends_on_its_generator_alone_and_keeps_times_rising(view, history):
    timed = history._replace(time=torch.arange(len(history.item), dtype=torch.float64))
    one, two = view(timed, seeded(3)), view(timed, seeded(3))
    assert torch.equal(one.item, two.item) and torch.equal(one.offset, two.offset)
    torch.rand(3)
    assert torch.equal(view(timed, seeded(3)).item, one.item)
    assert one.time is not None and (one.time.diff() > 0).all()


@pytest.fixture
def chosen():
    # Items 0 and 1 share two users, 0 and 2 one with a long history; 3 is alone.
    return Histories.lists([[0, 1], [1, 0, 0], [0, 2, 4], [3], []])


def test_correlated_items_equal_the_sum_worked_by_hand(chosen):
    # |users|: 0: 3, 1: 2, 2: 1, 3: 1, 4: 1. Histories of 2, 2, 3 and 1 items.
    assert correlated_items(chosen, 6, k=3).tolist() == [
        [1, 2, 4],  # 2 / log 3 / sqrt 6 = .74, then 1 / log 4 / sqrt 3 = .42 twice
        [0, -1, -1],
        [4, 0, -1],  # 1 / log 4 / sqrt 1 = .72, 1 / log 4 / sqrt 3
        [-1, -1, -1],
        [2, 0, -1],
        [-1, -1, -1],
    ]


def test_substitute_puts_what_goes_with_an_item_in_its_place(chosen):
    near = correlated_items(chosen, 5)
    parts = lists(Substitute(near, 1.0)(chosen, seeded()))
    assert parts == [[1, 0], [0, 1, 1], [1, 4, 2], [3], []]
    assert lists(Substitute(near, 0.5)(chosen, seeded()))[3:] == [[3], []]


def test_insert_puts_what_goes_with_an_item_before_it(chosen):
    near = correlated_items(chosen, 5)
    timed = chosen._replace(time=torch.arange(len(chosen.item), dtype=torch.float64))
    grown = Insert(near, 1.0)(timed, seeded())
    assert lists(grown) == [[1, 0, 0, 1], [0, 1, 1, 0, 1, 0], [1, 0, 4, 2, 2, 4], [3], []]
    assert grown.time.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8]
    some_grown = Insert(near, 0.5)(chosen, seeded())
    assert some_grown.lengths.tolist() == [3, 4, 4, 1, 0]


def test_what_is_drawn_is_any_of_the_items_that_go_with_it(chosen):
    view = Substitute(correlated_items(chosen, 5, k=2), 1.0)
    many = Histories.lists([[0]] * 200)
    assert set(view(many, seeded()).item.tolist()) == {1, 2}
