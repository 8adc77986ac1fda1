"""What an evaluation found: means, the value of every user, and the record of how they came about."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass
class Result:
    """Metrics and what they are means of.

    Shapes: ``users`` (n,) positions; each of ``per_user`` (n,); ``lists`` (n, K) item positions, -1 where a list ends.
    """

    metrics: dict[str, float]
    users: Tensor
    per_user: dict[str, Tensor]
    lists: Tensor
    seconds: float = 0.0
    passport: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        cuts = sorted({int(name.rpartition("@")[2]) for name in self.metrics})
        names = list(dict.fromkeys(name.rpartition("@")[0] for name in self.metrics))
        lines = [" " * 12 + "".join(f"{'@' + str(k):>10}" for k in cuts)]
        lines += [f"{name:<12}" + "".join(f"{self.metrics[f'{name}@{k}']:>10.4f}" for k in cuts) for name in names]
        return "\n".join([*lines, f"{len(self.users):,} users, {self.seconds:.2f} s"])
