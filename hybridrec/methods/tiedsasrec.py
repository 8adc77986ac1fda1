"""SASRec with item vectors tied to text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hybridrec.data.batches import Histories, Query, Rows
from hybridrec.data.sequences import HistorySampler, kept, mean_length, newest, prepended, readable, shifted
from hybridrec.encoders.sequence import Layout, Transformer, decayed
from hybridrec.encoders.tied import TiedItems
from hybridrec.losses.softmax import catalogue_cross_entropy, sampled_cross_entropy
from hybridrec.memo import Memo
from hybridrec.saving import configured

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset


@configured
class TiedSASRec(nn.Module):
    """A causal transformer over item vectors made of text and of interactions, beside their recency-weighted mean.

    Ours. Item vectors are ``v_i = unit(c_i + A f_i)``, a free part and a linear map of frozen text features, with vectors of
    words where ``words`` names these (``encoders.tied``). At each entry ``u = unit(sum_k decay^k v_(t-k) + W h_t)``:
    the row that the closed forms read, decayed by recency, and what a SASRec (Kang & McAuley 2018, arXiv 1808.09781) over
    the same vectors adds, nothing at first. The next item is told by a softmax of cosines over the whole catalogue.
    reconstructive | feature-based views (dropped entries and free parts) | - | next item
    Scenario: sequential, multi-modal

    While training each entry is left out of what is read with probability ``drop``, and each item's free part with ``cold``,
    so that an item is also known by its text alone: ``text_vectors`` are the vectors of items that were not there in
    training, and ``transfer`` ranks another catalogue. An item without training rows has no free part: a softmax that never
    wanted it would only push it away. ``dim`` is D, ``text_dim`` the leading directions of the features.

    Every history begins with a start entry: an empty one has what others began with. Of a history longer than ``window``
    the last ``window - 1`` entries are read; an item without training rows is read by its text. With ``modality=None`` items
    have their free parts alone. ``candidates`` is how many items the softmax draws for a batch: all of them if None.
    Raises DataError where the data have rows and not the ``modality``.
    """

    met: Tensor
    sampler: Any
    arguments: dict[str, Any]

    def __init__(
        self,
        data: Dataset,
        dim: int = 96,
        depth: int = 2,
        heads: int = 2,
        window: int = 50,
        modality: str | None = "text",
        text_dim: int = 192,
        temperature: float = 0.07,
        decay: float = 0.7,
        dropout: float = 0.2,
        drop: float = 0.1,
        cold: float = 0.1,
        words: str | None = None,
        vocabulary: int = 16384,
        candidates: int | None = None,
        stride: int | None = None,
    ) -> None:
        super().__init__()
        self.items = TiedItems(data, dim, modality, text_dim, words, vocabulary)
        self.register_buffer("met", torch.bincount(data.train.index[1], minlength=data.sides["item"]) > 0)
        self.start = nn.Parameter(torch.randn(1, dim) * 0.1 * dim**-0.5)
        self.decay = nn.Parameter(torch.tensor(math.log(decay / (1 - decay))))
        self.encoder = Transformer(dim, depth, heads, window, dropout)
        self.outward = nn.Linear(dim, dim)
        nn.init.normal_(self.outward.weight, std=1e-3)
        nn.init.zeros_(self.outward.bias)
        self.temperature, self.drop, self.cold, self.candidates = temperature, drop, cold, candidates
        self.window, self.length = window, mean_length(data, window)
        self.sampler = partial(HistorySampler, window=window, stride=stride)
        self._memo = Memo()

    @torch.no_grad()
    def transfer(self, data: Dataset) -> TiedSASRec:
        """The same weights over another catalogue, whose items are known by their features alone: zero-shot.

        Raises DataError where it has no such features, or this was trained without.
        """
        other = TiedSASRec(data, **self.arguments)
        for name, own in other.named_parameters():
            if not name.startswith("items."):
                own.copy_(self.get_parameter(name))
        other.items.adopt(self.items, data)
        return other.eval()

    def vectors(self, items: Tensor | None = None) -> Tensor:
        """Vectors of length 1 of ``items`` (n,), or of all; without the free part those never trained on, or forgotten now."""
        if not self.items.textual:
            return self.items(None, items)
        cold = ~(self.met if items is None else self.met[items])
        if self.training:
            cold = cold | (torch.rand(len(cold), device=cold.device) < self.cold)
        return self.items(cold, items)

    def read(self, history: Histories, vectors: Tensor) -> Tensor:
        """User vectors of length 1 (n, D) at each entry of ``history``: rows of ``vectors``, the start one behind them."""
        x = torch.cat([vectors, self.start])[history.item]
        mean = decayed(Layout(history), x, torch.sigmoid(self.decay))
        # The transformer reads vectors whose entries are of size 1.
        return F.normalize(mean + self.outward(self.encoder(history, x * x.shape[1] ** 0.5)), dim=1)

    def forward(self, batch: Rows) -> dict[str, Tensor]:
        """Term ``next`` of a batch of windows."""
        history, count = batch.history, len(self.met)
        read = shifted(history, count)
        stays = (torch.rand(len(read.item), device=read.item.device) >= self.drop) | (read.item == count)
        # Where an entry is left out, nothing is asked at it either: what was to be told there is told elsewhere.
        read, target = kept(read, stays), history.item[stays]
        if self.candidates is None or self.candidates >= count:
            vectors = self.vectors()
            loss = catalogue_cross_entropy(self.read(read, vectors) / self.temperature, vectors, target)
        else:
            drawn = torch.randint(count, (self.candidates,), device=target.device)
            at, place = torch.cat([drawn, target, read.item.clamp(max=count - 1)]).unique(return_inverse=True)
            drawn, target, item = place.split([self.candidates, len(target), len(target)])
            vectors = self.vectors(at)
            known = read._replace(item=torch.where(read.item == count, len(at), item))
            loss = sampled_cross_entropy(self.read(known, vectors) / self.temperature, vectors, target, drawn, count)
        # Every entry weighs the same, whichever batch or process it is in.
        return {"next": loss * (len(target) / len(batch.user) / self.length)}

    def catalogue(self) -> Tensor:
        """Item vectors (I, D), scaled by the temperature."""
        return self._memo(self, lambda: self.vectors() / self.temperature)

    @torch.no_grad()
    def text_vectors(self, values: Tensor, texts: Sequence[str]) -> Tensor:
        """Vectors (n, D) in the space of ``catalogue`` of ``texts``, items or prompts, with sentence features ``values``."""
        return self.items.of_text(values, texts) / self.temperature

    def represent(self, query: Query) -> Tensor:
        """User vectors (B, D): what is said at the last entry of each history, between it and the prompt where there is one."""
        vectors = self.catalogue() * self.temperature
        everything = torch.ones(len(vectors), dtype=torch.bool, device=vectors.device)
        history = prepended(readable(query.history, everything, self.window - 1), len(vectors))
        user = self.read(history, vectors)[newest(history)]
        if query.text is None:
            return user
        told = (query.history.lengths > 0).unsqueeze(1)
        return F.normalize(user * told + F.normalize(query.text, dim=1), dim=1)

    def score(self, query: Query) -> Tensor:
        """Scores of all items: (B, I)."""
        return self.represent(query) @ self.catalogue().T
