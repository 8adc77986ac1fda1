"""BERT4Rec."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from hybridrec.data.batches import Histories, Query, Rows
from hybridrec.data.sequences import HistorySampler, appended, mean_length, newest, readable
from hybridrec.encoders.sequence import Backbone, Transformer
from hybridrec.memo import Memo
from hybridrec.objectives import FullSoftmax, Objective, Wanted
from hybridrec.saving import configured

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset


@configured
class BERT4Rec(nn.Module):
    """A bidirectional transformer fills in masked items of a history; the next item is a mask at its end.

    Sun et al. 2019, BERT4Rec, arXiv 1904.06690, eqs. 6 to 8, without the items' biases; layers normalise first.
    reconstructive | data-based views (masking) | - | masked items
    Scenario: sequential

    Each entry is masked with probability ``mask``; of a share ``tail`` of the rows, and of those where none was drawn, the
    last entry alone: what is asked in the end. ``objective`` is a softmax over the catalogue unless given, ``encoder`` any
    other bidirectional one of width ``dim``.

    An empty history is a mask alone. Of a history longer than ``window`` the last ``window - 1`` entries are read; entries
    whose item has no training row are passed over. Known users are known by their histories too.
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
        mask: float = 0.4,
        tail: float = 0.1,
        stride: int | None = None,
        objective: Objective | None = None,
        encoder: Transformer | Backbone | None = None,
    ) -> None:
        super().__init__()
        items = data.sides["item"]
        self.table = nn.Parameter(torch.randn(items + 1, dim) * 0.05)  # the last is the mask
        self.encoder = encoder or Transformer(dim, depth, heads, window, dropout, causal=False)
        self.head = nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.LayerNorm(dim))
        self.objective = objective or FullSoftmax()
        self.window, self.length = window, mean_length(data, window)
        self.mask, self.tail = mask, tail
        self.sampler = partial(HistorySampler, window=window, stride=stride)
        self.register_buffer("met", torch.bincount(data.train.index[1], minlength=items) > 0)
        self._memo = Memo()

    def hide(self, history: Histories) -> Tensor:
        """Which entries are masked (n,): at least one of each row."""
        rows, count = history.rows, len(history.offset) - 1
        hidden = torch.rand(len(rows), device=rows.device) < self.mask
        hidden &= (torch.rand(count, device=rows.device) >= self.tail)[rows]
        none = torch.bincount(rows[hidden], minlength=count) == 0
        hidden[newest(history)[none]] = True
        return hidden

    def forward(self, batch: Rows) -> dict[str, Tensor]:
        """Term ``masked`` of a batch of windows."""
        history = batch.history
        hidden = self.hide(history)
        z = self.encoder(history, self.table[history.item.masked_fill(hidden, len(self.met))])
        wanted = Wanted(history.item[hidden], history.rows[hidden], history)
        loss = self.objective(self.head(z[hidden]), self.table[:-1], wanted)
        # Every masked entry weighs the same, whichever batch or process it is in.
        return {"masked": loss * (len(wanted.item) / len(batch.user) / self.length)}

    def catalogue(self) -> Tensor:
        """Item vectors (I, D)."""
        return self._memo(self, lambda: self.table[:-1].clone())

    def represent(self, query: Query) -> Tensor:
        """User vectors (B, D): what is said at a mask behind each history."""
        read = appended(readable(query.history, self.met, self.window - 1), len(self.met))
        return self.head(self.encoder(read, self.table[read.item])[newest(read)])

    def score(self, query: Query) -> Tensor:
        """Scores of all items: (B, I)."""
        return self.represent(query) @ self.catalogue().T
