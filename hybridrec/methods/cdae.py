"""CDAE."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from hybridrec.data.batches import Histories, Query, Rows, RowSampler
from hybridrec.decoders.row import RowDecoder
from hybridrec.encoders.row import RowLinear
from hybridrec.losses.ranking import squared_length
from hybridrec.losses.reconstruction import bernoulli
from hybridrec.saving import configured
from hybridrec.views.data import RowMask

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset


@configured
class CDAE(nn.Module):
    """A denoising autoencoder of interaction rows with a vector for every user.

    Wu et al. 2016, Collaborative denoising auto-encoders (WSDM), eqs. 1 to 5: sigmoid hidden units, rows of zeros and
    ones, logistic loss; here over all items, where the authors sample those not chosen.
    reconstructive | data-based views | - | logistic

    ``dim`` is the number of hidden units, ``keep`` the share of a row that is read, ``decay`` over all parameters.
    A user never seen in training has the zero vector.
    """

    sampler = RowSampler

    def __init__(self, data: Dataset, dim: int = 200, keep: float = 0.5, decay: float = 1e-4) -> None:
        super().__init__()
        items = data.sides["item"]
        self.encoder, self.decoder = RowLinear(items, dim), RowDecoder(dim, [], items)
        self.user = nn.Parameter(torch.zeros(data.sides["user"], dim))
        self.view, self.keep, self.decay = RowMask(keep), keep, decay

    def rebuild(self, user: Tensor, history: Histories, scale: float = 1.0) -> Tensor:
        """Scores (B, I) of all items for ``user`` (B,), -1 where unknown, with what is read of their rows, times ``scale``."""
        own = self.user[user.clamp(min=0)] * (user >= 0).unsqueeze(1)
        return self.decoder(torch.sigmoid(self.encoder(history, scale) + own))

    def forward(self, batch: Rows) -> dict[str, Tensor]:
        """Terms ``rebuild`` and ``decay`` of a batch of rows."""
        whole = batch.history
        logits = self.rebuild(batch.user, self.view(whole), 1 / self.keep)
        decay = self.decay * squared_length(*self.parameters())
        return {"rebuild": bernoulli(logits, whole.rows, whole.item), "decay": decay}

    def evidence(self, batch: Rows) -> dict[str, Any]:
        """What ``diagnostics`` looks at: the rows of a batch rebuilt beside the true ones."""
        rebuilt = torch.sigmoid(self.rebuild(batch.user, batch.history))
        return {"rebuilt": (rebuilt, batch.history.dense(rebuilt.shape[1]))}

    def score(self, query: Query) -> Tensor:
        """Scores of all items: (B, I)."""
        return self.rebuild(query.user, query.history)
