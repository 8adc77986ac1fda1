"""The squared error of a diffusion denoiser over a whole catalogue, without a score per item."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from hybridrec.precision import full_precision


@full_precision
def catalogue_squared_error(
    h: Tensor, weight: Tensor, offset: Tensor, item: Tensor, value: Tensor, gram: Tensor | None = None
) -> Tensor:
    """``|V h - x|^2`` summed over all I items, for sparse rows x: ``h'(V'V)h - 2 <h, V'x> + |x|^2``, exact.

    Costs O(I D^2 + n D + B D^2) for a batch where the dense form costs O(B I D), and never holds (B, I). Gradients, with g
    that of each row's error: ``dh = 2 g (h G - V'x)`` and ``dV = 2 V (sum g h h') - 2 sum g x h'``.
    A bias is a last column of V beside a last 1 in h. An item must not be twice in a row.

    Shapes: ``h`` (B, D), ``weight`` V (I, D), rows as ``offset`` (B + 1,), ``item`` (n,) and ``value`` (n,);
    ``gram`` (D, D) is ``V'V`` if the caller has it. Returns (B,).
    """
    return _SquaredError.apply(h, weight, offset, item, value, gram)


class _SquaredError(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, h: Tensor, weight: Tensor, offset: Tensor, item: Tensor, value: Tensor, gram: Tensor | None
    ) -> Tensor:
        g = weight.T @ weight if gram is None else gram
        read = F.embedding_bag(item, weight, offset, mode="sum", per_sample_weights=value, include_last_offset=True)  # V'x
        product = h @ g
        ctx.save_for_backward(h, weight, offset, item, value, product - read)
        row = _row(offset, item)
        own = torch.zeros(len(h), dtype=value.dtype, device=h.device).index_add_(0, row, value.square())
        return (h * (product - 2 * read)).sum(1) + own  # (B,)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        h, weight, offset, item, value, residual = ctx.saved_tensors
        scaled = 2 * grad.unsqueeze(1) * h
        result = weight @ (scaled.T @ h)  # (I, D)
        row = _row(offset, item)
        result.index_add_(0, item, scaled[row] * value.unsqueeze(1), alpha=-1)
        return 2 * grad.unsqueeze(1) * residual, result, None, None, None, None


def _row(offset: Tensor, item: Tensor) -> Tensor:
    """The row of every entry: (n,)."""
    lengths = offset[1:] - offset[:-1]
    return torch.repeat_interleave(torch.arange(len(lengths), device=item.device), lengths, output_size=len(item))
