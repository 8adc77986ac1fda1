"""IRGAN."""

from __future__ import annotations

from collections.abc import Iterable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from hybridrec.data.batches import Pairs, PairSampler, Query
from hybridrec.discriminators.critic import PairCritic
from hybridrec.encoders.table import NodeTable
from hybridrec.foldin import known_or_folded
from hybridrec.losses.adversarial import discriminate, policy_gradient
from hybridrec.losses.ranking import bpr
from hybridrec.memo import Memo
from hybridrec.pairs.score import sampled
from hybridrec.saving import configured

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset


@configured
class IRGAN(nn.Module):
    """A generator picks items for a user, a discriminator tells them from chosen ones and pays it for what passes.

    Wang et al. 2017, IRGAN, arXiv 1705.10513, eqs. 3 to 6 and 13 to 15: matrix factorisation on both sides, policy gradient
    with the mean reward as baseline. The authors start the generator from a trained ranker; ``warmup`` epochs of BPR stand
    for that.
    adversarial | - | score-based pairs | non-differentiable generator

    ``draws`` items are picked for each user of a batch from the softmax at ``temperature`` over all items.
    """

    sampler = PairSampler

    def __init__(
        self, data: Dataset, dim: int = 64, draws: int = 16, temperature: float = 0.2, warmup: int = 20, decay: float = 1e-4
    ) -> None:
        super().__init__()
        self.nodes = NodeTable(data.sides, dim)
        self.critic = PairCritic(data.sides["user"], data.sides["item"], dim)
        self.draws, self.temperature, self.warmup, self.decay = draws, temperature, warmup, decay
        self._epochs = 0
        self._memo = Memo()

    def players(self) -> dict[str, Iterable[nn.Parameter]]:
        """Discriminator and generator, each with an optimizer of its own."""
        return {"discriminator": list(self.critic.parameters()), "generator": list(self.nodes.parameters())}

    def refresh(self) -> None:
        """Count the epochs of the warm-up."""
        self._epochs += 1

    def embed(self) -> SimpleNamespace:
        """The generator's vectors by side: ``.user`` (U, D), ``.item`` (I, D)."""
        return self.nodes.split(self.nodes())

    def forward(self, batch: Pairs) -> dict[str, Tensor]:
        """Terms ``discriminator/judge`` and ``generator/rank`` while warming up, ``generator/deceive`` from then on."""
        main, users = self.embed(), batch.user.unique()
        logits = main.user[users] @ main.item.T / self.temperature  # (B, I)
        picked, log_probability = sampled(logits, self.draws)
        passes = self.critic(picked, users)  # (B, draws)
        terms = {"discriminator/judge": discriminate(self.critic(batch.positive, batch.user), passes.flatten())}
        if self._epochs <= self.warmup:
            terms["generator/rank"] = bpr(main.user[batch.user], main.item[batch.positive], main.item[batch.negative])
        else:
            reward = 2 * torch.sigmoid(passes) - 1
            terms["generator/deceive"] = policy_gradient(log_probability, reward, reward.mean(1, keepdim=True))
        length = main.user[users].square().sum(1).mean() + main.item.square().sum(1).mean()
        return {**terms, "generator/decay": self.decay * length}

    def evidence(self, batch: Pairs) -> dict[str, Any]:
        """What ``diagnostics`` looks at: what the discriminator makes of chosen items and of those the generator picks."""
        main, users = self.embed(), batch.user.unique()
        picked, _ = sampled(main.user[users] @ main.item.T / self.temperature, self.draws)
        judged = self.critic(batch.positive, batch.user), self.critic(picked, users).flatten()
        return {"embeddings": main.item, "judged": judged}

    def catalogue(self) -> Tensor:
        """Item vectors (I, D)."""
        return self._memo(self, self.embed).item

    def represent(self, query: Query) -> Tensor:
        """User vectors (B, D): learned where the user is known, else folded in from the history."""
        return known_or_folded(query, self._memo(self, self.embed).user, self.catalogue())

    def score(self, query: Query) -> Tensor:
        """Scores of all items: (B, I)."""
        return self.represent(query) @ self.catalogue().T
