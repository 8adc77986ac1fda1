"""Vectors for users never seen in training, from their histories alone."""

from __future__ import annotations

import torch
from torch import Tensor

from hybridrec.data.batches import Histories, Query


def least_squares(history: Histories, items: Tensor, unseen: float = 0.1, ridge: float = 0.1) -> Tensor:
    """The user vector that best explains a history: one half-step of implicit alternating least squares.

    Minimises ``sum_{i in h} (1 - <u, v_i>)^2 + unseen * sum_i <u, v_i>^2 + ridge * |u|^2``, with item vectors scaled to mean
    square length 1 so that ``ridge`` means the same for every method (Hu, Koren & Volinsky 2008, ICDM, eq. 4).

    Shapes: ``history`` B rows, ``items`` (I, D); returns (B, D). An empty history gives the zero vector.
    """
    length = items.square().sum(1).mean().sqrt().clamp(min=torch.finfo(items.dtype).tiny)
    v = (items / length).float()
    chosen, rows, width = v[history.item], history.rows, v.shape[1]
    system = (unseen * (v.T @ v) + ridge * torch.eye(width, device=v.device)).repeat(len(history.offset) - 1, 1, 1)
    # Rows are summed in slices: an outer product an entry of every history at once would be (n, D, D).
    for part in torch.arange(len(rows), device=v.device).split(max(1, (1 << 24) // width**2)):
        system.index_add_(0, rows[part], chosen[part].unsqueeze(2) * chosen[part].unsqueeze(1))
    wanted = v.new_zeros(len(system), width).index_add_(0, rows, chosen)
    return (torch.linalg.solve(system, wanted) / length).to(items.dtype)


def known_or_folded(query: Query, users: Tensor, items: Tensor) -> Tensor:
    """Learned vectors of ``users`` (U, D) for known users, ``least_squares`` over ``items`` (I, D) for the rest: (B, D)."""
    vectors = users[query.user.clamp(min=0)]
    new = (query.user < 0).nonzero().flatten()
    if len(new):
        vectors[new] = least_squares(query.history.take(new), items)
    return vectors
