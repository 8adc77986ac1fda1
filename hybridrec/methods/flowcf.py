"""FlowCF."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from hybridrec.bags import bags
from hybridrec.data.batches import Histories, Query, Rows, RowSampler
from hybridrec.dropout import dropout
from hybridrec.errors import ArgumentError
from hybridrec.losses.diffusion import catalogue_squared_error
from hybridrec.saving import configured

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset


@configured
class FlowCF(nn.Module):
    """Flow matching from item popularity to the row, over binary rows: entries flip from one to the other as time passes.

    Liu et al. 2025, FlowCF, arXiv 2502.07303, eqs. 6 to 13: ``x_t`` takes each entry from the row with probability t and
    from the prior, Bernoulli of the item's frequency, else; the row is predicted from ``x_t`` by squared error. Inference
    starts at the row itself, ``asks`` steps before the end; observed items stay.
    reconstructive | data-based views (discrete flow) | - | squared error

    Rows stay sparse, the drawn ones too. ``widths`` are the hidden layers, ``steps`` the times; ``asks`` = 1 is the one-step
    control. Defaults: the authors' for ml-1m, but dropout at the input only.
    """

    sampler = RowSampler
    frequency: Tensor

    def __init__(
        self, data: Dataset, widths: Sequence[int] = (300, 300), steps: int = 9, asks: int = 2, dropout: float = 0.1
    ) -> None:
        super().__init__()
        from hybridrec.decoders.denoiser import RowDenoiser

        if not 1 <= asks <= steps:
            raise ArgumentError(f"asks must lie between 1 and steps = {steps}, not {asks}")
        self.steps, self.asks, self.dropout = steps, asks, dropout
        self.denoiser = RowDenoiser(data.sides["item"], tuple(widths), dropout=dropout)
        history = data.histories()
        once = history.item[history.once(data.sides["item"])]
        share = torch.bincount(once, minlength=data.sides["item"]) / max(1, data.sides["user"])
        self.register_buffer("frequency", share.float())

    def between(self, history: Histories, x: Tensor, t: Tensor) -> Tensor:
        """Last hidden layer (B, D) for sparse rows with entries ``x`` (n,) at times ``t`` (B,) in [0, 1)."""
        model = self.denoiser
        return model.between(bags(history.item, model.read, history.offset, x), 2 * math.pi * t)

    def interpolate(self, history: Histories, x: Tensor, t: Tensor) -> tuple[Histories, Tensor]:
        """``x_t`` of rows with entries ``x`` (n,): the row's own entries, then those drawn from the prior.

        An item is hit in a row with probability f when ``-log(1 - f)`` hits are expected of a Poisson process: all hits of
        a batch are drawn together, and nothing of size (B, I) is.
        """
        batch, items = len(t), len(self.frequency)
        hits = torch.poisson(-batch * torch.log1p(-self.frequency.clamp(max=1 - 1e-6))).long()
        item = torch.repeat_interleave(torch.arange(items, device=t.device), hits)
        key = torch.unique(torch.randint(batch, item.shape, device=t.device) * items + item)
        row, item = key // items, key % items
        own = torch.isin(key, history.rows * items + history.item)  # decided with the row's own entries, below
        drawn = ~own & (torch.rand(len(key), device=t.device) >= t[row])
        chance = t[history.rows] + (1 - t[history.rows]) * self.frequency[history.item]
        kept = x * (torch.rand(len(x), device=t.device) < chance)
        row, order = torch.cat([history.rows, row[drawn]]).sort(stable=True)
        offset = torch.zeros_like(history.offset)
        offset[1:] = torch.bincount(row, minlength=batch).cumsum(0)
        entries = torch.cat([history.item, item[drawn]])[order]
        return Histories(offset, entries), torch.cat([kept, kept.new_ones(int(drawn.sum()))])[order]

    def forward(self, batch: Rows) -> dict[str, Tensor]:
        """Term ``flow`` of a batch of rows."""
        history, model = batch.history, self.denoiser
        x = history.once(len(model.write)).float()
        t = torch.randint(self.steps, (len(batch.user),), device=x.device) / self.steps
        noised, value = self.interpolate(history, x, t)
        h = self.between(noised, dropout(value, self.dropout), t)
        error = catalogue_squared_error(h, model.write, history.offset, history.item, x)
        return {"flow": error.mean() / len(model.write)}

    def catalogue(self) -> Tensor:
        """Item vectors (I, D): the last layer's weights, the bias last."""
        return self.denoiser.write

    def represent(self, query: Query) -> Tensor:
        """User vectors (B, D): the last hidden layer of the last step, and a 1."""
        history, items = query.history, len(self.denoiser.write)
        x = history.once(items).float()
        for step in range(self.steps - self.asks, self.steps):
            t = torch.full((len(query.user),), step / self.steps, device=x.device)
            h = self.between(history, x, t)
            if step + 1 < self.steps:
                # x + (x1 - x) / (1 - t) / steps > 1/2, and what was observed stays: a binary row again.
                pace = 1 / (self.steps - step)
                likely = torch.lerp(history.dense(items), h @ self.denoiser.write.T, pace) > 0.5
                likely[query.history.rows, query.history.item] = True
                item = likely.nonzero()[:, 1]
                offset = torch.zeros_like(history.offset)
                offset[1:] = likely.sum(1).cumsum(0)
                history, x = Histories(offset, item), torch.ones(len(item), device=x.device)
        return h

    def score(self, query: Query) -> Tensor:
        """Scores of all items: (B, I)."""
        return self.represent(query) @ self.catalogue().T
