"""Natural pairs: the two views of one node are each other's positive, the other nodes of the batch the negatives."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor


class Contrast(NamedTuple):
    """What a contrastive loss compares: ``anchor`` (B, D), ``candidates`` (M, D), ``target`` (B,) where the positives stand."""

    anchor: Tensor
    candidates: Tensor
    target: Tensor


def natural(one: Tensor, two: Tensor, index: Tensor) -> Contrast:
    """Rows ``index`` of two views of the same nodes, each node once; candidates are those of all processes, with gradient.

    Shapes: ``one`` and ``two`` (N, D), ``index`` (n,) with repeats; returns B <= n anchors, M >= B candidates.
    """
    node = index.unique()
    everywhere, candidates = gather(node, two[node])
    # A node drawn by several processes is one candidate: its own copy elsewhere must not count as a negative.
    known, inverse = everywhere.unique(return_inverse=True)
    place = torch.arange(len(everywhere), device=inverse.device)
    first = torch.full_like(known, len(everywhere)).scatter_reduce_(0, inverse, place, "amin")
    return Contrast(one[node], candidates[first], torch.searchsorted(known, node))


def paired(one: Tensor, two: Tensor) -> Contrast:
    """Rows of two views that stand beside one another, in this process: anchors (B, D), candidates (B, D)."""
    return Contrast(one, two, torch.arange(len(one), device=one.device))


class Doubled(NamedTuple):
    """Two views of the rows of a batch, each row against its other view and both views of all other rows.

    Shapes: ``anchor`` (2 B, D), ``candidates`` (2 M, D), ``target`` (2 B,), ``apart`` (2 B, 2 M): True for what counts.
    """

    anchor: Tensor
    candidates: Tensor
    target: Tensor
    apart: Tensor


def doubled(one: Tensor, two: Tensor, label: Tensor | None = None) -> Doubled:
    """Every row of two views (B, D) and (B, D), and where the other view of it stands among those of all processes.

    SimCLR, Chen et al. 2020, arXiv 2002.05709, algorithm 1. A row is no candidate for itself; with ``label`` (B,) rows of one
    label are none for each other either, but for the two views of one row.
    """
    mine = _rank()
    ranks, first = gather(torch.full((len(one),), mine, device=one.device), one)
    place = (ranks == mine).nonzero().flatten()
    labels, second = gather(torch.arange(len(one), device=one.device) if label is None else label, two)
    target = torch.cat([place + len(ranks), place])
    if label is None:  # every row of every process is one of its own
        labels = torch.arange(len(ranks), device=one.device)
    apart = labels[place].repeat(2).unsqueeze(1) != labels.repeat(2)
    apart[torch.arange(len(target), device=one.device), target] = True
    return Doubled(torch.cat([one, two]), torch.cat([first, second]), target, apart)


def _rank() -> int:
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def against_all(one: Tensor, two: Tensor, index: Tensor) -> Contrast:
    """Rows ``index`` of view ``one``, each node once, against every node of view ``two``: B <= n anchors, M = N."""
    node = index.unique()
    return Contrast(one[node], two, node)


def gather(index: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """``index`` (n,) and rows ``x`` (n, D) of all processes, one after the other; gradients find their way back."""
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return index, x
    sizes = [torch.zeros(1, dtype=torch.int64, device=index.device) for _ in range(dist.get_world_size())]
    dist.all_gather(sizes, torch.tensor([len(index)], device=index.device))
    counts = [int(n) for n in sizes]
    width = max(counts)
    everywhere = _all(torch.cat([index, index.new_zeros(width - len(index))]))
    rows = _Gather.apply(torch.cat([x, x.new_zeros(width - len(x), *x.shape[1:])]))
    kept = torch.cat([torch.arange(n, device=index.device) + rank * width for rank, n in enumerate(counts)])
    return everywhere[kept], rows[kept]


def _all(x: Tensor) -> Tensor:
    parts = [torch.empty_like(x) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, x.contiguous())
    return torch.cat(parts)


class _Gather(torch.autograd.Function):
    """``all_gather`` whose gradient is the sum, over processes, of what each asks of these rows."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.rows = len(x)
        return _all(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        grad = grad.contiguous().clone()
        dist.all_reduce(grad)
        return grad[dist.get_rank() * ctx.rows :][: ctx.rows]
