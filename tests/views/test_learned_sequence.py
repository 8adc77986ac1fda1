"""Learned augmentations: the projection against convex programs and assignments, and what matrices do to histories."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment, minimize

from hybridrec.data.batches import Histories
from hybridrec.losses.augmentation import apart, kept_order
from hybridrec.views.learned_sequence import Transitions, drawn_items, hardened, rewritten, semi_sinkhorn


def nearest(kernel):
    """The matrix with sums of at most 1 nearest to ``kernel`` in the generalised KL divergence, by a general solver."""
    rows, columns = kernel.shape

    def divergence(m):
        x = m.reshape(rows, columns)
        return (x * np.log(x / kernel) - x + kernel).sum()

    bounds = [{"type": "ineq", "fun": lambda m, axis=axis: 1 - m.reshape(rows, columns).sum(axis)} for axis in (0, 1)]
    start = np.full(kernel.size, 0.1)
    slope = {"jac": lambda m: np.log(m.reshape(rows, columns) / kernel).ravel()}
    found = minimize(divergence, start, bounds=[(1e-12, 1)] * kernel.size, constraints=bounds, tol=1e-10, **slope)
    assert found.success
    return found.x.reshape(rows, columns)


def assigned(odds):
    """The partial permutation of largest total odds: an assignment where anything may also be left alone for 0."""
    rows, columns = odds.shape
    value = np.zeros((rows + columns, rows + columns))
    value[:rows, :columns] = odds
    matrix = np.zeros((rows, columns))
    for r, c in zip(*linear_sum_assignment(value, maximize=True), strict=True):
        if r < rows and c < columns and odds[r, c] > 0:
            matrix[r, c] = 1
    return matrix


@pytest.mark.parametrize("seed", range(4))
def test_it_is_the_nearest_matrix_with_sums_of_at_most_one(seed):
    torch.manual_seed(seed)
    odds = torch.randn(3, 4, dtype=torch.float64) * 1.5
    expected = nearest((odds / 0.7).exp().numpy())
    found = semi_sinkhorn(odds, 0.7, rounds=500)
    torch.testing.assert_close(found, torch.from_numpy(expected), atol=1e-4, rtol=1e-4)
    assert (found.sum(0) < 1 - 1e-6).any() or (found.sum(1) < 1 - 1e-6).any() or seed  # sums may be less than 1


def test_what_needs_no_bound_is_left_as_it_is():
    odds = torch.tensor([[-2.0, -3.0], [-4.0, -2.5]])
    torch.testing.assert_close(semi_sinkhorn(odds, 0.5, 3), (odds / 0.5).exp())


def margin(odds):
    """By how much the best partial permutation is better than any that lacks one of its ones."""
    best = assigned(odds)
    second = []
    for cell in np.argwhere(best):
        other = odds.copy()
        other[tuple(cell)] = -1e6
        second.append((assigned(other) * odds).sum())
    return (best * odds).sum() - max(second)


def test_cold_it_is_the_best_partial_permutation():
    torch.manual_seed(0)
    drawn = (torch.randn(6, 8, dtype=torch.float64) * 2 for _ in range(40))
    clear = [odds for odds in drawn if margin(odds.numpy()) > 0.5][:6]
    assert len(clear) == 6
    for odds in clear:
        best = torch.from_numpy(assigned(odds.numpy()))
        found = semi_sinkhorn(odds, 0.05, rounds=1000)
        torch.testing.assert_close(found, best, atol=2e-2, rtol=0)
        assert torch.equal(hardened(found), best)


@pytest.mark.parametrize("rounds", [1, 3, 20])
@pytest.mark.parametrize("scale", [0.1, 3.0, 100.0])
def test_bounds_hold_after_any_round_and_gradients_are_finite(rounds, scale):
    torch.manual_seed(0)
    odds = (torch.randn(5, 7, 9) * scale).requires_grad_()
    soft = semi_sinkhorn(odds, 0.2, rounds)
    assert (soft >= 0).all() and soft.sum(1).max() <= 1 + 1e-5 and soft.sum(2).max() <= 1 + 1e-5
    hard = hardened(soft)
    assert set(hard.unique().tolist()) <= {0.0, 1.0} and hard.sum(1).max() <= 1 and hard.sum(2).max() <= 1
    (hard * torch.randn(5, 7, 9)).sum().backward()
    assert odds.grad.isfinite().all() and (scale > 3 or odds.grad.abs().sum() > 0)


def test_gradients_are_those_of_differences_and_go_straight_through_what_is_hard():
    torch.manual_seed(0)
    odds = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: semi_sinkhorn(x, 0.8, 5), odds)
    weight = torch.randn(2, 3, 4, dtype=torch.float64)
    (soft,) = torch.autograd.grad((weight * semi_sinkhorn(odds)).sum(), odds)
    (hard,) = torch.autograd.grad((weight * hardened(semi_sinkhorn(odds))).sum(), odds)
    torch.testing.assert_close(soft, hard)


def matrix(*ones, shape=(4, 6)):
    m = torch.zeros(1, *shape)
    for row, column in ones:
        m[0, row, column] = 1
    return m


SOURCES = torch.tensor([[[1.0], [2.0], [3.0], [4.0], [50.0], [60.0]]])
WAYS = {
    "as it was": (matrix((0, 0), (1, 1), (2, 2), (3, 3)), [1, 2, 3, 4]),
    "cropped": (matrix((1, 1), (2, 2)), [9, 2, 3, 9]),
    "masked": (matrix((0, 0), (2, 2), (3, 3)), [1, 9, 3, 4]),
    "reordered": (matrix((0, 0), (1, 2), (2, 1), (3, 3)), [1, 3, 2, 4]),
    "substituted": (matrix((0, 0), (1, 5), (2, 2), (3, 3)), [1, 60, 3, 4]),
    "inserted": (matrix((0, 1), (1, 2), (2, 4), (3, 3)), [2, 3, 50, 4]),
}


@pytest.mark.parametrize("way", WAYS)
def test_the_fixed_augmentations_are_matrices(way):
    m, expected = WAYS[way]
    assert rewritten(m, SOURCES, torch.tensor([9.0])).flatten().tolist() == expected
    odds = torch.where(m > 0, 4.0, -4.0)
    assert torch.equal(hardened(semi_sinkhorn(odds)), m)


def test_an_empty_step_is_told_what_would_fill_it():
    odds = torch.full((1, 2, 2), -0.3, requires_grad=True)
    out = rewritten(hardened(semi_sinkhorn(odds)), torch.tensor([[[3.0], [5.0]]]), torch.tensor([1.0]))
    out[0, 0, 0].backward()
    assert (out == 1).all() and odds.grad[0, 0, 1] > odds.grad[0, 0, 0] > 0


def test_rows_that_no_other_competes_with_are_drawn_from_their_softmax():
    torch.manual_seed(0)
    augment = Transitions(4, 3, temperature=0.02)
    odds = torch.tensor([0.5, -1.0, 1.2])
    drawn = augment.draw(odds.expand(20_000, 1, 3)).mean((0, 1))
    expected = torch.cat([odds, torch.zeros(1)]).softmax(0)[:3]
    assert (drawn - expected).abs().max() < 0.015


def test_nothing_stands_in_padding_and_nothing_of_it_is_read():
    torch.manual_seed(0)
    augment = Transitions(4, 6)
    real = torch.tensor([[True, True, True, False, False], [True] * 5])
    x, others = torch.randn(2, 5, 4), torch.randn(2, 2, 4)
    odds = augment(x, others, real)
    assert odds.shape == (2, 5, 7)
    drawn = torch.stack([augment.draw(odds) for _ in range(50)])
    assert drawn[:, 0, 3:].sum() == 0 and drawn[:, 0, :, 3:5].sum() == 0 and drawn[:, 1].sum() > 0
    torch.testing.assert_close(odds[:1, :3, [0, 1, 2, 5, 6]], augment(x[:1, :3], others[:1]))
    # At the start, odds are those that were asked for, but for what attention adds.
    with torch.no_grad():
        augment.query.weight.zero_()
        augment.query.bias.zero_()
    row = augment(x, others)[0, 1].tolist()
    assert row == pytest.approx([-4, 1, -4, -4 - math.log(2), -4 - math.log(3), -4, -4])


def test_others_are_drawn_as_often_as_they_are_met():
    history = Histories.lists([[5, 5, 5], [7]])
    drawn = drawn_items(history, 4000, 2, torch.Generator().manual_seed(0))
    assert drawn.shape == (4000, 2) and set(drawn.unique().tolist()) == {5, 7}
    assert abs((drawn == 7).float().mean().item() - 0.25) < 0.02


def test_terms_equal_their_formulas():
    one, two = WAYS["as it was"][0], WAYS["reordered"][0]
    length = torch.tensor([4])
    assert apart(one, one, length).item() == 0
    assert apart(one, two, length).item() == pytest.approx(4 / 8)
    d = [1 / math.log2(1 + back) for back in (4, 3, 2, 1)]
    total = sum(x * x for x in d)
    assert kept_order(one, length).item() == pytest.approx(1)
    assert kept_order(two, length).item() == pytest.approx((d[0] ** 2 + 2 * d[1] * d[2] + d[3] ** 2) / total)
    assert kept_order(WAYS["substituted"][0], length).item() == pytest.approx((total - d[1] ** 2) / total)
    # A row of two steps in a block of four: its newest step is the second.
    short = torch.zeros(1, 4, 6)
    short[0, 1, 1] = 1
    expected = 1 / (1 + 1 / math.log2(3) ** 2)
    assert kept_order(short, torch.tensor([2])).item() == pytest.approx(expected)


def test_the_identity_alone_keeps_the_order():
    torch.manual_seed(0)
    length = torch.full((500,), 5)
    m = hardened(semi_sinkhorn(torch.randn(500, 5, 5) * 3, 0.05))
    same = (m == torch.eye(5)).flatten(1).all(1)
    value = kept_order(m, length)
    assert (value[~same] < 1 - 1e-3).all() and (value >= 0).all()
