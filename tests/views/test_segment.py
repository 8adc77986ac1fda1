"""Histories torn into a run and the rest, and cut to how they began."""

import torch

from hybridrec.data.batches import Histories
from hybridrec.views.segment import Beginning, SegmentMask

LENGTHS = (7, 0, 1, 10, 3, 2)
MASK = 999


def made():
    item = iter(range(1000))
    return Histories.lists([[next(item) for _ in range(n)] for n in LENGTHS])


def lists(h):
    return [h.item[a:b].tolist() for a, b in zip(h.offset[:-1], h.offset[1:], strict=True)]


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def test_a_beginning_may_have_any_length_from_two_on():
    seen = [set() for _ in LENGTHS]
    for seed in range(200):
        for whole, part, met in zip(lists(made()), lists(Beginning()(made(), seeded(seed))), seen, strict=True):
            assert part == whole[: len(part)]
            met.add(len(part))
    assert seen == [set(range(2, 8)), {0}, {1}, set(range(2, 11)), {2, 3}, {2}]


def test_a_run_of_at_most_half_is_torn_and_another_stands_where_it_was():
    history, lengths, starts = made(), [set() for _ in LENGTHS], set()
    for seed in range(200):
        context, own, other = map(lists, SegmentMask(MASK)(history, seeded(seed)))
        for b, whole in enumerate(lists(history)):
            run = [t for t, item in enumerate(context[b]) if item == MASK]
            assert run == list(range(run[0], run[0] + len(run))) if run else len(whole) < 2
            assert own[b] == [item if t in run else MASK for t, item in enumerate(whole)]
            put = [other[b][t] for t in run]
            assert put == list(range(put[0], put[0] + len(put))) if put else True  # neighbours in the batch
            assert [t for t, item in enumerate(other[b]) if item != MASK] == run
            lengths[b].add(len(run))
            starts |= {run[0]} if b == 3 and len(run) == 2 else set()
    assert lengths == [{1, 2, 3}, {0}, {0}, {1, 2, 3, 4, 5}, {1}, {1}]
    assert starts == set(range(9))


def test_what_is_put_there_may_come_from_anywhere_in_the_batch():
    met = {lists(SegmentMask(MASK)(made(), seeded(s)).other)[5][0] for s in range(600)} - {MASK}
    assert met == set(range(23))
