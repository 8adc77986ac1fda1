"""SimpleX."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hybridrec.data.batches import Histories, Pairs, PairSampler, Query
from hybridrec.encoders.row import mean_of
from hybridrec.encoders.table import NodeTable
from hybridrec.losses.ranking import cosine_contrastive, squared_norm
from hybridrec.memo import Memo
from hybridrec.saving import configured

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset


@configured
class SimpleX(nn.Module):
    """Users near what they chose and no nearer than a margin to many sampled others; a user is a vector and a history.

    Mao et al. 2021, SimpleX, arXiv 2109.12613, eqs. 2 to 4, average pooling.
    contrastive | - | score-based pairs | cosine contrastive

    ``negatives`` are drawn for each pair, those within ``margin`` count, their mean by ``weight``; ``mix`` is g, the share of
    the user's own vector. A user never seen in training is the history alone.
    """

    def __init__(
        self,
        data: Dataset,
        dim: int = 64,
        negatives: int = 100,
        margin: float = 0.5,
        weight: float = 30.0,
        mix: float = 0.5,
        decay: float = 1e-4,
    ) -> None:
        super().__init__()
        self.sampler = partial(PairSampler, negatives=negatives)
        self.nodes = NodeTable(data.sides, dim)
        self.gather = nn.Linear(dim, dim, bias=False)
        self.history = data.histories() if len(data.train) else Histories.lists([[]] * data.sides["user"])
        self.margin, self.weight, self.mix, self.decay = margin, weight, mix, decay
        self._memo = Memo()

    def users(self, user: Tensor, history: Histories) -> Tensor:
        """User vectors (B, D) for ``user`` (B,), -1 where unknown, and their histories."""
        free = self.nodes.split(self.nodes())
        own = free.user[user.clamp(min=0)] * (user >= 0).unsqueeze(1)
        return self.mix * own + (1 - self.mix) * self.gather(mean_of(history, free.item))

    def forward(self, batch: Pairs) -> dict[str, Tensor]:
        """Terms ``contrast`` and ``decay`` of a batch of pairs with negatives (B, n)."""
        free = self.nodes.split(self.nodes())
        who, back = batch.user.unique(return_inverse=True)
        if self.history.item.device != who.device:
            self.history = self.history.to(who.device)
        decay = squared_norm(free.user[batch.user], free.item[batch.positive])
        # Scaled to unit length before they are taken: a table has fewer rows than a batch has negatives.
        user = F.normalize(self.users(who, self.history.take(who)), dim=1)[back]  # (B, D)
        item = F.normalize(free.item, dim=1)
        near = (user * F.embedding(batch.positive, item)).sum(1)
        far = (F.embedding(batch.negative, item) @ user.unsqueeze(2)).squeeze(2)  # (B, n)
        contrast = cosine_contrastive(near, far, self.margin, self.weight)
        return {"contrast": contrast, "decay": self.decay * decay}

    def catalogue(self) -> Tensor:
        """Item vectors of unit length (I, D)."""
        return self._memo(self, lambda: F.normalize(self.nodes.split(self.nodes()).item, dim=1))

    def represent(self, query: Query) -> Tensor:
        """User vectors of unit length (B, D)."""
        with torch.no_grad():
            return F.normalize(self.users(query.user, query.history), dim=1)

    def score(self, query: Query) -> Tensor:
        """Cosines with all items: (B, I)."""
        return self.represent(query) @ self.catalogue().T
