"""SASRec."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from hybridrec.data.batches import Query, Rows
from hybridrec.data.sequences import HistorySampler, entry_share, mean_length, newest, prepended, readable, shifted
from hybridrec.encoders.sequence import GRU, Backbone, Transformer
from hybridrec.memo import Memo
from hybridrec.objectives import Objective, SampledSoftmax, Wanted
from hybridrec.saving import configured

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset


@configured
class SASRec(nn.Module):
    """A causal transformer foretells every item of a history from those before it.

    Kang & McAuley 2018, SASRec, arXiv 1808.09781; every layer normalises before attention (Xiong et al. 2020, arXiv
    2002.04745). ``objective`` is what an output is asked: ``BinaryCrossEntropy()`` as published, ``GeneralisedBCE()`` for
    gSASRec, ``FullSoftmax()``; a sampled softmax unless given. ``encoder`` may be any other causal one of width ``dim``:
    ``GRU(dim)`` makes it GRU4Rec, ``Backbone({"model_type": ...})`` any decoder of transformers.
    reconstructive | - | - | next item
    Scenario: sequential

    Every history begins with a start entry, so that an empty one has an answer: what others began with. Of a history longer
    than ``window`` the last ``window - 1`` entries are read; entries whose item has no training row are passed over.
    Known users are known by their histories too. With a ``stride``, long histories are trained on in windows that end so
    many entries apart.
    """

    met: Tensor

    def __init__(
        self,
        data: Dataset,
        dim: int = 64,
        depth: int = 2,
        heads: int = 2,
        window: int = 50,
        dropout: float = 0.2,
        stride: int | None = None,
        objective: Objective | None = None,
        encoder: Transformer | GRU | Backbone | None = None,
    ) -> None:
        super().__init__()
        items = data.sides["item"]
        self.table = nn.Parameter(torch.randn(items + 1, dim) * 0.05)  # the last is the start
        self.encoder = encoder or Transformer(dim, depth, heads, window, dropout)
        self.objective = objective or SampledSoftmax()
        self.window, self.length = window, mean_length(data, window)
        self.sampler = partial(HistorySampler, window=window, stride=stride)
        self.register_buffer("met", torch.bincount(data.train.index[1], minlength=items) > 0)
        self._memo = Memo()

    def forward(self, batch: Rows) -> dict[str, Tensor]:
        """Term ``next`` of a batch of windows."""
        history = batch.history
        read = shifted(history, len(self.met))
        z = self.encoder(read, self.table[read.item])
        loss = self.objective(z, self.table[:-1], Wanted(history.item, history.rows, history))
        return {"next": loss * entry_share(batch, self.length)}

    def catalogue(self) -> Tensor:
        """Item vectors (I, D)."""
        return self._memo(self, lambda: self.table[:-1].clone())

    def represent(self, query: Query) -> Tensor:
        """User vectors (B, D): what the encoder says at the last entry of each history."""
        read = prepended(readable(query.history, self.met, self.window - 1), len(self.met))
        return self.encoder(read, self.table[read.item])[newest(read)]

    def score(self, query: Query) -> Tensor:
        """Scores of all items: (B, I)."""
        return self.represent(query) @ self.catalogue().T
