"""Histories read: the vectors of items, and what an encoder makes of a row of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from hybridrec.data.batches import Histories, Query
from hybridrec.data.sequences import last, newest, prepended, readable, shifted
from hybridrec.encoders.sequence import GRU, Backbone, Transformer

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset


class Reader(nn.Module):
    """One vector an item, a start and a mask, and a causal encoder over rows that begin with the start.

    What the methods over SASRec's backbone share (Kang & McAuley 2018, arXiv 1808.09781). An empty row is a start alone. Of
    a row longer than ``window`` the last ``window - 1`` entries are read.

    Shapes: ``table`` (I + 2, D), the start at ``start`` = I, the mask at ``mask`` = I + 1; ``met`` (I,), True for items with
    a training row.
    """

    met: Tensor

    def __init__(self, data: Dataset, dim: int, window: int, encoder: Transformer | GRU | Backbone) -> None:
        super().__init__()
        items = data.sides["item"]
        self.start, self.mask, self.window = items, items + 1, window
        self.table = nn.Parameter(torch.randn(items + 2, dim) * 0.02)
        self.encoder = encoder
        self.register_buffer("met", torch.bincount(data.train.index[1], minlength=items) > 0)

    @property
    def items(self) -> Tensor:
        """The vectors of all items: (I, D), with gradient."""
        return self.table[: self.start]

    def forward(self, history: Histories) -> Tensor:
        """What is known at each entry: (n, D)."""
        return self.encoder(history, self.table[history.item])

    def before(self, history: Histories) -> Tensor:
        """What is known just before each entry, from the start and the entries before it: (n, D)."""
        return self(shifted(history, self.start))

    def after(self, history: Histories) -> Tensor:
        """What is known after each row's last entry: (B, D)."""
        read = prepended(last(history, self.window - 1), self.start)
        return self(read)[newest(read)]

    def answer(self, query: Query) -> Tensor:
        """What is known of each user of a query, (B, D): entries whose item was never trained on are passed over."""
        return self.after(readable(query.history, self.met, self.window - 1))
