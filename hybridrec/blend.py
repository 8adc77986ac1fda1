"""Several fitted methods as one: their scores on one scale, added."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor, nn

from hybridrec.data.batches import Query
from hybridrec.errors import HybridrecError
from hybridrec.saving import build, configured, describe, find_class

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset


class BlendError(HybridrecError, ValueError):
    """Methods and weights that do not go together: says how many of each there are."""


@configured
class Blend(nn.Module):
    """The weighted sum of methods' scores, each less its mean over the catalogue and over its standard deviation.

    A late fusion of what one method learned and another solved, for example of a network and the closed form it competes
    with. Nothing is trained here: fit the methods first, then ``Blend.of(data, [one, other], [1.0, 0.1])``.

    ``parts`` is what ``describe`` says of each method. Shapes: scores (B, I).
    """

    def __init__(self, data: Dataset, parts: Sequence[Any], weights: Sequence[float]) -> None:
        super().__init__()
        if not parts or len(parts) != len(weights):
            raise BlendError(f"{len(parts)} methods and {len(weights)} weights: give one weight for each method")
        self.parts = nn.ModuleList(find_class(name)(data, **build(arguments)) for name, arguments in parts)
        self.weights = list(weights)

    @classmethod
    def of(cls, data: Dataset, methods: Sequence[Any], weights: Sequence[float]) -> Self:
        """The blend of methods already fitted, which it takes as they are."""
        told = [describe(method) for method in methods]
        from hybridrec.data.dataset import Dataset

        blend = cls(Dataset.from_schema(data.schema), [[x["class"], x["arguments"]] for x in told], list(weights))
        blend.parts = nn.ModuleList(methods)
        return blend.eval()

    def score(self, query: Query) -> Tensor:
        """Scores of all items: (B, I)."""
        total: Tensor | None = None
        for method, weight in zip(self.parts, self.weights, strict=True):
            score = method.score(query)  # type: ignore[operator]
            spread, mean = torch.std_mean(score, 1, correction=0, keepdim=True)
            # A method that scores all items alike says nothing.
            own = (score - mean) * torch.where(spread > 0, weight / spread, 0.0)
            total = own if total is None else total.add_(own)
        assert total is not None
        return total
