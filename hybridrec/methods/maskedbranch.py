"""MaskedBranch."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from hybridrec.data.batches import Query, Rows
from hybridrec.data.sequences import HistorySampler, entry_share, mean_length
from hybridrec.encoders.reader import Reader
from hybridrec.encoders.sequence import Transformer
from hybridrec.memo import Memo
from hybridrec.objectives import Objective, SampledSoftmax, Wanted
from hybridrec.saving import configured
from hybridrec.views.sequence import ItemMask

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset


@configured
class MaskedBranch(nn.Module):
    """A causal transformer foretells next items; the same weights, reading both ways, fill in masked ones.

    The survey's third experiment (Ren et al. 2024, arXiv 2404.03354): SASRec (Kang & McAuley 2018, arXiv 1808.09781) with
    BERT4Rec's reconstruction (Sun et al. 2019, arXiv 1904.06690) as a branch beside it. At ``weight`` 0 it is SASRec.
    reconstructive | data-based views (masking) | - | next item and masked items
    Scenario: sequential

    ``mask`` is the share of each window that is masked; both tasks are
    asked under ``objective``, a sampled softmax unless given. Histories are read as ``encoders.reader.Reader`` says.
    """

    def __init__(
        self,
        data: Dataset,
        dim: int = 64,
        depth: int = 2,
        heads: int = 2,
        window: int = 50,
        dropout: float = 0.2,
        mask: float = 0.5,
        weight: float = 0.3,
        stride: int | None = None,
        objective: Objective | None = None,
    ) -> None:
        super().__init__()
        self.encoder = Transformer(dim, depth, heads, window, dropout)
        self.reader = Reader(data, dim, window, self.encoder)
        self.view = ItemMask(self.reader.mask, mask)
        self.objective, self.length = objective or SampledSoftmax(), mean_length(data, window)
        self.weight = weight
        self.sampler = partial(HistorySampler, window=window, stride=stride)
        self._memo = Memo()

    def forward(self, batch: Rows) -> dict[str, Tensor]:
        """Terms ``next`` and, where it has a weight, ``masked`` of a batch of windows."""
        history, items = batch.history, self.reader.items
        wanted = Wanted(history.item, history.rows, history)
        loss = self.objective(self.reader.before(history), items, wanted)
        share = entry_share(batch, self.length)
        if not self.weight:
            return {"next": loss * share}
        view = self.view(history)
        hidden = view.item == self.reader.mask
        with self.encoder.both_ways():
            z = self.reader(view)[hidden]
        wanted = Wanted(history.item[hidden], history.rows[hidden], history)
        masked = self.objective(z, items, wanted) if len(z) else torch.zeros((), device=z.device)
        return {"next": loss * share, "masked": self.weight * share * masked}

    def catalogue(self) -> Tensor:
        """Item vectors (I, D)."""
        return self._memo(self, lambda: self.reader.items.clone())

    def represent(self, query: Query) -> Tensor:
        """User vectors (B, D): what is known after each history."""
        return self.reader.answer(query)

    def score(self, query: Query) -> Tensor:
        """Scores of all items: (B, I)."""
        return self.represent(query) @ self.catalogue().T
