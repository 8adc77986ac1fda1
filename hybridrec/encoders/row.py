"""Encoders of interaction rows: what a user chose, known user or not."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hybridrec.bags import bags
from hybridrec.data.batches import Histories
from hybridrec.shares import normal_rows


class RowLinear(nn.Module):
    """A linear layer over sparse rows: ``scale_b * sum_{i in b} W_i + bias``, at the cost of the entries alone.

    ``scale``, a number or one a row (B,), is ``1 / sqrt(n_b)`` unless given, that is, rows of unit length (Liang et al. 2018,
    arXiv 1802.05814); 1 reads zeros and ones, as sigmoid units must: of unit length rows leave them near a half, all alike.
    Shapes: B rows over I items -> (B, width); ``weight`` (I, width).
    """

    def __init__(self, items: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.init.xavier_normal_(torch.empty(items, width)))
        self.bias = nn.Parameter(nn.init.trunc_normal_(torch.empty(width), std=1e-3, a=-2e-3, b=2e-3))

    def forward(self, history: Histories, scale: Tensor | float | None = None) -> Tensor:
        """Embed ``history`` (B rows): (B, width)."""
        scale = unit(history) if scale is None else scale
        bag = bags(history.item, self.weight, history.offset)
        return (scale.unsqueeze(1) if isinstance(scale, Tensor) else scale) * bag + self.bias


def unit(history: Histories) -> Tensor:
    """What makes every 0/1 row one of unit length: ``1 / sqrt(n_b)``, (B,)."""
    return history.lengths.clamp(min=1).float().rsqrt()


class GaussianRows(nn.Module):
    """Rows to the mean and log-variance of a latent Gaussian, one tanh layer between: the encoder of MultVAE.

    Liang et al. 2018, arXiv 1802.05814, eq. 6. B rows -> (B, D) and (B, D).
    """

    def __init__(self, items: int, hidden: int, dim: int) -> None:
        super().__init__()
        self.first, self.second = RowLinear(items, hidden), nn.Linear(hidden, 2 * dim)
        nn.init.xavier_normal_(self.second.weight)

    def forward(self, history: Histories, scale: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mean and log-variance: (B, D) each."""
        mean, log_variance = self.second(torch.tanh(self.first(history, scale))).chunk(2, dim=1)
        return mean, log_variance


class DenseGaussianRows(nn.Module):
    """Rows to mean and log-variance through five layers, each fed by all before it: the encoder of RecVAE.

    Shenbin et al. 2020, arXiv 1912.11160, sec. 3.2 and the authors' code: swish, then layer normalisation (eps .1).
    B rows -> (B, D) and (B, D).
    """

    def __init__(self, items: int, hidden: int, dim: int, layers: int = 5) -> None:
        super().__init__()
        self.first = RowLinear(items, hidden)
        self.inner = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(layers - 1))
        self.norms = nn.ModuleList(nn.LayerNorm(hidden, eps=0.1) for _ in range(layers))
        self.last = nn.Linear(hidden, 2 * dim)

    def forward(self, history: Histories, scale: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mean and log-variance: (B, D) each."""
        outputs = [self.norms[0](F.silu(self.first(history, scale)))]
        for layer, norm in zip(self.inner, list(self.norms)[1:], strict=True):
            outputs.append(norm(F.silu(layer(outputs[-1]) + torch.stack(outputs).sum(0))))
        mean, log_variance = self.last(outputs[-1]).chunk(2, dim=1)
        return mean, log_variance


def draw(mean: Tensor, log_variance: Tensor) -> Tensor:
    """A sample of the Gaussian that gradients pass through, for the rows of a batch: (B, D)."""
    return moved(mean, log_variance, normal_rows(mean))


def moved(mean: Tensor, log_variance: Tensor, noise: Tensor) -> Tensor:
    """``mean + e^(log_variance / 2) noise``: any shape."""
    return mean + (log_variance / 2).exp() * noise


def log_density(z: Tensor, mean: Tensor | float, log_variance: Tensor | float) -> Tensor:
    """The log-density of a Gaussian at ``z``, by dimension: (B, D)."""
    log_variance = torch.as_tensor(log_variance, dtype=z.dtype, device=z.device)
    return -(log_variance + math.log(2 * math.pi) + (z - mean).square() / log_variance.exp()) / 2


def mean_of(history: Histories, items: Tensor) -> Tensor:
    """The mean vector of each row's items, zero for an empty row: ``items`` (I, D) -> (B, D)."""
    return bags(history.item, items, history.offset, mode="mean")
