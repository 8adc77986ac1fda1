"""CL4SRec."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from hybridrec.data.batches import Query, Rows
from hybridrec.data.sequences import HistorySampler, entry_share, mean_length
from hybridrec.encoders.reader import Reader
from hybridrec.encoders.sequence import GRU, Backbone, Transformer
from hybridrec.losses.contrastive import nt_xent
from hybridrec.memo import Memo
from hybridrec.objectives import Objective, SampledSoftmax, Wanted
from hybridrec.pairs.natural import doubled
from hybridrec.saving import configured
from hybridrec.views.sequence import Crop, HistoryView, ItemMask, OneOf, Reorder

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset


@configured
class CL4SRec(nn.Module):
    """Two views of a history, cropped, masked or reordered, agree on its user, beside foretelling its next items.

    Xie et al. 2020, CL4SRec, arXiv 2010.14395, eqs. 3, 4 and 7 to 9. Similarity is the cosine, where the paper has a dot
    product; the next item is foretold under ``objective``, a sampled softmax unless given.
    contrastive | data-based views (crop, mask, reorder) | natural pairs | InfoNCE
    Scenario: sequential

    ``view`` corrupts histories: ``OneOf([Crop(crop), ItemMask(I + 1, mask), Reorder(reorder)])`` unless given. ``weight`` is
    lambda. Histories are read as ``encoders.reader.Reader`` says; ``stride`` is SASRec's.
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
        crop: float = 0.6,
        mask: float = 0.3,
        reorder: float = 0.6,
        temperature: float = 0.2,
        weight: float = 0.1,
        view: HistoryView | None = None,
        objective: Objective | None = None,
        encoder: Transformer | GRU | Backbone | None = None,
    ) -> None:
        super().__init__()
        self.reader = Reader(data, dim, window, encoder or Transformer(dim, depth, heads, window, dropout))
        self.view = view or OneOf([Crop(crop), ItemMask(self.reader.mask, mask), Reorder(reorder)])
        self.objective, self.length = objective or SampledSoftmax(), mean_length(data, window)
        self.temperature, self.weight = temperature, weight
        self.sampler = partial(HistorySampler, window=window, stride=stride)
        self._memo = Memo()

    def forward(self, batch: Rows) -> dict[str, Tensor]:
        """Terms ``next`` and ``contrast`` of a batch of windows."""
        history = batch.history
        wanted = Wanted(history.item, history.rows, history)
        loss = self.objective(self.reader.before(history), self.reader.items, wanted)
        one, two = (self.reader.after(self.view(history)) for _ in range(2))
        contrast = nt_xent(doubled(one, two), self.temperature)
        share = entry_share(batch, self.length)
        return {"next": loss * share, "contrast": self.weight * contrast}

    def evidence(self, batch: Rows) -> dict[str, Any]:
        """What ``diagnostics`` looks at: every item, and two views of the users of a batch."""
        one, two = (self.reader.after(self.view(batch.history)) for _ in range(2))
        return {"embeddings": self.reader.items, "views": (one, two)}

    def catalogue(self) -> Tensor:
        """Item vectors (I, D)."""
        return self._memo(self, lambda: self.reader.items.clone())

    def represent(self, query: Query) -> Tensor:
        """User vectors (B, D): what is known after each history."""
        return self.reader.answer(query)

    def score(self, query: Query) -> Tensor:
        """Scores of all items: (B, I)."""
        return self.represent(query) @ self.catalogue().T
