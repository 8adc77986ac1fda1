"""Scores of the whole catalogue for users, histories and prompts, and for a mix of them.

Each source that a request names gives a score to every item: a known user and a history through the method, a prompt by
cosines with the items' texts (see ``Wording``). One source is ranked by its scores as they are. Several are put on one
scale and added: item i of request b scores

    sum over sources s of  weight_s (score_s(b, i) - mean_j score_s(b, j)) / std_j score_s(b, j)

with mean and standard deviation over the catalogue. Where scores are products of vectors this is a product again, of
concatenated vectors, and mean and deviation come from the mean and the covariance of the item vectors.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

from hybridrec.pipeline.text import TextVectors

NEIGHBOURS = 10


class Space:
    """Item vectors (I, D) whose products with a query's vector are scores."""

    def __init__(self, items: Tensor) -> None:
        self.items = items
        self.mean = items.mean(0)
        centred = items - self.mean
        self.covariance = centred.T @ centred / len(items)

    def moments(self, query: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the scores over the catalogue, for each query (B, D): (B,), (B,)."""
        return query @ self.mean, ((query @ self.covariance) * query).sum(1).clamp(min=0).sqrt()

    def scores(self, query: Tensor, start: int, stop: int) -> Tensor:
        """Scores of some of the items: (B, stop - start)."""
        return query @ self.items[start:stop].T


class Whole:
    """Scores that only the method can compute, all at once: (B, I)."""

    @staticmethod
    def moments(scores: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of each row."""
        return scores.mean(1), scores.std(1, correction=0)

    @staticmethod
    def scores(scores: Tensor, start: int, stop: int) -> Tensor:
        """Some of the columns."""
        return scores[:, start:stop]


class Part(NamedTuple):
    """One source's say in some requests: ``rows`` (b,), and what its ``side`` scores by: (b, D) or (b, I)."""

    side: Space | Whole
    rows: Tensor
    query: Tensor
    weight: float


def mix(parts: list[Part], requests: int) -> list[tuple[Part, Tensor]]:
    """Parts scaled by the formula above, each with what is to be taken off its scores (b,)."""
    voices = torch.zeros(requests, dtype=torch.int64)
    for part in parts:
        voices[part.rows] += 1
    mixed = []
    for part in parts:
        alone = (voices[part.rows] == 1).to(part.query.device)
        mean, spread = part.side.moments(part.query)
        # A source that scores all items alike says nothing: its deviation is zero, and so is its part.
        scale = torch.where(alone, 1.0, torch.where(spread > 0, part.weight / spread, 0.0))
        mixed.append((part._replace(query=part.query * scale.unsqueeze(1)), torch.where(alone, 0.0, mean * scale)))
    return mixed


def blocks(mixed: list[tuple[Part, Tensor]], requests: int, items: int, size: int) -> Iterator[tuple[int, Tensor]]:
    """Scores of ``size`` items after ``size`` items: first column and (B, size)."""
    device = mixed[0][0].query.device
    for start in range(0, items, size):
        stop = min(start + size, items)
        total = torch.zeros(requests, stop - start, device=device)
        for part, shift in mixed:
            total.index_add_(0, part.rows.to(device), part.side.scores(part.query, start, stop) - shift.unsqueeze(1))
        yield start, total


class Wording(NamedTuple):
    """How a prompt is compared with the items' texts: by what they say, and by where that stands among users' tastes.

    The score of an item is a weighted mean of two cosines: of what the sentence model gives for prompt and item, and of
    their places in the collaborative space, each less its mean over the items with training rows. The weights are inverse
    to the root mean square of the cosine over pairs of items, so that neither outshouts the other. As the product of the
    vectors that ``__call__`` makes it is a cosine itself.
    """

    means: TextVectors
    weights: tuple[float, float]

    @classmethod
    def of(cls, items: TextVectors, trained: Tensor) -> Wording:
        """The means and weights of the ``items`` (I) of a catalogue; ``trained`` (I,) boolean."""
        rows = trained if bool(trained.any()) else torch.ones_like(trained)
        means = TextVectors(*(x[rows].mean(0) for x in items))
        unit = [normalize(x[rows] - mean, dim=1) for x, mean in zip(items, means, strict=True)]
        spread = [max((x.T @ x).norm().item() / len(x), 1e-6) for x in unit]
        return cls(means, (spread[1] / sum(spread), spread[0] / sum(spread)))

    def __call__(self, texts: TextVectors) -> Tensor:
        """Texts as unit vectors, whose products are the weighted means of cosines: (n, S + D)."""
        parts = zip(texts, self.means, self.weights, strict=True)
        return torch.cat([weight**0.5 * normalize(x - mean, dim=1) for x, mean, weight in parts], dim=1)


class Neighbours(NamedTuple):
    """For each item without training rows the items with some that are nearest to it by text, and weights that sum to 1.

    Shapes: ``new`` (n,) positions; ``item`` and ``weight`` (n, 10).
    """

    new: Tensor
    item: Tensor
    weight: Tensor

    @classmethod
    def of(cls, text: Tensor, trained: Tensor) -> Neighbours:
        """By cosine, which is also the weight: ``text`` (I, D) unit vectors, ``trained`` (I,) boolean."""
        new, old = (~trained).nonzero().flatten(), trained.nonzero().flatten()
        near, item = (text[new] @ text[old].T).topk(min(NEIGHBOURS, len(old)), dim=1)
        weight = near.clamp(min=torch.finfo(near.dtype).eps)
        return cls(new, old[item], weight / weight.sum(1, keepdim=True))

    def fill(self, scores: Tensor, items: int) -> Tensor:
        """Scores of all ``items``, new ones scored by the mean over their neighbours: (B, <= I) -> (B, I)."""
        filled = torch.nn.functional.pad(scores, (0, items - scores.shape[1]))
        return filled.index_copy(1, self.new, (scores[:, self.item] * self.weight).sum(2))
