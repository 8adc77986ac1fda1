"""Implicit alternating least squares."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from hybridrec.data.batches import Histories, Query
from hybridrec.foldin import row_vectors
from hybridrec.rows import UnsolvedError, weigh
from hybridrec.saving import configured

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset


@configured
class IALS(nn.Module):
    """Matrix factorisation that weighs every absent pair a little, by alternating exact least squares.

    Hu, Koren & Volinsky 2008, Collaborative filtering for implicit feedback datasets, ICDM, in the form of Rendle et al.
    2021, Revisiting the performance of iALS on item recommendation benchmarks, arXiv 2110.14037:
    ``sum_(u,i) (1 - <w_u, h_i>)^2 + unseen sum_all <w_u, h_i>^2 + sum_u r_u |w_u|^2 + sum_i r_i |h_i|^2`` with
    ``r_u = ridge (n_u / mean n)^power``, ``n_u = |I_u| + unseen I``, and r_i alike. ``power`` 0 is a plain ridge; at 1 those
    with many rows are held back most. Dividing by the mean keeps the scale of ``ridge`` whatever ``power`` is.

    Own code rather than the package ``implicit``: a user's vector is solved from the history at query time by the very
    step that training takes, on the device the method is on, and ``implicit`` has neither this regularisation nor exact
    batched solves. Its ``alpha`` and ``regularization`` are ``unseen = 1 / (alpha - 1)``, ``ridge = regularization /
    alpha``, ``power = 0`` here.

    ``dim`` is D, ``scale`` the length of the vectors at the start. Shapes: ``items`` (I, D), ``typical`` () the mean n_u.
    """

    items: Tensor
    typical: Tensor

    def __init__(
        self,
        data: Dataset,
        dim: int = 64,
        unseen: float = 0.1,
        ridge: float = 3.0,
        power: float = 1.0,
        sweeps: int = 16,
        scale: float = 0.1,
    ) -> None:
        super().__init__()
        self.dim, self.unseen, self.ridge, self.power, self.sweeps, self.scale = dim, unseen, ridge, power, sweeps, scale
        self.register_buffer("items", torch.empty(0))
        self.register_buffer("typical", torch.ones(()))

    def solve(self, data: Dataset) -> None:
        """Alternate ``sweeps`` times between users and items, from a random start (torch's global seed)."""
        device = self.items.device
        sides = data.sides
        user, item = torch.unique(data.train.index, dim=1).to(device)
        by_user, by_item = _grouped(user, item, sides["user"]), _grouped(item, user, sides["item"])
        items = torch.randn(sides["item"], self.dim).mul_(self.scale / self.dim**0.5).to(device)
        for _ in range(self.sweeps):
            users = self._half(by_user, items, self._count(by_user, items).mean())
            items = self._half(by_item, users, self._count(by_item, users).mean())
        self.items, self.typical = items, self._count(by_user, items).mean()

    def catalogue(self) -> Tensor:
        """Item vectors (I, D)."""
        return self.items

    def represent(self, query: Query) -> Tensor:
        """User vectors (B, D), solved from histories alone."""
        if not self.items.numel():
            raise UnsolvedError("nothing is solved yet: call hybridrec.fit(method, data) or method.solve(data) first")
        once = weigh(query.history) > 0
        return self._half(
            _grouped(query.history.rows[once], query.history.item[once], len(query.user)), self.items, self.typical
        )

    def score(self, query: Query) -> Tensor:
        """Scores of all items: (B, I)."""
        return self.represent(query) @ self.catalogue().T

    def _count(self, chosen: Histories, vectors: Tensor) -> Tensor:
        """n_u: a row's own items, and all items for what an absent one counts: (B,)."""
        return chosen.lengths + self.unseen * len(vectors)

    def _half(self, chosen: Histories, vectors: Tensor, typical: Tensor) -> Tensor:
        """The best vector of every row given the other side's ``vectors`` (M, D): (B, D)."""
        ridge = self.ridge * (self._count(chosen, vectors) / typical).pow(self.power)
        return row_vectors(chosen, vectors, self.unseen, ridge)


def _grouped(row: Tensor, column: Tensor, rows: int) -> Histories:
    """Pairs as one ragged list of columns a row."""
    order = row.argsort(stable=True)
    offset = torch.zeros(rows + 1, dtype=torch.int64, device=row.device)
    offset[1:] = torch.bincount(row, minlength=rows).cumsum(0)
    return Histories(offset, column[order])
