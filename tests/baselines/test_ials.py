"""iALS against a loop over rows, against its own objective, and against the package implicit's conventions."""

from itertools import pairwise

import numpy as np
import pytest
import torch

import hybridrec as hr
from hybridrec import linear
from hybridrec.baselines import IALS
from hybridrec.data.batches import Histories, Query
from hybridrec.foldin import row_vectors


def by_row(chosen, vectors, unseen, ridge):
    """The normal equations of each row, one row at a time."""
    rows = []
    for b in range(len(chosen.offset) - 1):
        v = vectors[chosen.item[chosen.offset[b] : chosen.offset[b + 1]]].double()
        system = v.T @ v + unseen * vectors.double().T @ vectors.double() + ridge[b] * torch.eye(vectors.shape[1])
        rows.append(torch.linalg.solve(system, v.sum(0)))
    return torch.stack(rows).float()


@pytest.mark.parametrize("dim", [3, 8, 64])
def test_half_a_step_is_the_loop_over_rows(dim, monkeypatch):
    torch.manual_seed(0)
    vectors = torch.randn(50, dim)
    chosen = Histories.lists([torch.randperm(50)[:n].tolist() for n in (0, 1, 2, 3, 7, 8, 9, 30, 50, 0, 4)])
    ridge = torch.rand(11) + 0.1
    wanted = by_row(chosen, vectors, 0.2, ridge)
    assert torch.allclose(row_vectors(chosen, vectors, 0.2, ridge), wanted, atol=1e-5)
    monkeypatch.setattr("hybridrec.foldin.AT_ONCE", 1)  # a row at a time
    assert torch.allclose(row_vectors(chosen, vectors, 0.2, ridge), wanted, atol=1e-5)


def test_every_sweep_lowers_the_objective(planted):
    x = torch.from_numpy(linear.interactions(planted).toarray())

    def objective(sweeps):
        torch.manual_seed(0)
        method = IALS(planted, dim=4, sweeps=sweeps, ridge=0.7, power=0.8)
        method.solve(planted)
        h = method.items
        w = method.represent(Query(torch.arange(60), planted.histories()))
        s = w @ h.T
        count = [x.sum(axis) + 0.1 * x.shape[axis] for axis in (1, 0)]
        ridge = [0.7 * (n / n.mean()) ** 0.8 for n in count]
        return float(
            (x * (1 - s) ** 2).sum()
            + 0.1 * (s**2).sum()
            + (ridge[0].unsqueeze(1) * w**2).sum()
            + (ridge[1].unsqueeze(1) * h**2).sum()
        )

    values = [objective(n) for n in (1, 2, 4, 8)]
    assert all(later < earlier + 1e-3 for earlier, later in pairwise(values)), values
    assert values[-1] < 0.9 * values[0]


def test_the_conventions_of_implicit_are_a_change_of_arguments(planted):
    """alpha and a plain ridge: the vector of a user from given item vectors is implicit's, up to its length."""
    alpha, regularization = 5.0, 3.0
    method = IALS(planted, dim=4, unseen=1 / (alpha - 1), ridge=regularization / alpha, power=0)
    torch.manual_seed(0)
    theirs = torch.randn(40, 4)
    # Targets 1 and weights alpha become targets 1 / (1 + unseen): each side's vectors are shorter by its root.
    method.items = theirs * (1 - 1 / alpha) ** 0.5
    history = Histories.lists([[3, 8, 5], [1]])
    y = theirs.double().numpy()
    for row, ours in zip(([3, 8, 5], [1]), method.represent(Query(torch.tensor([-1, -1]), history)), strict=True):
        weight = np.ones(40)
        weight[row] = alpha
        system = y.T @ (weight[:, None] * y) + regularization * np.eye(4)
        wanted = np.linalg.solve(system, y.T @ (weight * (weight > 1)))
        assert np.allclose(ours.numpy() / (1 - 1 / alpha) ** 0.5, wanted, atol=1e-5)


def test_the_start_follows_the_seed_that_fit_is_given(planted):
    results = []
    for seed in (0, 0, 1):
        method = IALS(planted, dim=4, sweeps=2)
        hr.fit(method, planted, seed=seed)
        results.append(method.items)
    assert torch.equal(results[0], results[1])
    assert not torch.allclose(results[0], results[2])
