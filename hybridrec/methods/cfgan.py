"""CFGAN."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from hybridrec.data.batches import Histories, Query, Rows, RowSampler
from hybridrec.decoders.row import RowDecoder
from hybridrec.discriminators.critic import RowCritic
from hybridrec.encoders.row import RowLinear
from hybridrec.losses.adversarial import deceive, discriminate
from hybridrec.saving import configured
from hybridrec.shares import of_rows

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset


@configured
class CFGAN(nn.Module):
    """A generator writes whole rows, a discriminator tells them from true ones; both know what the user chose.

    Chae et al. 2018, CFGAN (CIKM), eqs. 3 to 6, the user-based CFGAN-ZP: a generated row is masked to what was chosen and a
    share of what was not, and a further share of that is pushed to zero. The generator's loss does not saturate.
    adversarial | data-based views (masking) | - | differentiable generator

    ``hidden`` are the units of either player, ``partial`` the share of unchosen items shown to the discriminator, ``zero`` that
    pushed to zero with weight ``weight``; items are drawn afresh for every batch.
    """

    sampler = RowSampler

    def __init__(self, data: Dataset, hidden: int = 400, partial: float = 0.5, zero: float = 0.7, weight: float = 0.1) -> None:
        super().__init__()
        items = data.sides["item"]
        self.read, self.write = RowLinear(items, hidden), RowDecoder(hidden, [], items)
        self.critic = RowCritic(items, hidden)
        self.partial, self.zero, self.weight = partial, zero, weight

    def players(self) -> dict[str, Iterable[nn.Parameter]]:
        """Discriminator and generator, each with an optimizer of its own."""
        generator = [*self.read.parameters(), *self.write.parameters()]
        return {"discriminator": list(self.critic.parameters()), "generator": generator}

    def generate(self, history: Histories) -> Tensor:
        """Rows with entries in (0, 1) for what is known of users: (B, I)."""
        return torch.sigmoid(self.written(history))

    def written(self, history: Histories) -> Tensor:
        """Those rows before they are squeezed into (0, 1): (B, I)."""
        return self.write(torch.sigmoid(self.read(history, 1.0)))

    @staticmethod
    def chance(real: Tensor) -> Tensor:
        """A number in [0, 1) for every entry of rows ``real``: (B, I)."""
        return of_rows(lambda rows: torch.rand(rows, real.shape[1], device=real.device), len(real))

    def shown(self, real: Tensor) -> Tensor:
        """What the discriminator is shown of generated rows: all that was chosen, and a share of the rest; (B, I)."""
        return torch.maximum(real, (self.chance(real) < self.partial).float())

    def forward(self, batch: Rows) -> dict[str, Tensor]:
        """Terms ``discriminator/judge``, ``generator/deceive`` and ``generator/zero`` of a batch of rows."""
        made = self.generate(batch.history)
        real = batch.history.dense(made.shape[1])
        masked, zeroed = made * self.shown(real), (self.chance(real) < self.zero) & (real == 0)
        return {
            "discriminator/judge": discriminate(self.critic(real, real), self.critic(masked.detach(), real)),
            "generator/deceive": deceive(self.critic(masked, real)),
            "generator/zero": self.weight * (made.square() * zeroed).sum() / len(made),
        }

    def evidence(self, batch: Rows) -> dict[str, Any]:
        """What ``diagnostics`` looks at: rows generated beside true ones, and what the discriminator makes of them."""
        made = self.generate(batch.history)
        real = batch.history.dense(made.shape[1])
        judged = self.critic(real, real), self.critic(made * self.shown(real), real)
        return {"generated": (made, real), "judged": judged}

    def score(self, query: Query) -> Tensor:
        """Scores of all items from the history alone: (B, I)."""
        return self.written(query.history)
