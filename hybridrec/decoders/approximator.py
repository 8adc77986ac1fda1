"""A denoiser of one item's vector: what it was, from its noised self and the history before it."""

from __future__ import annotations

import torch
from diffusers.models.embeddings import get_timestep_embedding
from torch import Tensor, nn

from hybridrec.data.batches import Histories
from hybridrec.data.sequences import newest
from hybridrec.shares import of_entries


class Approximator(nn.Module):
    """``x0 = f(e_1 + l_1 (x_t + d_t), ..., e_n + l_n (x_t + d_t))``: an encoder's last word on a history told of ``x_t``.

    Li et al. 2023, DiffuRec, arXiv 2304.00686. ``d_t`` embeds the time, sinusoids through a perceptron; the shares
    l are drawn from N(``uncertainty``, ``uncertainty`` ^ 2) for every entry and dimension, and are at their mean unless
    training. ``steps`` is the number of times, which are read on a scale of 1,000.

    Shapes: entries ``e`` (n, D) of ``history`` (B rows, none empty), noised vectors ``x`` (B, D), times ``t`` (B,) or (1,);
    returns (B, D).
    """

    def __init__(self, dim: int, encoder: nn.Module, steps: int, uncertainty: float = 0.001) -> None:
        super().__init__()
        self.encoder, self.uncertainty, self.scale = encoder, uncertainty, 1000 / steps
        self.time = nn.Sequential(nn.Linear(dim, 4 * dim), nn.SiLU(), nn.Linear(4 * dim, dim))

    def forward(self, history: Histories, e: Tensor, x: Tensor, t: Tensor) -> Tensor:
        """The vectors that were noised, as far as can be told: (B, D)."""
        when = get_timestep_embedding(t * self.scale, x.shape[1], flip_sin_to_cos=True, downscale_freq_shift=0)
        told = (x + self.time(when.to(x.dtype)))[history.rows]  # (n, D)
        return self.encoder(history, e + self.shares(history, told) * told)[newest(history)]

    def shares(self, history: Histories, like: Tensor) -> Tensor | float:
        """How much of it each dimension of each entry is told: (n, D), or the mean of all."""
        if not self.training:
            return self.uncertainty
        return self.uncertainty * (1 + of_entries(lambda n: torch.randn(n, like.shape[1], device=like.device), history))
