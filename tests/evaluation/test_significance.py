"""Paired bootstrap, Holm and seeds, by hand and against scipy."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from cases import Table, synthetic
from scipy import stats

from hybridrec.evaluation.ranking import evaluate
from hybridrec.evaluation.significance import differences, holm, over_seeds, resampled_means


def test_all_resamples_of_two_rows():
    """Of rows 0 and 1 a resample has mean 0, 1/2 or 1, with probability 1/4, 1/2, 1/4."""
    means = resampled_means(torch.tensor([[0.0], [1.0]]), 20000, seed=3).flatten()
    share = [(means == x).double().mean().item() for x in (0, 0.5, 1)]
    assert sum(share) == 1 and share == pytest.approx([0.25, 0.5, 0.25], abs=0.015)


def test_columns_share_their_rows():
    x = torch.rand(50)
    means = resampled_means(torch.stack([x, 2 * x + 1], 1), 200)
    assert torch.allclose(means[:, 1], 2 * means[:, 0] + 1)


def test_chunks_and_seeds(monkeypatch):
    x = torch.rand(40, 2)
    once = resampled_means(x, 300, seed=1)
    assert torch.equal(once, resampled_means(x, 300, seed=1)) and not torch.equal(once, resampled_means(x, 300, seed=2))
    monkeypatch.setattr("hybridrec.evaluation.significance.DRAWS_AT_ONCE", 400)
    assert resampled_means(x, 301).shape == (301, 2)


def test_against_scipy():
    random = np.random.default_rng(0)
    b = random.random(300) * 0.3 + 0.1
    a = b + 0.01 + 0.1 * random.standard_normal(300)
    found = differences(torch.tensor(np.stack([b, a], 1)), 0)[1]
    assert found is not None and found.mean.value == pytest.approx((a - b).mean())
    statistics = {
        "mean": lambda x, y, axis: (x - y).mean(axis),
        "relative": lambda x, y, axis: (x - y).mean(axis) / y.mean(axis),
        "effect": lambda x, y, axis: (x - y).mean(axis) / (x - y).std(axis),
    }
    for name, statistic in statistics.items():
        theirs = stats.bootstrap((a, b), statistic, paired=True, method="percentile", n_resamples=20000, rng=random)
        ours = getattr(found, name)
        assert ours.value == pytest.approx(statistic(a, b, 0))
        width = theirs.confidence_interval.high - theirs.confidence_interval.low
        assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=0.05 * width)
        assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=0.05 * width)


def test_p_is_that_of_a_t_test_where_both_hold():
    random = np.random.default_rng(1)
    a = random.standard_normal(400) + 0.1
    found = differences(torch.tensor(np.stack([np.zeros(400), a], 1)), 0, samples=40000)[1]
    assert found is not None and found.p == pytest.approx(stats.ttest_1samp(a, 0).pvalue, rel=0.15)


def test_no_false_alarm_where_there_is_no_difference():
    random = torch.Generator().manual_seed(0)
    values = torch.rand(200, 41, generator=random)
    raw = [d.p for d in differences(values, 0, samples=2000) if d is not None]
    adjusted = [d.adjusted for d in differences(values, 0, samples=2000) if d is not None]
    assert len(raw) == 40 and min(adjusted) > 0.05
    same = differences(torch.ones(20, 2), 0)[1]
    assert same is not None and same.p == 1 and same.mark() == "" and same.effect.value == 0


def test_marks():
    values = torch.rand(500, 1, generator=torch.Generator().manual_seed(0)).repeat(1, 3) + torch.tensor([0.0, 0.01, -0.01])
    values += 0.01 * torch.rand(500, 3, generator=torch.Generator().manual_seed(1))
    reference, above, below = differences(values, 0)
    assert reference is None and above is not None and below is not None
    assert above.mark() == "▲" and below.mark() == "▼" and above.p == pytest.approx(2 / 10001)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0] and holm([]) == []


def test_seeds_are_averaged_per_user():
    data = synthetic(users=30)
    runs = [evaluate(Table(torch.rand(30, 150, generator=torch.Generator().manual_seed(s))), data) for s in range(3)]
    together = over_seeds(runs)
    values = [r.metrics["recall@10"] for r in runs]
    assert together.metrics["recall@10"] == pytest.approx(np.mean(values))
    assert together.deviation["recall@10"] == pytest.approx(np.std(values, ddof=1))
    assert together.per_user["recall@10"].mean().item() == pytest.approx(np.mean(values)) and together.runs == 3
    assert over_seeds(runs[:1]).deviation["recall@10"] is None
    with pytest.raises(ValueError, match="different users"):
        over_seeds([runs[0], SimpleNamespace(users=torch.arange(3))])
