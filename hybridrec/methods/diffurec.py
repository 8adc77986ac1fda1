"""DiffuRec."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from hybridrec.data.batches import Histories, Query, Rows
from hybridrec.data.sequences import PrefixSampler, newest, prepended, readable, shifted
from hybridrec.dropout import Dropout
from hybridrec.encoders.sequence import GRU, Backbone, Transformer
from hybridrec.memo import Memo
from hybridrec.objectives import FullSoftmax, Objective, Wanted
from hybridrec.saving import configured
from hybridrec.shares import of_rows

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset


@configured
class DiffuRec(nn.Module):
    """The next item's vector is noised, and rebuilt by a transformer that reads the history with a little of it in every entry.

    Li et al. 2023, DiffuRec, arXiv 2304.00686: a truncated linear schedule of ``steps`` times drawn alike, a cross-entropy of
    what is rebuilt against all items, ``uncertainty`` delta. Every entry of a history is told from those before it
    (``PrefixSampler``; ``each`` draws so many of a history an epoch). Entries have places, as in SASRec; the authors' code has
    none. The way back starts at the noise's mean and follows the posterior's, so that an answer does not depend on a draw;
    the authors draw both.
    reconstructive | feature-based views (Gaussian noise) | - | next item from its noised vector
    Scenario: sequential

    ``asks`` is the reverse steps at inference: None for all, 1 for the one-step control (the same denoiser asked once).
    ``encoder`` may be any other of width ``dim``, bidirectional as published or causal. Every history begins with a start
    entry; of one longer than ``window`` the last ``window - 1`` entries are read; entries whose item has no training row
    are passed over. Known users are known by their histories too.
    """

    met: Tensor

    def __init__(
        self,
        data: Dataset,
        dim: int = 64,
        depth: int = 2,
        heads: int = 2,
        window: int = 50,
        dropout: float = 0.1,
        drop: float = 0.3,
        steps: int = 32,
        uncertainty: float = 0.001,
        asks: int | None = None,
        each: int | None = None,
        objective: Objective | None = None,
        encoder: Transformer | GRU | Backbone | None = None,
    ) -> None:
        super().__init__()
        from hybridrec.decoders.approximator import Approximator
        from hybridrec.decoders.diffusion import Diffusion, truncated_linear

        items = data.sides["item"]
        self.table = nn.Parameter(torch.randn(items + 1, dim) * 0.05)  # the last is the start
        self.enter = nn.Sequential(Dropout(drop), nn.LayerNorm(dim))
        network = encoder or Transformer(dim, depth, heads, window, dropout, causal=False)
        self.denoiser = Approximator(dim, network, steps, uncertainty)
        self.diffusion = Diffusion(truncated_linear(steps))
        self.objective, self.window, self.asks = objective or FullSoftmax(), window, asks
        self.sampler: Any = partial(PrefixSampler, window=window, each=each)
        self.register_buffer("met", torch.bincount(data.train.index[1], minlength=items) > 0)
        self._memo = Memo()

    def forward(self, batch: Rows) -> dict[str, Tensor]:
        """Term ``next`` of a batch of rows that end in what is to be told."""
        history = batch.history
        target = history.item[newest(history)]
        x0 = self.table[target]
        t, _ = self.diffusion.draw(len(target))
        signal, noise = (level.unsqueeze(1) for level in self.diffusion.levels(t))
        x = signal * x0 + noise * of_rows(lambda rows: torch.randn(rows, x0.shape[1], device=x0.device), len(x0))
        read = shifted(history, len(self.met))
        z = self.denoiser(read, self.enter(self.table[read.item]), x, t)
        return {"next": self.objective(z, self.table[:-1], Wanted(target, torch.arange(len(z), device=z.device), history))}

    def catalogue(self) -> Tensor:
        """Item vectors (I, D)."""
        return self._memo(self, lambda: self.table[:-1].clone())

    def represent(self, query: Query) -> Tensor:
        """User vectors (B, D): the vector of the next item, rebuilt step by step from no signal."""
        return self.rebuild(prepended(readable(query.history, self.met, self.window - 1), len(self.met)))

    def rebuild(self, read: Histories) -> Tensor:
        """The way back from the noise's mean, along the posterior's, told of the histories ``read``: (B, D)."""
        e = self.enter(self.table[read.item])
        x = e.new_zeros(len(read.lengths), e.shape[1])
        for t, clean, noised in self.diffusion.back(self.asks):
            x = clean * self.denoiser(read, e, x, torch.tensor([t], device=x.device)) + noised * x
        return x

    def score(self, query: Query) -> Tensor:
        """Scores of all items: (B, I)."""
        return self.represent(query) @ self.catalogue().T
