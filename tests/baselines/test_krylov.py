"""EASE without its matrix against EASE with it."""

import numpy as np
import pytest
import torch

from hybridrec import linear
from hybridrec.baselines import EDLAE, KrylovEASE
from hybridrec.data.batches import Query
from hybridrec.linear import SingularError
from hybridrec.rows import Recency


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr("hybridrec.baselines.krylov.COLUMNS", 7)


@pytest.mark.parametrize(("ridge", "dropout"), [(1.0, 0.0), (50.0, 0.4)])
def test_it_scores_as_the_dense_solution_does(planted, ridge, dropout):
    """With any block of columns, and after a move to another type and back."""
    query = Query(torch.arange(60), planted.histories())
    for recency in (None, Recency(0.5)):
        found, wanted = (
            cls(planted, ridge=ridge, dropout=dropout, recency=recency, **more)
            for cls, more in ((KrylovEASE, {"tolerance": 1e-6}), (EDLAE, {}))
        )
        found.double().float().solve(planted)
        wanted.solve(planted)
        assert torch.allclose(found.score(query), wanted.score(query), atol=1e-4)


def test_the_diagonal_is_that_of_the_inverse(planted):
    x = linear.interactions(planted).toarray().astype(np.float64)
    method = KrylovEASE(planted, ridge=3, dropout=0.2)
    method.solve(planted)
    wanted = np.linalg.inv(x.T @ x + np.diag(0.25 * x.sum(0) + 3))
    assert np.allclose(method.diagonal, np.diag(wanted), rtol=1e-4)


def test_an_item_without_rows_has_the_ridge_alone(planted):
    from dataclasses import replace

    known = planted.train.index[1] != 5
    without = replace(planted, relations={"interact": planted.train.keep(known)})
    method = KrylovEASE(without, ridge=4)
    method.solve(without)
    assert method.diagonal[5].item() == pytest.approx(0.25)
    scores = method.score(Query(torch.arange(60), without.histories()))
    assert torch.isfinite(scores).all()
    assert scores[:, 5].abs().max() < 1e-6


def test_what_does_not_converge_is_an_error(planted, monkeypatch):
    monkeypatch.setattr("hybridrec.baselines.krylov.MOST", 2)
    with pytest.raises(SingularError, match="raise ridge"):
        KrylovEASE(planted, ridge=0.01, tolerance=1e-6).solve(planted)
