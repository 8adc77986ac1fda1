"""The hybrid: a denoiser of interaction rows whose item vectors are tied to text."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hybridrec.data.batches import Histories, Query, Rows, RowSampler
from hybridrec.errors import DataError
from hybridrec.losses.softmax import catalogue_cross_entropy
from hybridrec.memo import Memo
from hybridrec.saving import configured

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset


@configured
class Hybrid(nn.Module):
    """Rows with entries taken out and the rest noised, rebuilt through item vectors made of text and of interactions.

    Ours. What it joins: item vectors ``v_i = unit(c_i + A f_i)`` of a free part and a linear map of frozen text features
    (Steck 2019's tied linear autoencoder, arXiv 1905.03375, in few dimensions); corruption by absorbing entries, the
    discrete diffusion of Austin et al. 2021, arXiv 2107.03006, section 3.1, with Gaussian noise on what is read; a full
    softmax of cosines over the catalogue as likelihood; classifier-free guidance (Ho & Salimans 2022, arXiv 2207.12598).
    reconstructive | data- and feature-based views (absorbed entries, Gaussian noise) | - | softmax over the catalogue

    Every entry of a row is absorbed in turn, with all after it (the row is read in order of time), and rebuilt from the
    ``window`` before it: ``u = unit(sum_k decay^k v_k)``, the closed form's recency-weighted row read through tied vectors,
    plus a residual perceptron of it and of the newest entry, which starts near zero. Each entry that is read is dropped with
    probability ``drop``; each item's free part with ``cold``, so that an item is also known by its text alone.

    An item without interactions has ``text_vectors`` of its text; a prompt is read as such an item. With a prompt the user
    vector is guided: ``u(history) + guidance (u(history and prompt) - u(history))``.

    ``dim`` is D, ``text_dim`` the leading directions of the features that are kept (F), ``modality`` names them: None for
    interactions alone. Raises DataError where the data have rows and not that modality.
    """

    sampler = RowSampler
    arguments: dict[str, Any]
    text: Tensor
    centre: Tensor
    basis: Tensor

    def __init__(
        self,
        data: Dataset,
        dim: int = 96,
        modality: str | None = "text",
        text_dim: int = 192,
        temperature: float = 0.07,
        decay: float = 0.7,
        window: int = 20,
        targets: int = 50,
        drop: float = 0.2,
        cold: float = 0.1,
        noise: float = 0.0,
        guidance: float = 1.0,
    ) -> None:
        super().__init__()
        items = data.sides["item"]
        self.temperature, self.window, self.targets, self.guidance = temperature, window, targets, guidance
        self.drop, self.cold, self.noise = drop, cold, noise
        self.free = nn.Parameter(torch.randn(items, dim) * 0.02)
        self.decay = nn.Parameter(torch.tensor(math.log(decay / (1 - decay))))
        self.inner, self.outer = nn.Linear(2 * dim, 2 * dim), nn.Linear(2 * dim, dim)
        nn.init.normal_(self.outer.weight, std=1e-3)
        nn.init.zeros_(self.outer.bias)
        for name in ("text", "centre", "basis"):
            self.register_buffer(name, torch.empty(0))
        # At the start the cosines of items are those of their texts, as far as D leading directions hold them.
        self.map = None if modality is None else nn.Parameter(torch.eye(text_dim, dim))
        if modality is not None and len(data.train):
            self.learn_text(data, modality, text_dim)
        self._memo = Memo()

    @torch.no_grad()
    def transfer(self, data: Dataset) -> Hybrid:
        """The same weights over another catalogue, whose items are known by their features alone: zero-shot.

        The features are centred over that catalogue, and laid along the directions that this one was trained on.
        Raises DataError where it has no such modality, or this Hybrid was trained without.
        """
        if self.map is None:
            raise DataError("this Hybrid was trained without text (modality=None): it knows no catalogue but its own")
        other = Hybrid(data, **self.arguments)
        for own, given in zip(other.parameters(), self.parameters(), strict=True):
            if own is other.free:
                own.zero_()
            else:
                own.copy_(given)
        feature = data.features[data.target][self.arguments["modality"]]
        other.basis = self.basis
        other.text = F.normalize(feature.values - other.centre, dim=1) * feature.known.unsqueeze(1) @ self.basis
        return other.eval()

    def learn_text(self, data: Dataset, modality: str, text_dim: int) -> None:
        """Keep the centre of the items' features, their leading directions, and every item's place along these."""
        known = data.features.get(data.target, {})
        if modality not in known:
            raise DataError(
                f"data set {data.name!r} has no {modality!r} features of {data.target}s (it has {sorted(known)}); "
                f"give it some (a folder with features_{modality}.npy, embedded texts) or pass modality=None"
            )
        values, mask = known[modality].values.float(), known[modality].known
        self.centre = values[mask].mean(0)
        unit = F.normalize(values - self.centre, dim=1) * mask.unsqueeze(1)
        leading = torch.linalg.eigh((unit.T @ unit).double()).eigenvectors.flip(1)[:, :text_dim].float()
        self.basis = F.pad(leading, (0, text_dim - leading.shape[1])).contiguous()
        self.text = unit @ self.basis

    def vectors(self, cold: Tensor | None = None) -> Tensor:
        """Item vectors of length 1 (I, D); the free part left out where ``cold`` (I,)."""
        free = self.free if cold is None else self.free * ~cold.unsqueeze(1)
        return F.normalize(free if self.map is None else torch.addmm(free, self.text, self.map), dim=1)

    @torch.no_grad()
    def text_vectors(self, values: Tensor) -> Tensor:
        """Vectors (n, D) in the space of ``catalogue`` of items or prompts known by their features (n, F0) alone."""
        if self.map is None:
            raise DataError("this Hybrid was trained without text (modality=None): it has no vector for a text")
        unit = F.normalize(values.to(self.centre) - self.centre, dim=1)
        return F.normalize(unit @ self.basis @ self.map, dim=1) / self.temperature

    def read(self, vectors: Tensor, item: Tensor, offset: Tensor, back: Tensor) -> Tensor:
        """User vectors of length 1 (B, D) from entries ``item`` (n,) that lie ``back`` (n,) steps before what is asked."""
        weight = torch.sigmoid(self.decay) ** (back - 1)
        if self.training:
            weight = weight * (torch.rand_like(weight) >= self.drop)

        def bag(w: Tensor) -> Tensor:
            return F.embedding_bag(item, vectors, offset, mode="sum", per_sample_weights=w, include_last_offset=True)

        u = F.normalize(bag(weight), dim=1)
        if self.training and self.noise:
            u = u + self.noise * u.shape[1] ** -0.5 * torch.randn_like(u)
        return self.residual(u, bag((back == 1).to(u.dtype)))

    def residual(self, u: Tensor, newest: Tensor) -> Tensor:
        """``unit(u + perceptron(u, newest))``: (B, D)."""
        h = F.dropout(F.gelu(self.inner(torch.cat([u, newest], 1))), 0.2, self.training)
        return F.normalize(u + self.outer(h), dim=1)

    def absorb(self, history: Histories) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Every entry of a row as a target, with what was before it in the row.

        Returns the targets (m,), and for their rows of context the items (n,), their offsets (m + 1,) and steps back (n,).
        Of a long row, ``targets`` entries are drawn. An item that is the target is not read.
        """
        place = torch.arange(len(history.item), device=history.item.device) - history.offset[:-1][history.rows]
        chance = self.targets / (history.lengths - 1).clamp(min=1)
        at = ((place > 0) & (torch.rand(len(place), device=place.device) < chance[history.rows])).nonzero().flatten()
        length = place[at].clamp(max=self.window)
        row = torch.repeat_interleave(torch.arange(len(at), device=at.device), length)
        back = length.cumsum(0)[row] - torch.arange(len(row), device=at.device)  # window .. 1, oldest first
        item = history.item[at[row] - back]
        kept = item != history.item[at][row]
        offset = torch.cat([length.new_zeros(1), torch.bincount(row[kept], minlength=len(at)).cumsum(0)])
        return history.item[at], item[kept], offset, back[kept]

    def forward(self, batch: Rows) -> dict[str, Tensor]:
        """Term ``denoise`` of a batch of rows."""
        target, item, offset, back = self.absorb(batch.history)
        cold = torch.rand(len(self.free), device=target.device) < self.cold if self.map is not None else None
        vectors = self.vectors(cold)
        if not len(target):  # rows of one entry have nothing to be rebuilt from
            return {"denoise": 0 * torch.stack([p.sum() for p in self.parameters()]).sum()}
        user = self.read(vectors, item, offset, back)
        return {"denoise": catalogue_cross_entropy(user / self.temperature, vectors, target)}

    def catalogue(self) -> Tensor:
        """Item vectors (I, D), scaled by the temperature."""
        return self._memo(self, lambda: self.vectors() / self.temperature)

    def represent(self, query: Query) -> Tensor:
        """User vectors (B, D): the history read, and guided by the prompt where there is one."""
        history, vectors = query.history, self._memo(self, lambda: self.vectors() / self.temperature) * self.temperature
        back = history.offset[1:][history.rows] - torch.arange(len(history.item), device=vectors.device)
        recent = back <= self.window
        offset = F.pad(torch.bincount(history.rows[recent], minlength=len(query.user)).cumsum(0), (1, 0))
        user = self.read(vectors, history.item[recent], offset, back[recent])
        if query.text is None:
            return user
        prompt = self.text_vectors(query.text) * self.temperature
        both = F.normalize(user * (history.lengths > 0).unsqueeze(1) + prompt, dim=1)
        return torch.lerp(user, both, self.guidance)

    def score(self, query: Query) -> Tensor:
        """Scores of all items: (B, I)."""
        return self.represent(query) @ self.catalogue().T
