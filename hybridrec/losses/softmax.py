"""The softmax over a whole catalogue: exact in blocks of rows, or estimated from a sample of items."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hybridrec.precision import full_precision

# Scores held at once: what a CPU keeps in its cache is worth more than long products, and a GPU wants to be busy.
SCORES_CPU, SCORES_GPU = 1 << 20, 1 << 26
ROWS = 64  # but at least so many rows at once: each pass reads all of V


@full_precision
def catalogue_cross_entropy(h: Tensor, items: Tensor, target: Tensor) -> Tensor:
    """``-log softmax(h V')_target`` of each row over all I items, never holding (B, I).

    The gradient of a block of rows is taken while its scores are at hand: softmax less one at the target, times V and
    times h. ``torch.nn.functional.linear_cross_entropy`` is the same with its mean; on one core this takes
    about half of its time, and of ``cross_entropy`` on whole scores (B = 1,024, I = 12,101, D = 96).

    Shapes: ``h`` (B, D), ``items`` V (I, D), ``target`` (B,) int64; returns the mean over rows, a scalar.
    """
    return _CrossEntropy.apply(h, items, target)


def sampled_cross_entropy(h: Tensor, items: Tensor, target: Tensor, drawn: Tensor, catalogue: int) -> Tensor:
    """``catalogue_cross_entropy`` with the sum over the catalogue estimated from items drawn uniformly.

    ``-log exp(s_t) / (exp(s_t) + I/K sum_k exp(s_k))`` over the K draws that are not the target: the sum in the denominator
    is unbiased (importance sampling, Bengio & Senécal 2003), so that as K grows this is the whole softmax.

    Shapes: ``h`` (B, D), ``items`` (n, D) those at hand, ``target`` (B,) and ``drawn`` (K,) positions among them,
    ``catalogue`` I; returns the mean over rows, a scalar.
    """
    own = (h * items[target]).sum(1, keepdim=True)
    other = h @ items[drawn].T + math.log(catalogue / len(drawn))  # (B, K)
    other = other.masked_fill(drawn == target.unsqueeze(1), -torch.inf)
    return (torch.cat([own, other], 1).logsumexp(1) - own.squeeze(1)).mean()


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, h: Tensor, items: Tensor, target: Tensor) -> Tensor:
        total, dh, dv, wanted = h.new_zeros(()), torch.empty_like(h), torch.zeros_like(items), items[target]
        own = (h * wanted).sum(1)
        block = max(ROWS, (SCORES_CPU if h.device.type == "cpu" else SCORES_GPU) // len(items) // 32 * 32)
        held = h.new_empty(len(items) * min(block, len(h)))  # one memory for all blocks: fresh pages cost as much as a product
        for x, to, mine in zip(h.split(block), dh.split(block), own.split(block), strict=True):
            # Items lie along rows: tall products of few columns are the fast ones.
            score = torch.mm(items, x.T, out=held[: len(items) * len(x)].view(len(items), len(x)))  # (I, block)
            top = score.amax(0)
            mass = score.sub_(top).exp_().sum(0)
            total += (mass.log() + (top - mine)).sum()
            mass = mass.unsqueeze(1)
            torch.mm(score.T, items, out=to).div_(mass)
            dv.addmm_(score, x / mass)
        ctx.save_for_backward(dh.sub_(wanted), dv.index_add_(0, target, h, alpha=-1))
        return total / len(h)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        dh, dv = ctx.saved_tensors
        return dh * (grad / len(dh)), dv * (grad / len(dh)), None
