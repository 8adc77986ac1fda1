"""Gaussian noise on interaction vectors, drawn where it is read: after the first layer, not over the catalogue."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hybridrec.bags import bags
from hybridrec.precision import full_precision
from hybridrec.shares import normal_rows

ROUNDING = 1e-6  # of the Gram matrix's trace, added to its diagonal: float32 sums may leave it a little below zero


@full_precision
def noisy_rows(
    weight: Tensor, offset: Tensor, item: Tensor, value: Tensor, scale: Tensor, gram: Tensor | None = None
) -> Tensor:
    """``W'(x + scale * e)`` for sparse rows x and ``e ~ N(0, 1)`` over all I items, in O(n D + I D^2 + B D^2), never (B, I).

    ``z = W'e`` is exactly ``N(0, G)`` with ``G = W'W``, so it is drawn as ``z = L u`` with ``G = L L'`` and u ~ N(0, 1) in D
    dimensions. Gradient: the dense form has ``dl/dW = e g'`` for ``g = dl/d(scale * z) * scale``. Given z, e is Gaussian with
    mean ``W G^-1 z`` (the projection of e on the columns of W), and g depends on e through z alone; hence

        E[e g' | z] = E[e | z] g' = W G^-1 z g' = W L'^-1 u g',

    which is what ``backward`` returns, summed over rows. Its expectation is that of the dense gradient, and being a
    conditional mean its variance is no larger (Rao-Blackwell). With no more items than dimensions e itself is drawn.

    Shapes: ``weight`` (I, D); rows as ``offset`` (B + 1,), ``item`` (n,) and ``value`` (n,); ``scale`` (B,);
    ``gram`` (D, D) is ``W'W`` if the caller has it. Returns (B, D). Only ``weight`` gets a gradient.
    """
    if len(weight) <= weight.shape[1]:
        dense = normal_rows(weight.new_empty(len(scale), len(weight))) @ weight
        clean = bags(item, weight, offset, value)
        return clean + scale.unsqueeze(1) * dense
    return _NoisyRows.apply(weight, offset, item, value, scale, gram)


class _NoisyRows(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, weight: Tensor, offset: Tensor, item: Tensor, value: Tensor, scale: Tensor, gram: Tensor | None
    ) -> Tensor:
        g = (weight.T @ weight if gram is None else gram).double()
        g.diagonal().add_(ROUNDING * g.diagonal().sum())
        factor = torch.linalg.cholesky(g).to(weight.dtype)
        u = normal_rows(weight.new_empty(len(scale), len(g)))
        ctx.save_for_backward(weight, offset, item, value, scale, factor, u)
        clean = bags(item, weight, offset, value)
        return torch.addcmul(clean, scale.unsqueeze(1), u @ factor.T)  # (B, D)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        weight, offset, item, value, scale, factor, u = ctx.saved_tensors
        inner = torch.linalg.solve_triangular(factor.T, u.T @ (scale.unsqueeze(1) * grad), upper=True)  # L'^-1 sum u g'
        result = weight @ inner  # (I, D)
        return add_rows(result, grad, offset, item, value), None, None, None, None, None


def add_rows(result: Tensor, rows: Tensor, offset: Tensor, item: Tensor, value: Tensor) -> Tensor:
    """``result[item] += value * rows[row of item]``: the gradient of a weighted bag, added in place. ``result`` (I, D)."""
    row = torch.repeat_interleave(torch.arange(len(rows), device=rows.device), offset[1:] - offset[:-1], output_size=len(item))
    return result.index_add_(0, item, rows[row] * value.unsqueeze(1))
