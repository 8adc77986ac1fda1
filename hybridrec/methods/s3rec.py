"""S3Rec."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from hybridrec.data.attributes import Attributes
from hybridrec.data.batches import Histories, Query, Rows
from hybridrec.data.sequences import HistorySampler, last, mean_length, newest, prepended
from hybridrec.encoders.reader import Reader
from hybridrec.encoders.sequence import Transformer
from hybridrec.losses.ranking import bpr
from hybridrec.losses.reconstruction import bernoulli
from hybridrec.memo import Memo
from hybridrec.objectives import Objective, SampledSoftmax, Wanted
from hybridrec.saving import configured
from hybridrec.views.segment import Beginning, SegmentMask
from hybridrec.views.sequence import stacked

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset


@configured
class S3Rec(nn.Module):
    """A transformer is first made to know what items, attributes and segments share, then to foretell next items.

    Zhou et al. 2020, S3-Rec, arXiv 2008.07873, section 4.2. For ``pretrain`` epochs it reads both ways, and four bilinear
    scores are to tell what belongs together: outputs and attributes of the entries not masked (``associated``), outputs at
    masks and the items (``item``) and attributes (``attribute``) hidden there, what is left of a history and the segment
    torn from it (``segment``). Then it is causal, and trained as SASRec is.
    reconstructive | data-based views (mask, segment) | natural pairs | InfoNCE and cross-entropy, then next item
    Scenario: sequential

    Items are asked under ``objective``, a sampled softmax unless given, in both stages: the paper's InfoNCE, its scores
    without their sigmoid. Segments: InfoNCE against one other, as in the authors' code. Attributes: that code's binary
    cross-entropy over all of them, of outputs, where the paper has item vectors and InfoNCE; scores begin at the odds of each
    attribute. One beginning of each history is drawn an epoch where that code takes all: on amazon-beauty one of its epochs
    has as many rows as six here. Entries are masked with probability ``mask``, the last one always.

    ``attributes`` is the column of the items' table that holds them, cut at ``separator``; None does without. The
    ``vocabulary`` most frequent ones count. Weights are the authors'. Histories are read as ``encoders.reader.Reader`` says;
    ``stride`` is SASRec's. Raises DataError where the data have rows and not that column.
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
        attributes: str | None = "categories",
        separator: str = " > ",
        vocabulary: int = 2048,
        pretrain: int = 100,
        mask: float = 0.2,
        associated: float = 0.2,
        item: float = 1.0,
        attribute: float = 1.0,
        segment: float = 0.5,
        objective: Objective | None = None,
    ) -> None:
        super().__init__()
        self.encoder = Transformer(dim, depth, heads, window, dropout)
        self.reader = Reader(data, dim, window, self.encoder)
        self.of_item, self.of_segment = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.known = None if attributes is None else Attributes(data, attributes, separator, vocabulary)
        if self.known is not None:
            self.table = nn.Parameter(torch.randn(vocabulary, dim) * 0.02)
            self.of_associated, self.of_attribute = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.beginning, self.torn = Beginning(), SegmentMask(self.reader.mask)
        self.pretrain, self.mask = pretrain, mask
        self.associated, self.item, self.attribute, self.segment = associated, item, attribute, segment
        self.objective, self.length = objective or SampledSoftmax(), mean_length(data, window)
        self.sampler = partial(HistorySampler, window=window, stride=stride)
        self._epochs = 0
        self._memo = Memo()

    @property
    def pretraining(self) -> bool:
        """Whether the next item is not yet trained on, so that there is nothing to judge."""
        return max(self._epochs, 1) <= self.pretrain

    def refresh(self) -> None:
        """Count the epochs of pre-training."""
        self._epochs += 1

    def forward(self, batch: Rows) -> dict[str, Tensor]:
        """While pre-training ``item``, ``segment`` and, where there are attributes, ``associated`` and ``attribute``.

        Afterwards ``next``.
        """
        each = 1 / (len(batch.user) * self.length)  # every entry weighs the same, whatever its batch
        if self.pretraining:
            return {name: each * loss for name, loss in self.belongs(batch.history).items()}
        history = batch.history
        wanted = Wanted(history.item, history.rows, history)
        loss = self.objective(self.reader.before(history), self.reader.items, wanted)
        return {"next": each * len(history.item) * loss}

    def belongs(self, history: Histories) -> dict[str, Tensor]:
        """The terms of pre-training, sums over entries and rows, weighted."""
        whole = self.beginning(last(history, self.reader.window - 1))
        hidden = torch.rand(len(whole.item), device=whole.item.device) < self.mask
        hidden[newest(whole)] = True
        masked = whole._replace(item=whole.item.masked_fill(hidden, self.reader.mask))
        with self.encoder.both_ways():
            z, *torn = self.read(stacked([masked, *self.torn(whole)])).chunk(4)  # (n, D) each
        context, own, other = (x[newest(whole)] for x in torn)  # (B, D) each
        target = whole.item[hidden]
        item = self.objective(self.of_item(z[hidden]), self.reader.items, Wanted(target, whole.rows[hidden], whole))
        terms = {
            "item": self.item * len(target) * item,
            "segment": self.segment * len(own) * bpr(self.of_segment(context), own, other),
        }
        if self.known is not None:
            terms["associated"] = self.associated * self.told(self.of_associated(z[~hidden]), whole.item[~hidden])
            terms["attribute"] = self.attribute * self.told(self.of_attribute(z[hidden]), target)
        return terms

    def read(self, history: Histories) -> Tensor:
        """What is known at each entry (n, D) of rows that begin with the start."""
        x = prepended(history, self.reader.start)
        return self.reader(x)[x.item != self.reader.start]

    def told(self, z: Tensor, items: Tensor) -> Tensor:
        """Cross-entropy of all attributes of ``items`` (n,) told by ``z`` (n, D): a sum over the items that have some."""
        assert self.known is not None
        some = self.known.of(items).lengths > 0
        own = self.known.of(items[some])
        if not len(own.item):
            return z.new_zeros(())
        # From their odds on: from 1/2 on, the first gradients are so large that Adam takes thousands of steps to forget them.
        logits = torch.addmm(self.known.odds, z[some], self.table[: self.known.count].T)
        return bernoulli(logits, own.rows, own.item) * len(own.lengths)

    def catalogue(self) -> Tensor:
        """Item vectors (I, D)."""
        return self._memo(self, lambda: self.reader.items.clone())

    def represent(self, query: Query) -> Tensor:
        """User vectors (B, D): what is known after each history."""
        return self.reader.answer(query)

    def score(self, query: Query) -> Tensor:
        """Scores of all items: (B, I)."""
        return self.represent(query) @ self.catalogue().T
