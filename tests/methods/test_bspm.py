"""BSPM against its formulas in dense double precision."""

import numpy as np
import pytest
import torch

from hybridrec.data.batches import Query
from hybridrec.methods.bspm import BSPM


@pytest.mark.parametrize(
    "arguments", [{}, {"sharpen": 0.0}, {"blur": 0.5, "sharpen": 2.0, "steps": 3}, {"ideal": 0.0}], ids=str
)
def test_scores_equal_the_dense_process(planted, arguments):
    method = BSPM(planted, dim=8, **arguments)
    method.solve(planted)
    history = planted.histories()
    x = history.dense(40).double().numpy()
    du, di = np.maximum(x.sum(1), 1) ** -0.5, np.maximum(x.sum(0), 1) ** -0.5
    r = du[:, None] * x * di
    v = np.linalg.svd(r)[2][:8].T
    p = r.T @ r
    given = {"blur": 1.0, "ideal": 0.3, "sharpen": 1.0, "steps": 1, **arguments}
    y = x + given["blur"] * (x @ p - x) + given["ideal"] * (x * di) @ v @ v.T / di
    for _ in range(given["steps"]):
        y = y - given["sharpen"] / given["steps"] * y @ p
    found = method.score(Query(torch.arange(60), history))
    torch.testing.assert_close(found.double(), torch.from_numpy(y), atol=1e-5, rtol=1e-4)
