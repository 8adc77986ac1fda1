"""Latents drawn by adding noise inside a network: a posterior to draw from, whose density nobody knows."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hybridrec.data.batches import Histories
from hybridrec.dropout import Dropout
from hybridrec.encoders.sequence import Layout
from hybridrec.shares import of_entries

REACH = 5  # entries that the convolution reads: one and the four before it


class ImplicitPosterior(nn.Module):
    """``z = V (h + s(C_3 s(C_2 a(s(C_1 a(h))))))``, ``a(x) = x + tanh(A e)`` with normal e, s the softplus.

    Xie et al. 2021, ACVAE, arXiv 2103.10693, as in the authors' code: ``C_2`` is a causal convolution over
    ``REACH`` entries to twice the width, ``C_1`` and ``C_3`` read one entry. ``A`` has no bias, so that what is added has
    mean zero; asked outside training nothing is added.

    Shapes: what an encoder knows ``h`` (n, D) at the entries of ``history``; returns latents (n, L).
    """

    def __init__(self, dim: int, latent: int, dropout: float = 0.5) -> None:
        super().__init__()
        self.noise = nn.Linear(dim, dim, bias=False)
        self.first, self.last = nn.Linear(dim, dim), nn.Linear(2 * dim, dim)
        self.near = nn.Conv1d(dim, 2 * dim, REACH)
        self.dropout, self.outward = Dropout(dropout), nn.Linear(dim, latent)

    def disturbed(self, history: Histories, x: Tensor) -> Tensor:
        """``x`` (n, D) and noise."""
        if not self.training:
            return x
        e = of_entries(lambda n: torch.randn(n, x.shape[1], device=x.device), history)
        return x + torch.tanh(self.noise(e))

    def forward(self, history: Histories, h: Tensor) -> Tensor:
        """A draw at every entry: (n, L)."""
        layout = Layout(history)
        y = self.disturbed(history, F.softplus(self.first(self.disturbed(history, h))))
        seen = [F.pad(part.transpose(1, 2), (REACH - 1, 0)) for part in layout.split(y)]  # (rows, D, length + 4)
        y = layout.join([F.softplus(self.near(part)).transpose(1, 2) for part in seen])
        return self.outward(self.dropout(h + F.softplus(self.last(y))))
