"""Vectors for users never seen in training, from their histories alone."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from hybridrec.data.batches import Histories, Query
from hybridrec.precision import full_precision

AT_ONCE = 1 << 22  # numbers in the largest array of a batch of rows


def least_squares(history: Histories, items: Tensor, unseen: float = 0.1, ridge: float = 0.1) -> Tensor:
    """The user vector that best explains a history: one half-step of implicit alternating least squares.

    Minimises ``sum_{i in h} (1 - <u, v_i>)^2 + unseen * sum_i <u, v_i>^2 + ridge * |u|^2``, with item vectors scaled to mean
    square length 1 so that ``ridge`` means the same for every method (Hu, Koren & Volinsky 2008, ICDM, eq. 4).

    Shapes: ``history`` B rows, ``items`` (I, D); returns (B, D). An empty history gives the zero vector.
    """
    length = items.square().sum(1).mean().sqrt().clamp(min=torch.finfo(items.dtype).tiny)
    v = (items / length).float()
    each = v.new_full((len(history.offset) - 1,), ridge)
    return (row_vectors(history, v, unseen, each) / length).to(items.dtype)


def known_or_folded(query: Query, users: Tensor, items: Tensor) -> Tensor:
    """Learned vectors of ``users`` (U, D) for known users, ``least_squares`` over ``items`` (I, D) for the rest: (B, D)."""
    vectors = users[query.user.clamp(min=0)]
    new = (query.user < 0).nonzero().flatten()
    if len(new):
        vectors[new] = least_squares(query.history.take(new), items)
    return vectors


@full_precision
def row_vectors(chosen: Histories, vectors: Tensor, unseen: float, ridge: Tensor) -> Tensor:
    """``argmin_w sum_(i in row) (1 - <w, v_i>)^2 + unseen sum_i <w, v_i>^2 + ridge |w|^2`` for each row: (B, D).

    In the basis where ``V'V`` is diagonal the part without the row's own items is a diagonal ``d``, so that
    ``w = (diag d + V_h'V_h)^-1 V_h'1`` (D equations), or, where the row has fewer items than D, the same by
    ``w = d^-1 V_h' (1 + V_h d^-1 V_h')^-1 1`` (as many equations as items). Rows of like length are solved together.

    Shapes: ``chosen`` B rows of positions in ``vectors`` (M, D); ``ridge`` (B,).
    """
    value, basis = torch.linalg.eigh(vectors.T @ vectors)
    padded = torch.cat([vectors @ basis, vectors.new_zeros(1, vectors.shape[1])])
    # An eigenvalue of 0 may come out slightly negative.
    diagonal = unseen * value.clamp(min=0) + ridge.unsqueeze(1).to(value.dtype)  # (B, D)
    result = torch.zeros_like(diagonal)
    for rows, entry in _batches(chosen, vectors.shape[1]):
        v = padded[torch.where(entry >= 0, chosen.item[entry.clamp(min=0)], len(vectors))]  # (b, T, D)
        d = diagonal[rows]
        if v.shape[1] < v.shape[2]:
            scaled = v / d.unsqueeze(1)
            system = torch.baddbmm(torch.eye(v.shape[1], device=v.device), scaled, v.mT)  # (b, T, T)
            wanted = v.new_ones(*v.shape[:2], 1)
            result[rows] = (scaled.mT @ _solve(system, wanted)).squeeze(2)
        else:
            system = torch.baddbmm(torch.diag_embed(d), v.mT, v)  # (b, D, D)
            result[rows] = _solve(system, v.sum(1).unsqueeze(2)).squeeze(2)
    return result @ basis.T


def _solve(system: Tensor, wanted: Tensor) -> Tensor:
    return torch.cholesky_solve(wanted, torch.linalg.cholesky(system))


def _batches(chosen: Histories, dim: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Rows of like length with the positions of their entries: (b,) and (b, T), -1 where a row is shorter than T."""
    length, order = chosen.lengths.sort(stable=True)
    start = int((length == 0).sum())
    longest = length.tolist()
    while start < len(order):
        # Padding at most doubles a row; what is largest of (b, T, D), (b, D, D) and (b, T, T) bounds the batch.
        stop = start + int(torch.searchsorted(length[start:], 2 * longest[start], right=True))
        stop = min(stop, start + max(1, AT_ONCE // (dim * max(dim, longest[stop - 1]))))
        rows = order[start:stop]
        step = torch.arange(longest[stop - 1], device=rows.device)
        entry = chosen.offset[rows].unsqueeze(1) + step
        yield rows, torch.where(step < length[start:stop].unsqueeze(1), entry, -1)
        start = stop
