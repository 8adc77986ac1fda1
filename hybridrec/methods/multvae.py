"""MultVAE."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from hybridrec.data.batches import Query, Rows, RowSampler
from hybridrec.decoders.row import RowDecoder
from hybridrec.encoders.row import GaussianRows, draw, unit
from hybridrec.losses.reconstruction import annealed, gaussian_kl, multinomial
from hybridrec.saving import configured
from hybridrec.views.data import RowMask

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset


@configured
class MultVAE(nn.Module):
    """A variational autoencoder of interaction rows with a multinomial likelihood; part of each row is masked.

    Liang et al. 2018, MultVAE, arXiv 1802.05814, eqs. 2, 6 and 7. The KL term's weight climbs to ``beta`` in ``anneal`` steps.
    reconstructive | data-based views | - | multinomial and KL

    ``dim`` is the latent width, ``hidden`` that of the layer on either side, ``keep`` the share of a row that is read.
    """

    sampler = RowSampler

    def __init__(
        self,
        data: Dataset,
        dim: int = 200,
        hidden: int = 600,
        keep: float = 0.5,
        beta: float = 0.2,
        anneal: int = 20_000,
    ) -> None:
        super().__init__()
        items = data.sides["item"]
        self.encoder = GaussianRows(items, hidden, dim)
        self.decoder = RowDecoder(dim, [hidden], items)
        self.view, self.keep = RowMask(keep), keep
        self.beta, self.anneal = beta, anneal
        self._steps = 0

    def forward(self, batch: Rows) -> dict[str, Tensor]:
        """Terms ``rebuild`` and ``prior`` of a batch of rows."""
        whole = batch.history
        self._steps += 1
        mean, log_variance = self.encoder(self.view(whole), unit(whole) / self.keep)
        logits = self.decoder(draw(mean, log_variance))
        weight = annealed(self._steps, self.anneal, self.beta)
        prior = weight * gaussian_kl(mean, log_variance)
        return {"rebuild": multinomial(logits, whole.rows, whole.item), "prior": prior}

    def evidence(self, batch: Rows) -> dict[str, Any]:
        """What ``diagnostics`` looks at: the latents of a batch, and its rows rebuilt beside the true ones."""
        mean, log_variance = self.encoder(batch.history)
        rebuilt = self.decoder(mean).softmax(1)
        return {"latent": (mean, log_variance), "rebuilt": (rebuilt, batch.history.dense(rebuilt.shape[1]))}

    def score(self, query: Query) -> Tensor:
        """Scores of all items from the history alone: (B, I)."""
        return self.decoder(self.encoder(query.history)[0])
