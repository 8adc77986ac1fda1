"""Whether a difference between methods is more than chance: paired bootstrap over users, Holm's correction, effect sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hybridrec.data.batches import generator
from hybridrec.errors import ArgumentError

if TYPE_CHECKING:
    from hybridrec.evaluation.result import Result

DRAWS_AT_ONCE = 1 << 22


@dataclass(frozen=True)
class Interval:
    """An estimate and its bootstrap percentile interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """How one method's values differ from another's over the same users.

    ``mean``: of the differences. ``relative``: over the other's mean. ``effect``: over the differences' standard deviation
    (Cohen's d for pairs). ``p``: two-sided, for a mean of zero; ``adjusted``: the same after Holm's correction.
    """

    mean: Interval
    relative: Interval
    effect: Interval
    p: float
    adjusted: float

    def mark(self, level: float = 0.05) -> str:
        """``▲`` where significantly above, ``▼`` where significantly below, else nothing."""
        if self.adjusted >= level:
            return ""
        return "▲" if self.mean.value > 0 else "▼"


def resampled_means(values: Tensor, samples: int = 10_000, seed: int = 0) -> Tensor:
    """Means of ``values`` (n, m) over ``samples`` resamples of the n rows with replacement: (samples, m) float64.

    All columns of a resample share its rows, so that differences between them are paired. Nothing of the size
    samples x n is held.
    """
    n = len(values)
    values, random = values.double(), generator("cpu", seed)
    means = []
    for size in _sizes(samples, max(1, DRAWS_AT_ONCE // n)):
        rows = torch.randint(n, (size, n), generator=random)
        rows += n * torch.arange(size).unsqueeze(1)
        # How often each row was drawn: the mean is then a matrix product, for all columns at once.
        counts = torch.bincount(rows.flatten(), minlength=size * n).view(size, n)
        means.append(counts.double() @ values / n)
    return torch.cat(means)


def differences(
    values: Tensor, reference: int, *, samples: int = 10_000, seed: int = 0, confidence: float = 0.95
) -> list[Difference | None]:
    """Every column of ``values`` (n users, m methods) against column ``reference``, which itself gets None.

    Intervals are bootstrap percentiles (Efron & Tibshirani 1993). p is twice the share of resampled means on the far side
    of zero, one added to both counts (Davison & Hinkley 1997, eq. 4.11), so that p < 0.05 where the 95% interval
    excludes zero. Holm's correction is over the m - 1 comparisons.
    """
    values = values.double()
    squares = (values - values[:, reference : reference + 1]).square()
    both = torch.cat([values, squares], 1)
    drawn, found = resampled_means(both, samples, seed), both.mean(0, keepdim=True)
    m = values.shape[1]

    def three(means: Tensor, j: int) -> tuple[Tensor, Tensor, Tensor]:
        base = means[:, reference]
        mean = means[:, j] - base
        deviation = (means[:, m + j] - mean.square()).clamp(min=0).sqrt()
        return mean, _over(mean, base), _over(mean, deviation)

    result: list[Difference | None] = []
    for j in range(m):
        if j == reference:
            result.append(None)
            continue
        estimates, resampled = three(found, j), three(drawn, j)
        mean, relative, effect = (_interval(x.item(), y, confidence) for x, y in zip(estimates, resampled, strict=True))
        far = min(int((resampled[0] <= 0).sum()), int((resampled[0] >= 0).sum()))
        p = min(1.0, 2 * (1 + far) / (1 + samples))
        result.append(Difference(mean, relative, effect, p=p, adjusted=p))
    adjusted = iter(holm([d.p for d in result if d is not None]))
    return [None if d is None else replace(d, adjusted=next(adjusted)) for d in result]


def holm(p: Sequence[float]) -> list[float]:
    """p-values corrected for how many there are (Holm 1979): the i-th smallest times (m - i), never falling, at most 1."""
    order = sorted(range(len(p)), key=p.__getitem__)
    adjusted, highest = [0.0] * len(p), 0.0
    for i, j in enumerate(order):
        highest = max(highest, min(1.0, (len(p) - i) * p[j]))
        adjusted[j] = highest
    return adjusted


@dataclass(frozen=True)
class Seeds:
    """Runs of one method with several seeds: each user's mean over them, and how much the runs' metrics differ.

    ``deviation`` is the sample standard deviation over seeds, None for a single run.
    """

    metrics: dict[str, float]
    deviation: dict[str, float | None]
    per_user: dict[str, Tensor]
    runs: int


def over_seeds(results: Sequence[Result]) -> Seeds:
    """Results of one method over the same users with several seeds, as one. Raises ArgumentError where the users differ."""
    first = results[0]
    if any(not torch.equal(r.users, first.users) for r in results):
        raise ArgumentError("the runs judge different users; evaluate all seeds on the same users")
    metrics = {name: torch.tensor([r.metrics[name] for r in results], dtype=torch.float64) for name in first.metrics}
    return Seeds(
        metrics={name: x.mean().item() for name, x in metrics.items()},
        deviation={name: x.std().item() if len(x) > 1 else None for name, x in metrics.items()},
        per_user={name: torch.stack([r.per_user[name] for r in results]).mean(0) for name in first.per_user},
        runs=len(results),
    )


def _sizes(total: int, most: int) -> list[int]:
    return [min(most, total - start) for start in range(0, total, most)]


def _over(x: Tensor, y: Tensor) -> Tensor:
    return torch.where(x == 0, 0.0, x / y)


def _interval(value: float, drawn: Tensor, confidence: float) -> Interval:
    # torch.quantile takes at most 2^24 numbers, samples are far fewer.
    ends = torch.quantile(drawn, torch.tensor([(1 - confidence) / 2, (1 + confidence) / 2], dtype=torch.float64))
    return Interval(value, *ends.tolist())
