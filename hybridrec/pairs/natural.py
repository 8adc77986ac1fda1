"""Natural pairs: the two views of one node are each other's positive, the other nodes of the batch the negatives.

Under several processes the batch is that of all of them. Nodes met by several count once, and are dealt out evenly: each
process compares its share of them, and ``over`` sees to it that what ``fit`` averages over processes is the mean over all.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor


class Contrast(NamedTuple):
    """What a contrastive loss compares: ``anchor`` (B, D), ``candidates`` (M, D), ``target`` (B,) where the positives stand.

    ``over`` is what the sum over anchors is divided by: B for one process. For several, of which ``fit`` weighs each by its
    share of the rows, it is the number of all their anchors times that share.
    """

    anchor: Tensor
    candidates: Tensor
    target: Tensor
    over: float


def natural(one: Tensor, two: Tensor, index: Tensor) -> Contrast:
    """Rows ``index`` of two views of the same nodes, each node once; candidates are the nodes of all processes.

    Shapes: ``one`` and ``two`` (N, D), ``index`` (n,) with repeats; returns B <= n anchors, M >= B candidates. Every process
    has all rows of both views: only the names of nodes travel, and gradients reach the candidates without being sent.
    """
    nodes, mine, over = dealt(index)
    return Contrast(one[nodes[mine]], two[nodes], mine, over)


def paired(one: Tensor, two: Tensor) -> Contrast:
    """Rows of two views that stand beside one another: anchors (B, D); the candidates (M, D) are those of all processes."""
    candidates, start = gather(two)
    return Contrast(one, candidates, torch.arange(start, start + len(one), device=one.device), len(one))


def torn(offset: Tensor) -> Tensor:
    """For each entry of ragged rows one that belongs to another: at the same step of the row before, or the last it has there.

    Rows go round: before the first stands the last. What a discriminator of mutual information is shown as independent
    (ACVAE, Xie et al. 2021, arXiv 2103.10693, pairs histories with other users' latents of the batch).
    Shapes: ``offset`` (B + 1,), no row empty; returns positions (n,).
    """
    lengths = offset.diff()
    row = torch.repeat_interleave(torch.arange(len(lengths), device=offset.device), lengths, output_size=int(offset[-1]))
    other = (row - 1) % len(lengths)
    step = torch.arange(len(row), device=offset.device) - offset[row]
    return offset[other] + torch.minimum(step, lengths[other] - 1)


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
    first, start = gather(one)
    place = torch.arange(start, start + len(one), device=one.device)
    # Without labels every row of every process is one of its own.
    labels = torch.arange(len(first), device=one.device) if label is None else gather(label)[0]
    target = torch.cat([place + len(first), place])
    apart = labels[place].repeat(2).unsqueeze(1) != labels.repeat(2)
    apart[torch.arange(len(target), device=one.device), target] = True
    return Doubled(torch.cat([one, two]), torch.cat([first, gather(two)[0]]), target, apart)


def against_all(one: Tensor, two: Tensor, index: Tensor) -> Contrast:
    """Rows ``index`` of view ``one``, each node once, against every node of view ``two``: B <= n anchors, M = N."""
    nodes, mine, over = dealt(index)
    return Contrast(one[nodes[mine]], two, nodes[mine], over)


def dealt(index: Tensor) -> tuple[Tensor, Tensor, float]:
    """The nodes (M,) in ``index`` (n,) of all processes, each once, which of them (B,) this process compares, and ``over``."""
    everywhere, _ = gather(index)
    nodes = everywhere.unique()
    rank, world = (dist.get_rank(), dist.get_world_size()) if _several() else (0, 1)
    mine = torch.arange(rank, len(nodes), world, device=nodes.device)
    return nodes, mine, len(nodes) * len(index) / max(1, len(everywhere))


def gather(x: Tensor) -> tuple[Tensor, int]:
    """Rows ``x`` (n, ...) of all processes, one after the other, and where this one's begin; gradients find their way back."""
    if not _several():
        return x, 0
    sizes = [torch.zeros(1, dtype=torch.int64, device=x.device) for _ in range(dist.get_world_size())]
    dist.all_gather(sizes, torch.tensor([len(x)], device=x.device))
    counts = [int(n) for n in sizes]
    width = max(counts)
    rows = _Gather.apply(torch.cat([x, x.new_zeros(width - len(x), *x.shape[1:])]))
    kept = torch.cat([torch.arange(n, device=x.device) + rank * width for rank, n in enumerate(counts)])
    return rows[kept], sum(counts[: dist.get_rank()])


def _several() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


class _Gather(torch.autograd.Function):
    """``all_gather`` whose gradient is the sum, over processes, of what each asks of these rows."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.rows = len(x)
        parts = [torch.empty_like(x) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        grad = grad.contiguous().clone()
        dist.all_reduce(grad)
        return grad[dist.get_rank() * ctx.rows :][: ctx.rows]
