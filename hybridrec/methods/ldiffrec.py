"""L-DiffRec."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hybridrec.bags import bags
from hybridrec.data.batches import Histories, Query, Rows, RowSampler
from hybridrec.dropout import dropout
from hybridrec.encoders.row import draw
from hybridrec.linear import interactions, right_vectors
from hybridrec.losses.reconstruction import annealed, gaussian_kl
from hybridrec.pairs.score import prototypes
from hybridrec.saving import configured
from hybridrec.shares import normal_rows

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset


@configured
class LDiffRec(nn.Module):
    """Diffusion of latents: items in clusters, a variational encoder of each cluster, one decoder; LT-DiffRec with ``oldest``.

    Wang et al. 2023, DiffRec, arXiv 2304.04971, section 3.5: an encoder per cluster gives its share of the latent, diffusion
    noises and rebuilds the whole latent, the decoder reads the rebuilt one. Loss: multinomial likelihood, annealed KL, and the
    diffusion's squared error, weighted by SNR, times ``weight``, which falls to ``floor`` over 500 epochs.
    reconstructive | feature-based views (Gaussian noise in latents) | - | multinomial, KL and squared error

    Clusters are spherical k-means of the training rows' leading singular vectors (the authors cluster LightGCN's embeddings).
    ``latent`` D is shared out to clusters by their items; ``widths`` are the denoiser's layers; ``oldest`` and ``asks`` as in
    DiffRec. Defaults: the authors' for ml-1m. SNR weights of some 1e4 hold the rebuilt latent to a copy of the noised one: a
    small latent then learns nothing but to stay small, and wants a lower ``weight`` (D = 8 of 40 planted items: 0.001).
    Shapes: ``encode`` (I, 2D), of which only a cluster's own columns are used.
    """

    sampler = RowSampler
    own: Tensor

    def __init__(
        self,
        data: Dataset,
        clusters: int = 2,
        latent: int = 300,
        widths: Sequence[int] = (300,),
        steps: int = 40,
        noise: float = 0.005,
        low: float = 0.005,
        high: float = 0.02,
        dropout: float = 0.1,
        weight: float = 0.03,
        floor: float = 0.005,
        beta: float = 0.3,
        anneal: int = 200,
        oldest: float = 1.0,
        asks: int | None = None,
    ) -> None:
        super().__init__()
        from hybridrec.decoders.denoiser import RowDenoiser
        from hybridrec.decoders.diffusion import Diffusion, linear_variance

        items = data.sides["item"]
        self.denoiser = RowDenoiser(latent, tuple(widths), dropout=0.5)
        self.diffusion = Diffusion(linear_variance(steps, noise, low, high))
        self.encode = nn.Parameter(nn.init.xavier_normal_(torch.empty(items, 2 * latent)))
        self.enter = nn.Parameter(torch.zeros(2 * latent))
        self.decode = nn.Parameter(nn.init.xavier_normal_(torch.empty(items, latent + 1)))
        with torch.no_grad():
            self.decode[:, -1] = 0
        self.dropout, self.weight, self.floor, self.beta, self.anneal = dropout, weight, floor, beta, anneal
        self.oldest, self.asks = oldest, asks
        self.register_buffer("own", self.shares(data, clusters, latent) if len(data.train) else torch.empty(0, 0))
        self._epochs, self._steps = 0, 0

    @staticmethod
    def shares(data: Dataset, clusters: int, latent: int) -> Tensor:
        """Which latent columns each item may write to: (I, D), 0 or 1."""
        x = interactions(data)
        vectors = right_vectors(x, min(64, min(x.shape) - 1))
        scaled = vectors * torch.from_numpy(x @ vectors.numpy()).norm(dim=0)  # by their singular values
        belongs = prototypes(scaled, clusters)[1]
        count = torch.bincount(belongs, minlength=clusters)
        edge = (count.cumsum(0) * latent / count.sum()).round().long()
        start = F.pad(edge[:-1], (1, 0))
        column = torch.arange(latent)
        return ((column >= start[belongs].unsqueeze(1)) & (column < edge[belongs].unsqueeze(1))).float()

    def rows(self, history: Histories) -> Tensor:
        """What each entry is worth (n,): from ``oldest`` for the first of a row straight to 1 for the last."""
        place = torch.arange(len(history.item), device=history.item.device) - history.offset[:-1][history.rows]
        steps = (history.lengths - 1).clamp(min=1)[history.rows]
        value = self.oldest + (1 - self.oldest) * place / steps if self.oldest != 1 else torch.ones_like(steps).float()
        return history.once(len(self.decode)) * value

    def moments_of(self, history: Histories, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance (B, D) of rows with entries ``x`` (n,); the authors' tanh is on both."""
        weight = self.encode * self.own.repeat(1, 2)
        read = bags(history.item, weight, history.offset, x)
        mean, log_variance = torch.tanh(read + self.enter).chunk(2, 1)
        return mean, log_variance

    def refresh(self) -> None:
        """Count epochs: the diffusion's weight falls with them."""
        self._epochs += 1

    def forward(self, batch: Rows) -> dict[str, Tensor]:
        """Terms ``rebuild``, ``prior`` and ``diffusion`` of a batch of rows."""
        history = batch.history
        x = self.rows(history)
        mean, log_variance = self.moments_of(history, dropout(x, self.dropout))
        z = draw(mean, log_variance)
        t, fair = self.diffusion.draw(len(z))
        signal, noise = self.diffusion.levels(t)
        noised = signal.unsqueeze(1) * z + noise.unsqueeze(1) * normal_rows(z)
        rebuilt = self.denoiser(noised, t)
        error = self.diffusion.weights(t) * (rebuilt - z).square().mean(1)
        self.diffusion.record(t, error)
        logits = F.pad(rebuilt, (0, 1), value=1.0) @ self.decode.T  # (B, I)
        chosen = logits[history.rows, history.item] - logits.logsumexp(1)[history.rows]
        self._steps += 1
        weight = max(self.weight * (1 - max(0, self._epochs - 1) / 500), self.floor)
        return {
            "rebuild": -(x * chosen).sum() / len(z),
            "prior": annealed(self._steps, self.anneal, self.beta) * gaussian_kl(mean, log_variance),
            "diffusion": weight * (error * fair).mean(),
        }

    def catalogue(self) -> Tensor:
        """Item vectors (I, D + 1): the decoder's weights, the bias last."""
        return self.decode

    def represent(self, query: Query) -> Tensor:
        """User vectors (B, D + 1): the latent mean, taken back step by step, and a 1."""
        z = self.moments_of(query.history, self.rows(query.history))[0]
        for t, clean, noised in self.diffusion.back(self.asks):
            z = clean * self.denoiser(z, t) + noised * z
        return F.pad(z, (0, 1), value=1.0)

    def score(self, query: Query) -> Tensor:
        """Scores of all items: (B, I)."""
        return self.represent(query) @ self.catalogue().T
