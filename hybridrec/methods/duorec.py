"""DuoRec."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from torch import Tensor, nn

from hybridrec.data.batches import Query, Rows
from hybridrec.data.prefixes import Prefixes
from hybridrec.data.sequences import HistorySampler, entry_share, mean_length, newest, shifted
from hybridrec.encoders.reader import Reader
from hybridrec.encoders.sequence import GRU, Backbone, Transformer
from hybridrec.losses.contrastive import nt_xent
from hybridrec.memo import Memo
from hybridrec.objectives import Objective, SampledSoftmax, Wanted
from hybridrec.pairs.natural import doubled
from hybridrec.saving import configured
from hybridrec.views.model import ModelDropout

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset


@configured
class DuoRec(nn.Module):
    """A history under dropout agrees with another that led to the same item, beside foretelling its next items.

    Qiu et al. 2022, DuoRec, arXiv 2110.05730, eqs. 8 to 11. What leads to a window's last item is one of a pair, what led
    another user to it the other; rows of the batch with the same last item are no negatives. Similarity is the cosine, where
    the paper has a dot product; the next item is foretold under ``objective``, a sampled softmax unless given.
    contrastive | model-based views (dropout) | score-based pairs (same target) | InfoNCE
    Scenario: sequential

    ``view`` is the dropout: the encoder's own unless given. ``weight`` is lambda. Histories are read as
    ``encoders.reader.Reader`` says; ``stride`` is SASRec's.
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
        view: ModelDropout | None = None,
        objective: Objective | None = None,
        encoder: Transformer | GRU | Backbone | None = None,
    ) -> None:
        super().__init__()
        self.reader = Reader(data, dim, window, encoder or Transformer(dim, depth, heads, window, dropout))
        self.prefixes, self.view = Prefixes(data), view or ModelDropout()
        self.objective, self.length = objective or SampledSoftmax(), mean_length(data, window)
        self.temperature, self.weight = temperature, weight
        self.sampler = partial(HistorySampler, window=window, stride=stride)
        self._memo = Memo()

    def forward(self, batch: Rows) -> dict[str, Tensor]:
        """Terms ``next`` and ``contrast`` of a batch of windows."""
        history, reader = batch.history, self.reader
        wanted = Wanted(history.item, history.rows, history)
        loss = self.objective(reader.before(history), reader.items, wanted)
        target = history.item[newest(history)]
        led = shifted(history, reader.start)  # start, and all entries but the last
        one = self.view(reader)(led)[newest(led)]
        two = reader.after(self.prefixes.another(batch.user, target, reader.window))
        contrast = nt_xent(doubled(one, two, target), self.temperature)
        share = entry_share(batch, self.length)
        return {"next": loss * share, "contrast": self.weight * contrast}

    def catalogue(self) -> Tensor:
        """Item vectors (I, D)."""
        return self._memo(self, lambda: self.reader.items.clone())

    def represent(self, query: Query) -> Tensor:
        """User vectors (B, D): what is known after each history."""
        return self.reader.answer(query)

    def score(self, query: Query) -> Tensor:
        """Scores of all items: (B, I)."""
        return self.represent(query) @ self.catalogue().T
