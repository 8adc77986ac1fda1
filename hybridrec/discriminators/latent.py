"""Discriminators of latents: posterior from prior, and a history's own from another's."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hybridrec.data.batches import Histories
from hybridrec.dropout import Dropout


class PosteriorCritic(nn.Module):
    """``T(x, z)``, which at its best is ``log q(z | x) - log p(z)``: what a KL divergence is the mean of.

    Mescheder et al. 2017, Adversarial variational Bayes, arXiv 1701.04722, section 3; the network is that of ACVAE's
    authors (Xie et al. 2021, arXiv 2103.10693): two residual layers, an output for every dimension of the latent, and
    ``z^2 / 2``, the part of ``-log p(z)`` that is known. (n, L) and (n, D) -> (n, L).
    """

    def __init__(self, latent: int, dim: int, hidden: int = 128, dropout: float = 0.2) -> None:
        super().__init__()
        self.enter, self.leave = nn.Linear(latent + dim, hidden), nn.Linear(hidden, latent)
        self.inner = nn.ModuleList(nn.Sequential(nn.Linear(hidden, hidden), nn.Linear(hidden, hidden)) for _ in range(2))
        self.dropout = Dropout(dropout)

    def forward(self, z: Tensor, context: Tensor) -> Tensor:
        """The score of every dimension: (n, L)."""
        h = self.dropout(self.enter(torch.cat([context, z], 1)))
        for layer in self.inner:
            h = F.elu(h + layer(h))
        return self.dropout(self.leave(h)) + z.square() / 2


class SequenceCritic(nn.Module):
    """How well latents belong to a history, entry by entry: a recurrent network over both side by side, and a line.

    Xie et al. 2021, ACVAE, arXiv 2103.10693. ``network`` reads histories at width ``hidden``. (n, L) and (n, D) -> (n,).
    """

    def __init__(self, latent: int, dim: int, hidden: int, network: nn.Module) -> None:
        super().__init__()
        self.enter, self.network, self.judge = nn.Linear(latent + dim, hidden), network, nn.Linear(hidden, 1)

    def forward(self, history: Histories, z: Tensor, context: Tensor) -> Tensor:
        """The score at every entry of ``history``: (n,)."""
        h = self.network(history, self.enter(torch.cat([context, z], 1)))
        return self.judge(F.gelu(h)).squeeze(1)
