"""ICLRec."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hybridrec.data.batches import Query, Rows
from hybridrec.data.sequences import HistorySampler, entry_share, mean_length
from hybridrec.encoders.reader import Reader
from hybridrec.encoders.sequence import GRU, Backbone, Transformer
from hybridrec.losses.contrastive import info_nce, nt_xent
from hybridrec.memo import Memo
from hybridrec.objectives import Objective, SampledSoftmax, Wanted
from hybridrec.pairs.natural import doubled
from hybridrec.pairs.score import nearest_prototype, prototypes
from hybridrec.saving import configured
from hybridrec.views.sequence import Crop, HistoryView, ItemMask, OneOf, Reorder

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset

ROWS = 1024  # histories read together when intents are found


@configured
class ICLRec(nn.Module):
    """Views of a history agree with each other and with the intent, a cluster of histories, that it belongs to.

    Chen et al. 2022, ICLRec, arXiv 2202.02519, eqs. 8 to 13. Intents are found anew before every epoch after ``warmup``, by
    spherical k-means over what is known after every training history; a history's intent is the nearest to what is known of
    it now, and all intents are candidates, so that those shared by rows of a batch are no negatives (eq. 12). Similarity is
    the cosine; the next item is foretold under ``objective``, a sampled softmax unless given.
    contrastive | data-based views (crop, mask, reorder) | natural + score-based pairs (intents) | InfoNCE
    Scenario: sequential

    ``intents`` is K; ``weight`` that of agreeing with intents, ``contrast`` of views agreeing with each other (lambda and
    beta). ``view`` is CL4SRec's unless given. Histories are read as ``encoders.reader.Reader`` says; ``stride`` is SASRec's.
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
        intents: int = 256,
        warmup: int = 0,
        temperature: float = 0.2,
        weight: float = 0.1,
        contrast: float = 0.1,
        view: HistoryView | None = None,
        objective: Objective | None = None,
        encoder: Transformer | GRU | Backbone | None = None,
    ) -> None:
        super().__init__()
        self.reader = Reader(data, dim, window, encoder or Transformer(dim, depth, heads, window, dropout))
        self.view = view or OneOf([Crop(), ItemMask(self.reader.mask), Reorder()])
        self.objective, self.length = objective or SampledSoftmax(), mean_length(data, window)
        self.intents, self.warmup, self.temperature = intents, warmup, temperature
        self.weight, self.contrast = weight, contrast
        self.sampler = partial(HistorySampler, window=window, stride=stride)
        self.histories = data.histories()
        self._found: Tensor | None = None
        self._epochs = 0
        self._memo = Memo()

    def refresh(self) -> None:
        """Find the intents among all training histories (E-step)."""
        self._epochs += 1
        if self._epochs > self.warmup:
            training = self.training
            self.eval()
            user = self.histories.lengths.nonzero().flatten()
            device = self.reader.table.device
            known = [self.reader.after(self.histories.take(some).to(device)) for some in user.split(ROWS)]
            self._found = prototypes(torch.cat(known), self.intents)[0]
            self.train(training)

    def forward(self, batch: Rows) -> dict[str, Tensor]:
        """Terms ``next``, ``contrast`` and, after the warm-up, ``intent`` of a batch of windows."""
        history = batch.history
        wanted = Wanted(history.item, history.rows, history)
        loss = self.objective(self.reader.before(history), self.reader.items, wanted)
        one, two = (self.reader.after(self.view(history)) for _ in range(2))
        share = entry_share(batch, self.length)
        terms = {"next": loss * share, "contrast": self.contrast * nt_xent(doubled(one, two), self.temperature)}
        if self._found is not None:
            with torch.no_grad():
                belongs = nearest_prototype(F.normalize(self.reader.after(history), dim=1), self._found)
            first, second = (info_nce((x, self._found, belongs), self.temperature) for x in (one, two))
            terms["intent"] = self.weight * (first + second) / 2
        return terms

    def catalogue(self) -> Tensor:
        """Item vectors (I, D)."""
        return self._memo(self, lambda: self.reader.items.clone())

    def represent(self, query: Query) -> Tensor:
        """User vectors (B, D): what is known after each history."""
        return self.reader.answer(query)

    def score(self, query: Query) -> Tensor:
        """Scores of all items: (B, I)."""
        return self.represent(query) @ self.catalogue().T
