"""AMF."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from hybridrec.data.batches import Pairs, PairSampler, Query
from hybridrec.encoders.table import NodeTable
from hybridrec.foldin import known_or_folded
from hybridrec.losses.ranking import bpr, squared_norm
from hybridrec.memo import Memo
from hybridrec.saving import configured
from hybridrec.views.feature import Adversarial

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset


@configured
class AMF(nn.Module):
    """Matrix factorisation that ranks well under the disturbance of its own vectors that hurts it most (APR).

    He et al. 2018, Adversarial personalized ranking, arXiv 1808.03908, eqs. 5 to 9. The adversary is in closed form, so that
    one player is trained.
    adversarial | feature-based views | natural pairs | BPR and BPR under attack

    ``eps`` is the length of the disturbance of each vector, ``weight`` lambda; the attack begins after ``warmup`` epochs,
    where the authors start from a trained model.
    """

    sampler = PairSampler

    def __init__(
        self, data: Dataset, dim: int = 64, eps: float = 0.5, weight: float = 1.0, warmup: int = 20, decay: float = 1e-4
    ) -> None:
        super().__init__()
        self.nodes = NodeTable(data.sides, dim)
        self.attack = Adversarial(eps)
        self.weight, self.warmup, self.decay = weight, warmup, decay
        self._epochs = 0
        self._memo = Memo()

    def refresh(self) -> None:
        """Count the epochs of the warm-up."""
        self._epochs += 1

    def embed(self) -> SimpleNamespace:
        """Vectors by side: ``.user`` (U, D), ``.item`` (I, D)."""
        return self.nodes.split(self.nodes())

    def forward(self, batch: Pairs) -> dict[str, Tensor]:
        """Terms ``rank``, ``attacked`` (after the warm-up) and ``decay`` of a batch of pairs."""
        main = self.embed()
        triple = torch.stack([main.user[batch.user], main.item[batch.positive], main.item[batch.negative]])  # (3, B, D)
        terms = {"rank": bpr(*triple), "decay": self.decay * squared_norm(*triple)}
        if self._epochs > self.warmup:
            terms["attacked"] = self.weight * bpr(*self.attack(triple, lambda x: bpr(*x)))
        return terms

    def catalogue(self) -> Tensor:
        """Item vectors (I, D)."""
        return self._memo(self, self.embed).item

    def represent(self, query: Query) -> Tensor:
        """User vectors (B, D): learned where the user is known, else folded in from the history."""
        return known_or_folded(query, self._memo(self, self.embed).user, self.catalogue())

    def score(self, query: Query) -> Tensor:
        """Scores of all items: (B, I)."""
        return self.represent(query) @ self.catalogue().T
