"""RecVAE."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from hybridrec.data.batches import Histories, Query, Rows, RowSampler
from hybridrec.decoders.row import RowDecoder
from hybridrec.encoders.row import DenseGaussianRows, draw, log_density, unit
from hybridrec.losses.reconstruction import multinomial
from hybridrec.saving import configured
from hybridrec.views.data import RowMask
from hybridrec.views.model import MomentumTwin

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset

MIXTURE = (3 / 20, 3 / 4, 1 / 10)  # standard normal, last epoch's posterior, normal of log-variance 10


@configured
class RecVAE(nn.Module):
    """A variational autoencoder of rows whose prior holds to last epoch's posterior, encoder and decoder trained in turns.

    Shenbin et al. 2020, RecVAE, arXiv 1912.11160, eqs. 5 to 9. The encoder reads masked rows, the decoder whole ones; they
    take turns by batch here, where the authors give the encoder three epochs to the decoder's one.
    reconstructive | data-based views | - | multinomial and KL to a composite prior

    ``dim`` is the latent width, ``hidden`` that of the encoder's layers; a row of n items weighs its KL by ``gamma n``.
    """

    sampler = RowSampler

    def __init__(self, data: Dataset, dim: int = 200, hidden: int = 600, keep: float = 0.5, gamma: float = 0.005) -> None:
        super().__init__()
        items = data.sides["item"]
        self.encoder, self.decoder = DenseGaussianRows(items, hidden, dim), RowDecoder(dim, [], items)
        self.last = MomentumTwin(self.encoder, momentum=0.0)
        self.view, self.keep, self.gamma = RowMask(keep), keep, gamma

    def players(self) -> dict[str, Iterable[nn.Parameter]]:
        """Encoder and decoder, each with an optimizer of its own."""
        return {"encoder": list(self.encoder.parameters()), "decoder": list(self.decoder.parameters())}

    def refresh(self) -> None:
        """The prior's posterior becomes that of the epoch now ended."""
        self.last.follow(self.encoder)

    def prior(self, history: Histories, z: Tensor) -> Tensor:
        """The log-density of the composite prior at ``z``, by dimension: (B, D)."""
        parts = [log_density(z, 0.0, 0.0), log_density(z, *self.last(history)), log_density(z, 0.0, 10.0)]
        return torch.stack([p + math.log(w) for p, w in zip(parts, MIXTURE, strict=True)]).logsumexp(0)

    def forward(self, batch: Rows) -> dict[str, Tensor]:
        """Terms ``encoder/rebuild``, ``encoder/prior`` and ``decoder/rebuild`` of a batch of rows."""
        whole = batch.history
        mean, log_variance = self.encoder(self.view(whole), unit(whole) / self.keep)
        z = draw(mean, log_variance)
        excess = (log_density(z, mean, log_variance) - self.prior(whole, z)).sum(1)
        with torch.no_grad():
            clean = draw(*self.encoder(whole))
        return {
            "encoder/rebuild": multinomial(self.decoder(z), whole.rows, whole.item),
            "encoder/prior": (self.gamma * whole.lengths * excess).mean(),
            "decoder/rebuild": multinomial(self.decoder(clean), whole.rows, whole.item),
        }

    def evidence(self, batch: Rows) -> dict[str, Any]:
        """What ``diagnostics`` looks at: the latents of a batch, and its rows rebuilt beside the true ones."""
        mean, log_variance = self.encoder(batch.history)
        rebuilt = self.decoder(mean).softmax(1)
        return {"latent": (mean, log_variance), "rebuilt": (rebuilt, batch.history.dense(rebuilt.shape[1]))}

    def score(self, query: Query) -> Tensor:
        """Scores of all items from the history alone: (B, I)."""
        return self.decoder(self.encoder(query.history)[0])
