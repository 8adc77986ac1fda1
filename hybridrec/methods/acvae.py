"""ACVAE."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hybridrec.data.batches import Histories, Query, Rows
from hybridrec.data.sequences import HistorySampler, entry_share, mean_length, newest, prepended, readable, shifted
from hybridrec.discriminators.latent import PosteriorCritic, SequenceCritic
from hybridrec.encoders.implicit import ImplicitPosterior
from hybridrec.encoders.sequence import GRU, Backbone, Transformer
from hybridrec.losses.adversarial import discriminate
from hybridrec.losses.contrastive import jensen_shannon
from hybridrec.losses.reconstruction import annealed
from hybridrec.objectives import FullSoftmax, Objective, Wanted
from hybridrec.pairs.natural import torn
from hybridrec.saving import configured
from hybridrec.shares import of_entries

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset


@configured
class ACVAE(nn.Module):
    """A variational autoencoder of next items, its KL divergence told by a discriminator, its latents told from other users'.

    Xie et al. 2021, ACVAE, arXiv 2103.10693. A discriminator learns ``log q(z | x) - log p(z)`` between latents of the
    posterior and of the prior, and its mean is the KL term; another, trained with the encoder, bounds the mutual
    information of histories and latents. Both are as in the authors' code, where the first judges every dimension by itself.
    adversarial | feature-based views (noise) | natural pairs | likelihood, adversarial KL, Jensen-Shannon
    Scenario: sequential

    ``prior`` is alpha, the weight of the KL term, reached after ``anneal`` epochs, and ``contrast`` beta. ``encoder`` is a GRU
    unless given, which causal ones of width ``dim`` may replace. An answer is what the latent says when no noise is added.
    Every history begins with a start entry; of one longer than ``window`` the last ``window - 1`` entries are read; entries
    whose item has no training row are passed over. Known users are known by their histories too.
    """

    met: Tensor

    def __init__(
        self,
        data: Dataset,
        dim: int = 64,
        latent: int = 64,
        window: int = 50,
        dropout: float = 0.5,
        prior: float = 0.05,
        contrast: float = 0.1,
        anneal: int = 10,
        hidden: int = 128,
        objective: Objective | None = None,
        encoder: Transformer | GRU | Backbone | None = None,
    ) -> None:
        super().__init__()
        items = data.sides["item"]
        self.table = nn.Parameter(torch.randn(items + 1, dim) * 0.05)  # the last is the start
        self.encoder = encoder or GRU(dim, dropout=dropout)
        self.posterior = ImplicitPosterior(dim, latent, dropout)
        self.inner = nn.Linear(latent, dim)
        self.write = nn.Parameter(F.pad(torch.randn(items, dim) * 0.05, (0, 1)))  # the last column is the items' biases
        self.critic = PosteriorCritic(latent, dim, hidden)
        self.match = SequenceCritic(latent, dim, hidden, GRU(hidden, dropout=0.0))
        self.objective, self.window, self.length = objective or FullSoftmax(), window, mean_length(data, window)
        self.prior, self.contrast, self.anneal = prior, contrast, anneal
        self.sampler: Any = partial(HistorySampler, window=window)
        self.register_buffer("met", torch.bincount(data.train.index[1], minlength=items) > 0)
        self._epochs = 0

    def players(self) -> dict[str, Iterable[nn.Parameter]]:
        """The autoencoder, and the discriminator of posterior and prior, each with an optimizer of its own."""
        critic = list(self.critic.parameters())
        mine = {id(p) for p in critic}
        return {"encoder": [p for p in self.parameters() if id(p) not in mine], "discriminator": critic}

    def refresh(self) -> None:
        """Count the epochs of the annealing."""
        self._epochs += 1

    def latents(self, read: Histories) -> tuple[Tensor, Tensor]:
        """The vectors of the entries of ``read`` (n, D), and a latent drawn at each (n, L)."""
        x = self.table[read.item]
        return x, self.posterior(read, self.encoder(read, x))

    def decode(self, z: Tensor) -> Tensor:
        """Latents (n, L) as what item vectors are compared with, a 1 at its end: (n, D + 1)."""
        return F.pad(torch.tanh(self.inner(z)), (0, 1), value=1.0)

    def forward(self, batch: Rows) -> dict[str, Tensor]:
        """Terms ``encoder/next``, ``encoder/prior``, ``encoder/contrast`` and ``discriminator/judge`` of a batch of windows."""
        history = batch.history
        read = shifted(history, len(self.met))
        x, z = self.latents(read)
        loss = self.objective(self.decode(z), self.write, Wanted(history.item, history.rows, history))
        divergence = self.critic(z, x).mean()
        torn_apart = self.match(read, z[torn(read.offset)], x)
        normal = of_entries(lambda n: torch.randn(n, z.shape[1], device=z.device), read)
        judged = self.critic(z.detach(), x.detach()), self.critic(normal, x.detach())
        share = entry_share(batch, self.length)
        return {
            "encoder/next": share * loss,
            "encoder/prior": share * annealed(self._epochs, self.anneal, self.prior) * divergence,
            "encoder/contrast": share * self.contrast * jensen_shannon(self.match(read, z, x), torn_apart),
            "discriminator/judge": share * discriminate(*judged),
        }

    def evidence(self, batch: Rows) -> dict[str, Any]:
        """What ``diagnostics`` looks at: item vectors, and what the discriminator makes of the posterior and of the prior."""
        x, z = self.latents(shifted(batch.history, len(self.met)))
        judged = (self.critic(y, x).mean(1) for y in (z, torch.randn_like(z)))
        return {"embeddings": self.table[:-1], "judged": tuple(judged)}

    def catalogue(self) -> Tensor:
        """Item vectors (I, D + 1), their bias last."""
        return self.write

    def represent(self, query: Query) -> Tensor:
        """User vectors (B, D + 1): what the latent at the last entry of each history says, and a 1."""
        read = prepended(readable(query.history, self.met, self.window - 1), len(self.met))
        return self.decode(self.latents(read)[1][newest(read)])

    def score(self, query: Query) -> Tensor:
        """Scores of all items: (B, I)."""
        return self.represent(query) @ self.catalogue().T
