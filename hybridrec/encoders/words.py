"""Texts as weighted sums of learned vectors of their words."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hybridrec.bags import bags
from hybridrec.errors import DataError


class WordBag(nn.Module):
    """``sum_w idf_w e_w / |idf|`` over the words of a text that are known: what a title's words say of who chooses it.

    Known are the ``vocabulary`` V most frequent of a catalogue, if ``least`` of its texts have them; ``idf_w`` is the
    logarithm of one over the share of texts that do (Spärck Jones 1972). Vectors start at zero: what was not met in
    training says nothing. In training each word of a text is left out with probability ``dropout``.

    Shapes: numbers (n, S) int64, 0 for none (``hybridrec.data.words``); places (n, S), V where a word is not known;
    returns (n, D).
    """

    known: Tensor
    idf: Tensor

    def __init__(self, vocabulary: int, dim: int, least: int = 3, dropout: float = 0.0) -> None:
        super().__init__()
        self.vocabulary, self.least, self.dropout = vocabulary, least, dropout
        self.vectors = nn.Parameter(torch.zeros(vocabulary, dim))
        self.register_buffer("known", torch.zeros(0, dtype=torch.int64))  # sorted
        self.register_buffer("idf", torch.zeros(1))  # the last for words not known

    @torch.no_grad()
    def learn(self, numbers: Tensor) -> None:
        """Take the vocabulary from the texts of a catalogue (I, S), each word once a text."""
        word, count = numbers[numbers > 0].unique(return_counts=True)
        word, count = word[count >= self.least], count[count >= self.least]
        kept = count.argsort(descending=True, stable=True)[: self.vocabulary].sort().values
        self.known = word[kept]
        self.idf = F.pad(torch.log(len(numbers) / count[kept]), (0, 1))

    def verify(self) -> None:
        """Raise DataError where words and their frequencies do not belong together, as in a damaged file."""
        known = len(self.known)
        if not (known <= self.vocabulary and self.idf.shape == (known + 1,) and not (known and bool(self.idf[known]))):
            raise DataError(f"{known} words of a vocabulary of {self.vocabulary} have {len(self.idf)} frequencies")

    def find(self, numbers: Tensor) -> Tensor:
        """The places of words among those known."""
        if not len(self.known):
            return torch.zeros_like(numbers)
        at = torch.searchsorted(self.known, numbers).clamp(max=len(self.known) - 1)
        return torch.where(self.known[at] == numbers, at, len(self.known))

    def forward(self, places: Tensor) -> Tensor:
        """Vectors of texts, from the places of their words."""
        weight = self.idf[places]
        if self.training and self.dropout:
            weight = weight * (torch.rand_like(weight) >= self.dropout)
        weight = F.normalize(weight, dim=1)
        kept = weight > 0
        offset = F.pad(kept.sum(1).cumsum(0), (1, 0))
        return bags(places[kept], self.vectors, offset, weight[kept])
