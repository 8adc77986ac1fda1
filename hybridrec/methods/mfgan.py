"""MFGAN."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from hybridrec.data.batches import Histories, Query, Rows
from hybridrec.data.factors import column, popularity
from hybridrec.data.sequences import HistorySampler, entry_share, mean_length, newest
from hybridrec.discriminators.factor import FactorCritic
from hybridrec.encoders.reader import Reader
from hybridrec.encoders.sequence import GRU, Backbone, Transformer
from hybridrec.losses.adversarial import discriminate, policy_gradient
from hybridrec.memo import Memo
from hybridrec.objectives import FullSoftmax, Objective, Wanted
from hybridrec.pairs.score import sampled
from hybridrec.saving import configured

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset

BANDS = 10  # of popularity


@configured
class MFGAN(nn.Module):
    """A causal transformer proposes the next item; discriminators, each of which sees one factor of items, pay what passes.

    Ren et al. 2020, MFGAN, arXiv 2005.10602: the factors are the item itself, its band of popularity, and what ``columns`` of
    the items' table say of it; the reward is the mean over discriminators of how real they find a history that ends in the
    proposed item, against the mean reward of a history's ``draws`` proposals. The generator learns by likelihood alone for
    ``warmup`` epochs, as the authors pre-train theirs; from then on by likelihood and ``weight`` times the policy gradient,
    where the authors' code weighs the likelihood of true items by the reward.
    adversarial | - | score-based pairs | likelihood, non-differentiable generator
    Scenario: sequential

    The last entry of every window is proposed anew, the others are as they were. ``values`` are the most that a column may
    tell apart. Histories are read as ``encoders.reader.Reader`` says. Raises DataError where a column is not in the data.
    """

    def __init__(
        self,
        data: Dataset,
        dim: int = 64,
        depth: int = 2,
        heads: int = 2,
        window: int = 50,
        dropout: float = 0.2,
        columns: Sequence[str] = (),
        values: int = 256,
        width: int = 32,
        draws: int = 4,
        warmup: int = 20,
        weight: float = 1.0,
        objective: Objective | None = None,
        encoder: Transformer | GRU | Backbone | None = None,
    ) -> None:
        super().__init__()
        items = data.sides["item"]
        self.reader = Reader(data, dim, window, encoder or Transformer(dim, depth, heads, window, dropout))
        factors = [(torch.arange(items), items), (popularity(data, BANDS), BANDS)]
        for name in columns:
            factors.append((column(data, name, values) if len(data.train) else torch.zeros_like(factors[0][0]), values))
        readers = (Transformer(width, 1, heads, window, dropout, causal=False) for _ in factors)
        self.critics = nn.ModuleList(FactorCritic(*f, width, network) for f, network in zip(factors, readers, strict=True))
        self.objective, self.length = objective or FullSoftmax(), mean_length(data, window)
        self.draws, self.warmup, self.weight = draws, warmup, weight
        self.sampler: Any = partial(HistorySampler, window=window)
        self._epochs = 0
        self._memo = Memo()

    def players(self) -> dict[str, Iterable[nn.Parameter]]:
        """Discriminators and generator, each with an optimizer of its own."""
        return {"discriminator": list(self.critics.parameters()), "generator": list(self.reader.parameters())}

    def refresh(self) -> None:
        """Count the epochs of the warm-up."""
        self._epochs += 1

    def judged(self, history: Histories) -> Tensor:
        """What each discriminator makes of each history, before a sigmoid: (F, B)."""
        return torch.stack([critic(history) for critic in self.critics])

    def proposed(self, history: Histories, known: Tensor) -> tuple[Histories, Tensor]:
        """Each history ``draws`` times, a proposed item in place of its last, and the proposals' log-probabilities (B, draws).

        ``known`` (n, D) is what is known before each entry.
        """
        picked, log_probability = sampled(known[newest(history)] @ self.reader.items.T, self.draws)
        rows = torch.arange(len(picked), device=picked.device).repeat_interleave(self.draws)
        made = history.take(rows)
        made.item[newest(made)] = picked.flatten()
        return made, log_probability

    def forward(self, batch: Rows) -> dict[str, Tensor]:
        """Terms ``discriminator/judge``, ``generator/next`` and, after the warm-up, ``generator/deceive`` of a batch."""
        history = batch.history
        known = self.reader.before(history)
        loss = self.objective(known, self.reader.items, Wanted(history.item, history.rows, history))
        made, log_probability = self.proposed(history, known)
        real, fake = self.judged(history), self.judged(made)
        judge = torch.stack([discriminate(*scores) for scores in zip(real, fake, strict=True)]).sum()
        share = entry_share(batch, self.length)
        terms = {"discriminator/judge": judge, "generator/next": share * loss}
        if self._epochs > self.warmup:
            reward = fake.sigmoid().mean(0).view_as(log_probability)
            terms["generator/deceive"] = self.weight * policy_gradient(log_probability, reward, reward.mean(1, keepdim=True))
        return terms

    def evidence(self, batch: Rows) -> dict[str, Any]:
        """What ``diagnostics`` looks at: every item, and what the discriminators make of true and of proposed items."""
        made, _ = self.proposed(batch.history, self.reader.before(batch.history))
        judged = self.judged(batch.history).flatten(), self.judged(made).flatten()
        return {"embeddings": self.reader.items, "judged": judged}

    def catalogue(self) -> Tensor:
        """Item vectors (I, D)."""
        return self._memo(self, lambda: self.reader.items.clone())

    def represent(self, query: Query) -> Tensor:
        """User vectors (B, D): what is known after each history."""
        return self.reader.answer(query)

    def score(self, query: Query) -> Tensor:
        """Scores of all items: (B, I)."""
        return self.represent(query) @ self.catalogue().T
