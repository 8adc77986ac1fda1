"""AsarRec."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from hybridrec.data.batches import Histories, Query, Rows
from hybridrec.data.sequences import HistorySampler, entry_share, last, mean_length, newest, prepended
from hybridrec.encoders.reader import Reader
from hybridrec.encoders.sequence import GRU, Backbone, Layout, Transformer
from hybridrec.losses.adversarial import opposed
from hybridrec.losses.augmentation import apart, kept_order
from hybridrec.losses.contrastive import nt_xent
from hybridrec.memo import Memo
from hybridrec.objectives import Objective, SampledSoftmax, Wanted
from hybridrec.pairs.natural import doubled
from hybridrec.saving import configured
from hybridrec.views.learned_sequence import Transitions, drawn_items, rewritten

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset


class Views(NamedTuple):
    """Users by two augmentations of their histories, (B, D) each; how far apart these are (B,), how much each kept (2 B,)."""

    one: Tensor
    two: Tensor
    apart: Tensor
    kept: Tensor


@configured
class AsarRec(nn.Module):
    """Two augmentations that the model learned to draw for a history agree on its user, beside foretelling its next items.

    Zhang et al. 2025, AsarRec, arXiv 2512.14047, built from its abstract and summaries of it: the full text was not at hand,
    and formulas it may have otherwise are the house's own. From there: augmentations as matrices whose rows and columns sum
    to 0 or 1, read off a linear map and self-attention, made hard by a differentiable Semi-Sinkhorn; a diversity term in the
    L2 norm, an NDCG of order for semantic invariance, InfoNCE for informativeness. Of the house: what is drawn
    (``views.learned_sequence``), both terms' formulas (``losses.augmentation``), and that informativeness, views that are a
    challenge, means that the augmenter ascends the InfoNCE which the encoder descends. An augmented history is as long as
    the history (in the paper it may grow by K); an empty step reads as a mask. The augmenter reads item vectors without
    moving them; drawn items are as often others' as they are met in the batch.
    contrastive | model-based views (learned augmentation) | natural pairs | InfoNCE
    Scenario: sequential

    ``weight`` is that of the contrast, ``diverse`` and ``invariant`` those of the two terms, ``inform`` how much of the
    contrast's gradient the augmenter climbs; ``others`` is K; ``stay`` the log-odds at the start that an entry stays where it
    is; ``softness`` the temperature of the Semi-Sinkhorn. Histories are read as ``encoders.reader.Reader`` says; ``stride``
    is SASRec's.
    """

    def __init__(
        self,
        data: Dataset,
        dim: int = 64,
        depth: int = 2,
        heads: int = 2,
        window: int = 50,
        dropout: float = 0.2,
        stride: int | None = None,
        temperature: float = 0.2,
        weight: float = 0.1,
        diverse: float = 0.1,
        invariant: float = 0.1,
        inform: float = 1.0,
        others: int = 5,
        stay: float = 1.0,
        softness: float = 0.2,
        rounds: int = 10,
        objective: Objective | None = None,
        encoder: Transformer | GRU | Backbone | None = None,
    ) -> None:
        super().__init__()
        self.reader = Reader(data, dim, window, encoder or Transformer(dim, depth, heads, window, dropout))
        self.augment = Transitions(dim, window, stay, temperature=softness, rounds=rounds)
        self.objective, self.length = objective or SampledSoftmax(), mean_length(data, window)
        self.temperature, self.weight, self.others = temperature, weight, others
        self.diverse, self.invariant, self.inform = diverse, invariant, inform
        self.sampler = partial(HistorySampler, window=window, stride=stride)
        self._memo = Memo()

    def views(self, history: Histories) -> Views:
        """Two augmentations of each row and what the encoder makes of them; rows must not be empty."""
        reader = self.reader
        seen = last(history, reader.window - 1)
        layout, x = Layout(seen), reader.table[seen.item]
        found = []
        for part, block in zip(layout.split(x), layout.blocks, strict=True):
            real = None if block.mask is None else block.mask[:, 0, 0]
            others = reader.table[drawn_items(seen, block.rows, self.others)]
            odds = self.augment(part.detach(), others.detach(), real)
            pair = (self.augment.draw(odds), self.augment.draw(odds))
            length = odds.new_full((block.rows,), block.length) if real is None else real.sum(1)
            sources = torch.cat([part, others], 1)
            made = [rewritten(opposed(m, self.inform), sources, reader.table[reader.mask]) for m in pair]
            found.append((made, apart(*pair, length), [kept_order(m, length) for m in pair]))
        steps, distance, kept = zip(*found, strict=True)
        read = prepended(seen, reader.start)
        entry = torch.arange(len(seen.item), device=x.device) + seen.rows + 1

        def user(which: int) -> Tensor:
            vectors = reader.table[read.item].index_put((entry,), layout.join([pair[which] for pair in steps]))
            return reader.encoder(read, vectors)[newest(read)]

        return Views(user(0), user(1), torch.cat(distance), torch.cat([x for pair in kept for x in pair]))

    def forward(self, batch: Rows) -> dict[str, Tensor]:
        """Terms ``next``, ``contrast``, ``diversity`` and ``invariance`` of a batch of windows."""
        history = batch.history
        wanted = Wanted(history.item, history.rows, history)
        loss = self.objective(self.reader.before(history), self.reader.items, wanted)
        views = self.views(history)
        share = entry_share(batch, self.length)
        return {
            "next": loss * share,
            "contrast": self.weight * nt_xent(doubled(views.one, views.two), self.temperature),
            "diversity": self.diverse * (1 - views.apart).mean(),
            "invariance": self.invariant * (1 - views.kept).mean(),
        }

    def evidence(self, batch: Rows) -> dict[str, Any]:
        """What ``diagnostics`` looks at: every item, and two views of the users of a batch."""
        views = self.views(batch.history)
        return {"embeddings": self.reader.items, "views": (views.one, views.two)}

    def catalogue(self) -> Tensor:
        """Item vectors (I, D)."""
        return self._memo(self, lambda: self.reader.items.clone())

    def represent(self, query: Query) -> Tensor:
        """User vectors (B, D): what is known after each history."""
        return self.reader.answer(query)

    def score(self, query: Query) -> Tensor:
        """Scores of all items: (B, I)."""
        return self.represent(query) @ self.catalogue().T
