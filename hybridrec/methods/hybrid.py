"""The hybrid: a denoiser of interaction rows whose item vectors are tied to text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hybridrec.bags import bags
from hybridrec.data.batches import Query, Rows, RowSampler
from hybridrec.dropout import dropout
from hybridrec.encoders.tied import TiedItems
from hybridrec.losses.softmax import catalogue_cross_entropy, sampled_cross_entropy
from hybridrec.memo import Memo
from hybridrec.saving import configured
from hybridrec.views.absorb import Absorbed, Anywhere, Newest

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset


# A row of which all was dropped has no direction; by torch's own bound its gradient would be 1e12 times what reaches it.
SHORTEST = 1e-6


@configured
class Hybrid(nn.Module):
    """Rows with entries taken out and the rest noised, rebuilt through item vectors made of text and of interactions.

    Ours. What it joins: item vectors of a free part, a linear map of frozen text features and learned vectors of words
    (``encoders.tied``); corruption by absorbing entries, a discrete diffusion (``views.absorb``), with Gaussian noise on what
    is read; a softmax of cosines over the catalogue as likelihood; classifier-free guidance (Ho & Salimans 2022, arXiv
    2207.12598).
    reconstructive | data- and feature-based views (absorbed entries, Gaussian noise) | - | softmax over the catalogue

    Every entry of a row is absorbed in turn, with all after it, and rebuilt from what was before it (``view``; ``Anywhere()``
    for rows without time): ``u = unit(sum_k decay^k v_k)``, the closed form's recency-weighted row read through tied
    vectors, plus a residual perceptron of it and of the newest entry, which starts near zero. Each entry that is read is
    dropped with probability ``drop``; each item's free part with ``cold``, so that an item is also known by its text alone.
    With ``cold_read`` entries that are read lose theirs in a draw of their own: what is asked for may be new where what was
    chosen is not.

    At inference ``steps`` entries are rebuilt one after another: the expected vector of what was absorbed is read as the
    newest entry of the next step, and the user vector is the mean over steps. One step is the control, and the default.

    An item without interactions has ``text_vectors`` of its text; a prompt is read as such an item. With a prompt the user
    vector is guided: ``u(history) + guidance (u(history and prompt) - u(history))``.

    ``dim`` is D, ``text_dim`` the leading directions of the features that are kept, ``vocabulary`` how many words have
    vectors; ``modality`` and ``words`` name these features, None for neither. The softmax is over ``candidates`` items drawn
    for each batch, None for all. Raises DataError where the data have rows and not those features.
    """

    sampler = RowSampler
    arguments: dict[str, Any]
    pool: Tensor

    def __init__(
        self,
        data: Dataset,
        dim: int = 192,
        modality: str | None = "text",
        words: str | None = "words",
        text_dim: int = 192,
        vocabulary: int = 16384,
        temperature: float = 0.07,
        decay: float = 0.7,
        view: Newest | Anywhere | None = None,
        drop: float = 0.1,
        cold: float = 0.0,
        cold_read: float | None = None,
        word_dropout: float = 0.0,
        noise: float = 0.0,
        candidates: int | None = 2048,
        steps: int = 1,
        guidance: float = 1.0,
    ) -> None:
        super().__init__()
        self.temperature, self.candidates, self.view = temperature, candidates, view or Newest()
        self.drop, self.noise, self.steps, self.guidance = drop, noise, steps, guidance
        self.cold, self.cold_read = cold, cold_read
        self.items = TiedItems(data, dim, modality, text_dim, words, vocabulary, word_dropout)
        self.decay = nn.Parameter(torch.tensor(math.log(decay / (1 - decay))))
        self.inner, self.outer = nn.Linear(2 * dim, 2 * dim), nn.Linear(2 * dim, dim)
        nn.init.normal_(self.outer.weight, std=1e-3)
        nn.init.zeros_(self.outer.bias)
        # Items without training rows are no candidates: they would be learned to be nobody's choice.
        self.register_buffer("pool", data.train.index[1].unique())
        with torch.no_grad():
            self.items.free.mul_(torch.zeros(len(self.items.free), 1).index_fill_(0, self.pool, 1.0))
        self._memo = Memo()

    @torch.no_grad()
    def transfer(self, data: Dataset) -> Hybrid:
        """The same weights over another catalogue, whose items are known by their features alone: zero-shot.

        Raises DataError where it has no such features, or this Hybrid was trained without.
        """
        other = Hybrid(data, **self.arguments)
        other.items.adopt(self.items, data)
        for mine, given in ((other.inner, self.inner), (other.outer, self.outer)):
            mine.load_state_dict(given.state_dict())
        other.decay.copy_(self.decay)
        return other.eval()

    @torch.no_grad()
    def text_vectors(self, values: Tensor, texts: Sequence[str]) -> Tensor:
        """Vectors (n, D) in the space of ``catalogue`` of ``texts``, items or prompts, with sentence features ``values``."""
        return self.items.of_text(values, texts) / self.temperature

    def read(self, vectors: Tensor, row: Absorbed) -> Tensor:
        """User vectors of length 1 (B, D) from what is left of rows; ``row.item`` are rows of ``vectors``."""
        weight = torch.sigmoid(self.decay) ** (row.back - 1)
        if self.training:
            weight = weight * (torch.rand_like(weight) >= self.drop)

        def bag(w: Tensor) -> Tensor:
            return bags(row.item, vectors, row.offset, w)

        return self.residual(bag(weight), F.normalize(bag((row.back == 1).to(weight.dtype)), dim=1))

    def residual(self, bag: Tensor, newest: Tensor) -> Tensor:
        """``unit(u + perceptron(u, newest))`` with u the noised direction of ``bag``: (B, D)."""
        u = F.normalize(bag, dim=1, eps=SHORTEST)
        if self.training and self.noise:
            u = u + self.noise * u.shape[1] ** -0.5 * torch.randn_like(u)
        h = dropout(F.gelu(self.inner(torch.cat([u, newest], 1))), 0.2, self.training)
        return F.normalize(u + self.outer(h), dim=1)

    def forward(self, batch: Rows) -> dict[str, Tensor]:
        """Term ``denoise`` of a batch of rows."""
        row, pool = self.view(batch.history), self.pool
        if not len(row.target):  # rows of one entry have nothing to be rebuilt from
            return {"denoise": 0 * torch.stack([p.sum() for p in self.parameters()]).sum()}
        if self.candidates is None or self.candidates >= len(pool):
            vectors, read = self.both(pool)
            row = row._replace(target=torch.searchsorted(pool, row.target), item=torch.searchsorted(pool, row.item))
            user = self.read(read, row)
            return {"denoise": catalogue_cross_entropy(user / self.temperature, vectors, row.target)}
        drawn = pool[torch.randint(len(pool), (self.candidates,), device=pool.device)]
        at, place = torch.cat([drawn, row.target, row.item]).unique(return_inverse=True)
        drawn, target, item = place.split([len(drawn), len(row.target), len(row.item)])
        vectors, read = self.both(at)
        user = self.read(read, row._replace(target=target, item=item))
        return {"denoise": sampled_cross_entropy(user / self.temperature, vectors, target, drawn, len(pool))}

    def both(self, items: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors (n, D) of ``items`` (n,) as candidates and as entries that are read, some known by their text alone."""
        vectors = self.items(self.forgotten(items, self.cold), items)
        return vectors, vectors if self.cold_read is None else self.items(self.forgotten(items, self.cold_read), items)

    def forgotten(self, items: Tensor, chance: float) -> Tensor | None:
        """Which of ``items`` (n,) are to be known by their text alone in this batch (n,)."""
        return torch.rand(len(items), device=items.device) < chance if chance and self.items.textual else None

    def catalogue(self) -> Tensor:
        """Item vectors (I, D), scaled by the temperature."""
        return self._memo(self, lambda: self.items() / self.temperature)

    def represent(self, query: Query) -> Tensor:
        """User vectors (B, D): the history read, and guided by the prompt, ``text_vectors`` of it, where there is one."""
        vectors = self.catalogue() * self.temperature
        row = self.view.whole(query.history)
        user = self.rebuild(self.read(vectors, row), vectors, row)
        if query.text is None:
            return user
        both = F.normalize(user * (query.history.lengths > 0).unsqueeze(1) + query.text * self.temperature, dim=1)
        return torch.lerp(user, both, self.guidance)

    def rebuild(self, user: Tensor, vectors: Tensor, row: Absorbed) -> Tensor:
        """The mean over the reverse steps, the first of which gave ``user`` (B, D)."""
        total, weight = user, torch.sigmoid(self.decay)
        bag = bags(row.item, vectors, row.offset, weight ** (row.back - 1))
        for _ in range(self.steps - 1):
            expected = torch.softmax(user / self.temperature @ vectors.T, 1) @ vectors
            bag = weight * bag + expected
            user = self.residual(bag, expected)
            total = total + user
        return total / self.steps

    def score(self, query: Query) -> Tensor:
        """Scores of all items: (B, I)."""
        return self.represent(query) @ self.catalogue().T
