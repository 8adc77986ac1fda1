"""Denoisers of interaction vectors: what reads a noised row and writes the row it came from."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.embeddings import get_timestep_embedding
from torch import Tensor, nn

from hybridrec.dropout import dropout


class RowDenoiser(ModelMixin, ConfigMixin):
    """A time-conditioned perceptron from rows to rows, in three parts: ``W'x``, the layers between, ``V h``.

    DiffRec's (Wang et al. 2023, arXiv 2304.04971, section 3.1): dropout on the noised row, the sinusoidal embedding of t
    beside it, tanh after every layer but the last. Cut in three so that no part but the dense ``forward`` needs (B, I):
    training reads sparse rows and compares through Gram matrices, and the reverse process runs in the first layer's space.

    ``catalogue`` is I; ``widths`` are the hidden layers' (D1 the first, DK the last); ``read`` is W (I, D1); ``write`` is
    V (I, DK + 1), its last column the bias of every item.
    """

    @register_to_config
    def __init__(
        self, catalogue: int, widths: Sequence[int] = (600, 200, 600), time_dim: int = 10, dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.dropout, self.time_dim = dropout, time_dim
        self.read = nn.Parameter(_normal(torch.empty(catalogue, widths[0]), catalogue + time_dim, widths[0]))
        self.time = nn.Linear(time_dim, time_dim)
        self.enter = nn.Linear(time_dim, widths[0])  # the time's share of the first layer, and that layer's bias
        self.inner = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.write = nn.Parameter(_normal(torch.empty(catalogue, widths[-1] + 1), catalogue, widths[-1]))
        with torch.no_grad():
            layers: list[nn.Linear] = [self.time, *self.inner]
            for layer in layers:
                _normal(layer.weight, *layer.weight.shape)
            _normal(self.enter.weight, catalogue + time_dim, widths[0])
            for bias in (self.enter.bias, *(layer.bias for layer in layers), self.write[:, -1]):
                nn.init.normal_(bias, 0.0, 0.001)

    def hidden(self, u: Tensor, t: Tensor) -> Tensor:
        """The last hidden layer (B, DK) from what was read ``u = W'x`` (B, D1) and times ``t``, (B,) or (1,) for all."""
        when = get_timestep_embedding(t, self.time_dim, flip_sin_to_cos=True, downscale_freq_shift=0)
        h = torch.tanh(u + self.enter(self.time(when.to(u.dtype))))
        for layer in self.inner:
            h = torch.tanh(layer(h))
        return h

    def between(self, u: Tensor, t: Tensor) -> Tensor:
        """The last hidden layer and a 1, which V's last column, the bias, is for: (B, DK + 1)."""
        return F.pad(self.hidden(u, t), (0, 1), value=1.0)

    def forward(self, sample: Tensor, timestep: Tensor | int) -> Tensor:
        """Predicted rows x0 (B, I) from noised rows ``sample`` (B, I) and times (B,) or one."""
        t = torch.as_tensor(timestep, device=sample.device).expand(len(sample))
        return self.between(dropout(sample, self.dropout, self.training) @ self.read, t) @ self.write.T


def _normal(weight: Tensor, one: int, other: int) -> Tensor:
    """Xavier's normal: variance ``2 / (fan in + fan out)``."""
    with torch.no_grad():
        return weight.normal_(0.0, (2.0 / (one + other)) ** 0.5)


class VectorDenoiser(ModelMixin, ConfigMixin):
    """A perceptron that rebuilds a noised vector from it, its time and two conditions, either of which may be absent.

    For the diffusion prior of Ramesh et al. 2022 (arXiv 2204.06125, section 2.2), there a transformer. Beside the noised
    vector (B, D) and the sinusoidal embedding of t stand ``history`` and ``text`` (B, D), zero where ``told`` (B, 2), 0 or 1,
    says they are absent. What is learned is added to ``history``; next to nothing is at the start.

    ``dim`` is D, ``width`` that of the ``depth`` hidden layers, ``time_dim`` that of t's embedding.
    """

    @register_to_config
    def __init__(self, dim: int, width: int = 256, depth: int = 2, time_dim: int = 32, dropout: float = 0.1) -> None:
        super().__init__()
        self.dropout, self.time_dim = dropout, time_dim
        sizes = [3 * dim + 2 + time_dim, *[width] * depth]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.leave = nn.Linear(sizes[-1], dim)
        nn.init.normal_(self.leave.weight, std=1e-3)
        nn.init.zeros_(self.leave.bias)

    def forward(self, sample: Tensor, timestep: Tensor | int, history: Tensor, text: Tensor, told: Tensor) -> Tensor:
        """Predicted vectors x0 (B, D)."""
        t = torch.as_tensor(timestep, device=sample.device).expand(len(sample))
        when = get_timestep_embedding(t, self.time_dim, flip_sin_to_cos=True, downscale_freq_shift=0)
        h = torch.cat([sample, history, text, told, when.to(sample.dtype)], 1)
        for layer in self.layers:
            h = dropout(F.silu(layer(h)), self.dropout, self.training)
        return history + self.leave(h)
