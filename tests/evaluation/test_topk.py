"""Exact top-k against sorting every row in Python."""

import pytest
import torch

from hybridrec.data.batches import Histories
from hybridrec.evaluation.topk import best, top


def by_hand(scores: torch.Tensor, k: int) -> torch.Tensor:
    """Columns of the k best: higher score first, then lower column."""
    return torch.tensor([sorted(range(len(row)), key=lambda j, r=row: (-r[j], j))[:k] for row in scores.tolist()])


def assert_same(found: tuple[torch.Tensor, torch.Tensor], scores: torch.Tensor, k: int) -> None:
    values, index = found
    wanted = by_hand(scores, k)
    assert torch.equal(values, scores.gather(1, wanted))
    ranked = values > -torch.inf  # the order of columns that are minus infinity is nobody's business
    assert torch.equal(index[ranked], wanted[ranked])


LEVELS = [1, 2, 5, 50, None]  # how many different scores there are; None: all differ


def scores_of(rows: int, columns: int, levels: int | None, gaps: bool) -> torch.Tensor:
    random = torch.Generator().manual_seed(rows + columns)
    x = torch.randn(rows, columns, generator=random)
    if levels:
        x = torch.randint(levels, (rows, columns), generator=random).float()
    if gaps:
        x[torch.rand(rows, columns, generator=random) < 0.5] = -torch.inf
    return x


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("columns", [1, 5, 64, 65, 700, 2810, 4100])
@pytest.mark.parametrize("k", [1, 5, 20])
def test_equal_scores_are_named_by_column(columns, k, levels, gaps):
    scores = scores_of(9, columns, levels, gaps)
    assert_same(top(scores, k), scores, k)


@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("block", [1, 7, 64, 500, 5000])
def test_blocks_change_nothing(block, levels):
    scores = scores_of(6, 700, levels, gaps=False)
    seen = [list(range(b, 700, b + 2)) for b in range(6)]
    masked = scores.clone()
    for b, items in enumerate(seen):
        masked[b, items] = -torch.inf
    blocks = ((j, scores[:, j : j + block].clone()) for j in range(0, 700, block))
    assert_same(best(blocks, Histories.lists(seen), 20), masked, 20)


def test_large_blocks_of_rising_and_falling_scores():
    """Every block beats the last, or none does."""
    rising = torch.arange(20000.0).repeat(3, 1)
    for scores in (rising, -rising, torch.zeros(3, 20000)):
        blocks = ((j, scores[:, j : j + 6400].clone()) for j in range(0, 20000, 6400))
        assert_same(
            best(blocks, Histories.lists([[], [3], []]), 10),
            scores.clone().index_put_((torch.tensor(1), torch.tensor(3)), torch.tensor(-torch.inf)),
            10,
        )


def test_nothing_seen_and_everything_seen():
    scores = torch.arange(4.0).repeat(2, 1)
    values, index = best(iter([(0, scores)]), Histories.lists([[], [0, 1, 2, 3]]), 2)
    assert index[0].tolist() == [3, 2]
    assert values[1].tolist() == [-torch.inf, -torch.inf]


@pytest.mark.parametrize("columns", [30, 3000, 100000])
@pytest.mark.parametrize("at", [0, 29])
def test_nan_comes_first_so_that_it_is_seen(columns, at):
    scores = torch.ones(2, columns)
    scores[1, at] = torch.nan
    values, _ = top(scores, 5)
    assert not values[0].isnan().any() and values[1].isnan().any()


def test_nan_in_a_late_block_is_seen():
    blocks = [(0, torch.ones(1, 640)), (640, torch.zeros(1, 640))]
    blocks[1][1][0, 600] = torch.nan
    values, _ = best(iter(blocks), Histories.lists([[]]), 5)
    assert values.isnan().any()
