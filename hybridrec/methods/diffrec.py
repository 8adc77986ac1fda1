"""DiffRec."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from hybridrec.bags import bags
from hybridrec.data.batches import Histories, Query, Rows, RowSampler
from hybridrec.losses.diffusion import catalogue_squared_error
from hybridrec.memo import Memo
from hybridrec.saving import configured
from hybridrec.views.feature import dropped
from hybridrec.views.noise import noisy_rows

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset


@configured
class DiffRec(nn.Module):
    """Diffusion over interaction rows: a little noise and much dropout, removed step by step; T-DiffRec with ``oldest``.

    Wang et al. 2023, DiffRec, arXiv 2304.04971; T-DiffRec, section 3.4: rows weighted by place, ``oldest`` .. 1.
    reconstructive | feature-based views (Gaussian noise, dropout) | - | squared error, weighted by SNR

    Rows stay sparse: noise is drawn after the first layer and the error taken through Gram matrices (``views.noise``,
    ``losses.diffusion``); dropout of the noise is matched in its mean and covariance. The reverse process starts at the row
    itself, adds no noise (DiffRec, section 3.3), and runs in the first layer's space: ``x_s = c x0 + d x_t`` with
    ``x0 = V h`` gives ``W'x_s = c (W'V) h + d W'x_t``, so that the catalogue is met at the first read and the last write only.

    ``widths`` are the hidden layers; ``steps``, ``noise``, ``low`` and ``high`` the schedule; ``asks`` the reverse steps at
    inference: None for all, 1 for the one-step control (the same denoiser asked once). Defaults: the authors' for ml-1m.
    """

    sampler = RowSampler

    def __init__(
        self,
        data: Dataset,
        widths: Sequence[int] = (600, 200, 600),
        steps: int = 40,
        noise: float = 0.005,
        low: float = 0.005,
        high: float = 0.01,
        dropout: float = 0.5,
        oldest: float = 1.0,
        asks: int | None = None,
    ) -> None:
        super().__init__()
        from hybridrec.decoders.denoiser import RowDenoiser
        from hybridrec.decoders.diffusion import Diffusion, linear_variance

        self.denoiser = RowDenoiser(data.sides["item"], tuple(widths), dropout=dropout)
        self.diffusion = Diffusion(linear_variance(steps, noise, low, high))
        self.dropout, self.oldest, self.asks = dropout, oldest, asks
        self._memo = Memo()

    def rows(self, history: Histories) -> Tensor:
        """What each entry is worth (n,): from ``oldest`` for the first of a row straight to 1 for the last."""
        once = history.once(len(self.denoiser.write))  # a repeated item counts where it was chosen last
        if self.oldest == 1.0:
            return once.float()
        place = torch.arange(len(history.item), device=history.item.device) - history.offset[:-1][history.rows]
        steps = (history.lengths - 1).clamp(min=1)[history.rows]
        return once * (self.oldest + (1 - self.oldest) * place / steps)

    def forward(self, batch: Rows) -> dict[str, Tensor]:
        """Term ``diffusion`` of a batch of rows."""
        history, model = batch.history, self.denoiser
        x = self.rows(history)
        t, fair = self.diffusion.draw(len(batch.user))
        signal, noise = self.diffusion.levels(t)
        kept = dropped(x * signal[history.rows], self.dropout, history)
        u = noisy_rows(model.read, history.offset, history.item, kept, noise * (1 - self.dropout) ** -0.5)
        error = catalogue_squared_error(model.between(u, t), model.write, history.offset, history.item, x)
        loss = self.diffusion.weights(t) * error / len(model.write)
        self.diffusion.record(t, loss)
        return {"diffusion": (loss * fair).mean()}

    def catalogue(self) -> Tensor:
        """Item vectors (I, D): the last layer's weights, the bias last."""
        return self.denoiser.write

    def represent(self, query: Query) -> Tensor:
        """User vectors (B, D): the last hidden layer of the last reverse step, and a 1."""
        history, model = query.history, self.denoiser
        x = self.rows(history)
        u = bags(history.item, model.read, history.offset, x)
        # V'W (DK + 1, D1) takes a hidden layer to what the first layer reads of it; its last row is the biases' share.
        through = self._memo(model, lambda: model.write.T @ model.read)
        *steps, (last, _, _) = self.diffusion.back(self.asks)
        for t, clean, noised in steps:
            h = model.hidden(u, torch.tensor([t], device=u.device))
            u = torch.addmm(torch.add(noised * u, through[-1], alpha=clean), h, through[:-1], alpha=clean)
        return model.between(u, torch.tensor([last], device=u.device))

    def score(self, query: Query) -> Tensor:
        """Scores of all items: (B, I)."""
        return self.represent(query) @ self.catalogue().T
