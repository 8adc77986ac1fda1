"""What can be said of items nobody has met yet without training anything: the frozen controls of text methods."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from hybridrec.data.batches import Query, generator
from hybridrec.errors import ArgumentError, DataError

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset

BLOCK = 1024  # entries of histories whose similarity to every item is held at once


class Chance(nn.Module):
    """Scores drawn at random, different for every user and item: what knowing nothing gives.

    Shapes: ``users`` (U + 1, 16), the last for users never seen; ``items`` (I, 16).
    """

    users: Tensor
    items: Tensor

    def __init__(self, data: Dataset, seed: int = 0) -> None:
        super().__init__()
        random = generator("cpu", seed)
        self.register_buffer("users", torch.randn(data.sides["user"] + 1, 16, generator=random))
        self.register_buffer("items", torch.randn(data.sides["item"], 16, generator=random))

    def catalogue(self) -> Tensor:
        """Item vectors (I, 16)."""
        return self.items

    def represent(self, query: Query) -> Tensor:
        """User vectors (B, 16)."""
        return self.users[query.user]

    def score(self, query: Query) -> Tensor:
        """Scores of all items: (B, I)."""
        return self.represent(query) @ self.catalogue().T


class HistoryMean(nn.Module):
    """A user is the mean of the vectors of what they chose, an item its vector; scored by their cosine.

    Vectors are centred over items with training rows and scaled to length 1: what all texts share says nothing of taste.
    Shapes: ``vectors`` (I, D), one row an item whether anybody has met it or not.
    """

    items: Tensor

    def __init__(self, data: Dataset, vectors: Tensor) -> None:
        super().__init__()
        centred = vectors.float() - vectors[data.train.index[1].unique().to(vectors.device)].float().mean(0)
        self.register_buffer("items", nn.functional.normalize(centred, dim=1))

    def catalogue(self) -> Tensor:
        """Item vectors (I, D)."""
        return self.items

    def represent(self, query: Query) -> Tensor:
        """User vectors (B, D) of length 1; zero for an empty history."""
        h = query.history
        total = self.items.new_zeros(len(query.user), self.items.shape[1]).index_add_(0, h.rows, self.items[h.item])
        return nn.functional.normalize(total, dim=1)

    def score(self, query: Query) -> Tensor:
        """Scores of all items: (B, I)."""
        return self.represent(query) @ self.catalogue().T


class HistoryKernel(nn.Module):
    """An item is as good as it is near to what a user chose, the nearest of it above all: ``t log mean_k exp(cos_ki / t)``.

    The mean cosine as ``t`` (``temperature``) grows, the largest as it falls: a taste of several parts is not averaged away,
    as one vector a user does. There is no such vector, so that nothing can be searched: every item is scored.
    Shapes: ``vectors`` (I, D), of any length. A query of n entries takes time n x I x D, in blocks.
    """

    items: Tensor

    def __init__(self, vectors: Tensor, temperature: float = 0.1) -> None:
        super().__init__()
        if not temperature > 0:
            raise ArgumentError(f"temperature must be above 0, not {temperature}")
        self.temperature = temperature
        self.register_buffer("items", nn.functional.normalize(vectors.float(), dim=1))

    def score(self, query: Query) -> Tensor:
        """Scores of all items: (B, I); equal for an empty history."""
        h = query.history
        mass = self.items.new_zeros(len(query.user), len(self.items))
        for rows, item in zip(h.rows.split(BLOCK), h.item.split(BLOCK), strict=True):
            # No cosine is above 1: what is left of it by 1 is exp of nothing positive.
            mass.index_add_(0, rows, (self.items[item] @ self.items.T).sub_(1).div_(self.temperature).exp_())
        mean = mass.div_(h.lengths.clamp(min=1).unsqueeze(1)).clamp_(min=torch.finfo(mass.dtype).tiny)
        return mean.log_().mul_(self.temperature).add_(1)


class GroupPopularity(nn.Module):
    """An item is as good as the items of its groups (genres, categories) are popular, for every user alike.

    ``groups``: the groups of every item (I lists). An item's score is the mean over its groups of the mean number of
    training rows of their items; an item without a group that training knows has the mean over all items.
    Shapes: ``popularity`` (I, 1).
    """

    popularity: Tensor

    def __init__(self, data: Dataset, groups: Sequence[Sequence[str]]) -> None:
        super().__init__()
        count = torch.bincount(data.train.index[1], minlength=data.counts[data.target]).double()
        if len(groups) != len(count):
            raise DataError(f"{len(groups)} lists of groups for {len(count)} {data.target}s: give one for each")
        known = count > 0
        place = {name: n for n, name in enumerate(sorted({g for of in groups for g in of}))}
        pairs = [(i, place[g]) for i, of in enumerate(groups) for g in set(of)]
        item, group = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2).T
        total, members = (torch.zeros(len(place), dtype=torch.float64) for _ in range(2))
        members.index_add_(0, group, known[item].double())
        total.index_add_(0, group, count[item])
        one = total / members  # NaN where training knows no member
        told = ~one[group].isnan()
        score, n = torch.zeros_like(count), torch.zeros_like(count)
        score.index_add_(0, item[told], one[group[told]])
        n.index_add_(0, item[told], torch.ones_like(one[group[told]]))
        mean = torch.where(n > 0, score / n, count[known].mean())
        self.register_buffer("popularity", mean.float().unsqueeze(1))

    @classmethod
    def by(cls, data: Dataset, column: str) -> GroupPopularity:
        """Groups as ``column`` of the items' table names them: lists, or strings cut at bars, commas, arrows, else spaces.

        A table without that column makes one group of all items.
        """
        table = data.tables.get(data.target)
        cells = table[column].to_pylist() if table is not None and column in table.column_names else []
        marked = any(isinstance(cell, str) and re.search(r"[|,>]", cell) for cell in cells)
        cut = re.compile(r"\s*[|,>]\s*" if marked else r"\s+")
        lists = [cut.split(cell) if isinstance(cell, str) else [str(x) for x in cell or ()] for cell in cells]
        return cls(data, [[g for g in of if g] for of in lists] or [[]] * data.counts[data.target])

    def catalogue(self) -> Tensor:
        """Item vectors (I, 1)."""
        return self.popularity

    def represent(self, query: Query) -> Tensor:
        """User vectors (B, 1), all alike."""
        return self.popularity.new_ones(len(query.user), 1)

    def score(self, query: Query) -> Tensor:
        """Scores of all items: (B, I)."""
        return self.represent(query) @ self.catalogue().T


class KernelRidge(nn.Module):
    """An item stands where kernel ridge regression on frozen text vectors puts it among a method's item vectors.

    ``Z = K(F, F_T) (K(F_T, F_T) + ridge)^-1 (Q_T - mean) + mean`` with ``K(f, g) = exp(-gamma |f - g|^2)`` over centred unit
    vectors, T the items with training rows and Q their vectors in ``method`` (Saunders, Gammerman & Vovk 1998, ICML). Users
    are folded in by ``method`` from their histories.
    Shapes: ``sentences`` (I, S); ``items`` (I, D).
    """

    items: Tensor

    def __init__(self, data: Dataset, sentences: Tensor, method: Any, gamma: float = 1.0, ridge: float = 1.0) -> None:
        super().__init__()
        f = HistoryMean(data, sentences.cpu()).items.double()
        known = data.train.index[1].unique()
        q = method.catalogue().detach().cpu().double()[known]
        kernel = (-gamma * torch.cdist(f, f[known]).square()).exp()  # (I, T)
        system = kernel[known]
        system.diagonal().add_(ridge)
        weight = torch.cholesky_solve(q - q.mean(0), torch.linalg.cholesky(system))
        self.register_buffer("items", (kernel @ weight + q.mean(0)).float())
        self._fold_in = [method.represent]  # the method is asked, and is no part of this module

    def catalogue(self) -> Tensor:
        """Item vectors (I, D)."""
        return self.items

    def represent(self, query: Query) -> Tensor:
        """User vectors (B, D), folded in from histories."""
        return self._fold_in[0](Query(torch.full_like(query.user, -1), query.history)).cpu()

    def score(self, query: Query) -> Tensor:
        """Scores of all items: (B, I)."""
        return self.represent(query) @ self.catalogue().T
