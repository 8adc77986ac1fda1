"""Item vectors made of what is known of items: themselves, what a text means, which words it has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hybridrec.data.words import word_ids
from hybridrec.encoders.words import WordBag
from hybridrec.errors import DataError

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset, Feature


class TiedItems(nn.Module):
    """``v_i = unit(c_i + A f_i + sum_w e_w)``: a free part, a linear map of frozen text features, vectors of the words.

    Steck 2019's tied linear autoencoder of features (arXiv 1905.03375) in few dimensions. Features are centred, of length 1
    and laid along their ``text_dim`` leading directions; A starts at the identity, so that at the start the cosines of
    items are those of their texts as far as D leading directions hold them.

    ``modality`` and ``words`` name features of the items: vectors, and word numbers (``hybridrec.data.words``); None for
    none. ``word_dropout`` is the share of words left out in training.
    Shapes: ``free`` c (I, D), ``text`` f (I, F), ``map`` A' (F, D), ``said`` (I, S) places of words.
    Raises DataError where the data have rows and not those features.
    """

    text: Tensor
    centre: Tensor
    basis: Tensor
    said: Tensor

    def __init__(
        self,
        data: Dataset,
        dim: int,
        modality: str | None,
        text_dim: int,
        words: str | None = None,
        vocabulary: int = 16384,
        word_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.modality, self.words, self.text_dim = modality, words, text_dim
        self.free = nn.Parameter(torch.randn(data.sides["item"], dim) * 0.02)
        self.map = None if modality is None else nn.Parameter(torch.eye(text_dim, dim))
        self.bag = None if words is None else WordBag(vocabulary, dim, dropout=word_dropout)
        for name in ("text", "centre", "basis", "said"):
            self.register_buffer(name, torch.empty(0))
        if len(data.train):
            self.read(data)

    @property
    def textual(self) -> bool:
        """Whether an item is known by more than its free part."""
        return self.map is not None or self.bag is not None

    def read(self, data: Dataset) -> None:
        """Keep the centre of the items' features, their leading directions, how frequent words are, and every item's own."""
        if self.modality is not None:
            values, mask = feature(data, self.modality)
            self.centre = values[mask].float().mean(0)
            unit = F.normalize(values.float() - self.centre, dim=1) * mask.unsqueeze(1)
            leading = torch.linalg.eigh((unit.T @ unit).double()).eigenvectors.flip(1)[:, : self.text_dim].float()
            self.basis = F.pad(leading, (0, self.text_dim - leading.shape[1])).contiguous()
            self.text = unit @ self.basis
        if self.bag is not None and self.words is not None:
            numbers = feature(data, self.words).values.long()
            self.bag.learn(numbers)
            self.said = self.bag.find(numbers)

    @torch.no_grad()
    def adopt(self, other: TiedItems, data: Dataset) -> None:
        """Read another catalogue's items as ``other`` would: its weights, its words, these items' features alone.

        Features are centred over this catalogue, and laid along the directions that the other was trained on.
        """
        if not other.textual:
            raise DataError("trained without text, it knows no catalogue but its own: pass modality or words")
        self.free.zero_()
        if self.bag is not None and other.bag is not None and self.words is not None:
            self.bag.vectors.copy_(other.bag.vectors)
            self.bag.known, self.bag.idf = other.bag.known, other.bag.idf
            self.said = self.bag.find(feature(data, self.words).values.long())
        if self.map is not None and other.map is not None and self.modality is not None:
            self.map.copy_(other.map)
            values, mask = feature(data, self.modality)
            self.centre, self.basis = values[mask].float().mean(0), other.basis
            self.text = F.normalize(values.float() - self.centre, dim=1) * mask.unsqueeze(1) @ self.basis

    def forward(self, cold: Tensor | None = None, items: Tensor | None = None) -> Tensor:
        """Vectors of length 1 of ``items`` (n,), or of all; the free part left out where ``cold`` (n,)."""
        v = self.free if items is None else self.free[items]
        if cold is not None:
            v = v * ~cold.unsqueeze(1)
        if self.map is not None:
            v = torch.addmm(v, self.text if items is None else self.text[items], self.map)
        if self.bag is not None:
            v = v + self.bag(self.said if items is None else self.said[items])
        return F.normalize(v, dim=1)

    def of_text(self, values: Tensor, texts: Sequence[str] = ()) -> Tensor:
        """Vectors of length 1 (n, D) of items known by their features (n, F0), and ``texts`` for their words, alone."""
        if not self.textual:
            raise DataError("trained without text (modality=None, words=None), it has no vector for a text")
        v = self.free.new_zeros(len(values), self.free.shape[1])
        if self.map is not None:
            v = F.normalize(values.to(self.centre) - self.centre, dim=1) @ self.basis @ self.map
        if self.bag is not None and texts:
            v = v + self.bag(self.bag.find(word_ids(texts).to(v.device)))
        return F.normalize(v, dim=1)


def feature(data: Dataset, modality: str) -> Feature:
    """The feature called ``modality`` of the items that are ranked. Raises DataError naming what there is."""
    known = data.features.get(data.target, {})
    if modality not in known:
        raise DataError(
            f"data set {data.name!r} has no {modality!r} features of {data.target}s (it has {sorted(known)}); "
            f"give it some (a folder with features_{modality}.npy: recipes/embed.py), or pass None in its place"
        )
    return known[modality]
