"""Losses that pull the two views of a node together and push it from other nodes: the survey's contrastive objectives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hybridrec.precision import full_precision

# Scores held at once: what a CPU keeps in its cache, and enough to keep a GPU busy.
SCORES_CPU, SCORES_GPU, LEAST_ROWS = 1 << 18, 1 << 26, 32


def _rows(anchor: Tensor, candidates: Tensor) -> Iterator[slice]:
    budget = SCORES_CPU if anchor.device.type == "cpu" else SCORES_GPU
    rows = max(LEAST_ROWS, budget // max(1, len(candidates)))
    return (slice(start, start + rows) for start in range(0, len(anchor), rows))


class _LogSumExp(torch.autograd.Function):
    """Scores a few rows at a time, and takes both gradients on the way: (B, M) is never written to memory and read back.

    What reaches the anchors is a sum of candidates a row, scaled by whatever comes from above. What reaches the candidates
    is summed over rows, so that it is taken for equal weights (a mean); for others it is computed anew.
    """

    @staticmethod
    def forward(ctx: Any, anchor: Tensor, candidates: Tensor) -> Tensor:
        for_anchor, for_candidates = ctx.needs_input_grad
        result = anchor.new_empty(len(anchor))
        to_anchor = torch.empty_like(anchor) if for_anchor else None
        to_candidates = torch.zeros_like(candidates) if for_candidates else None
        for some in _rows(anchor, candidates):
            score = anchor[some] @ candidates.T  # (rows, M)
            top = score.amax(1, keepdim=True)
            mass = score.sub_(top).exp_().sum(1, keepdim=True)
            result[some] = top.add_(mass.log()).squeeze(1)
            # Rows of shares are score / mass: dividing what is multiplied with them, D wide, spares a pass over M.
            if to_anchor is not None:
                torch.mm(score, candidates, out=to_anchor[some]).div_(mass)
            if to_candidates is not None:
                to_candidates.addmm_(score.T, anchor[some] / mass)
        ctx.save_for_backward(anchor, candidates, result, to_anchor, to_candidates)
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        anchor, candidates, result, to_anchor, to_candidates = ctx.saved_tensors
        if to_anchor is not None:
            to_anchor = to_anchor * grad.unsqueeze(1)
        if to_candidates is not None and len(grad) and bool((grad == grad[0]).all()):
            to_candidates = to_candidates * grad[0]
        elif to_candidates is not None:
            to_candidates = torch.zeros_like(candidates)
            for some in _rows(anchor, candidates):
                share = torch.addmm(-result[some].unsqueeze(1), anchor[some], candidates.T).exp_()  # (rows, M)
                to_candidates.addmm_(share.mul_(grad[some].unsqueeze(1)).T, anchor[some])
        return to_anchor, to_candidates


@full_precision
def log_sum_exp(anchor: Tensor, candidates: Tensor) -> Tensor:
    """``log sum_j exp <a_b, c_j>`` of every row, exact, without ever holding the scores of more than a few rows.

    Shapes: ``anchor`` (B, D), ``candidates`` (M, D) -> (B,), with exact gradients to both.
    """
    both = torch.promote_types(anchor.dtype, candidates.dtype)
    return _LogSumExp.apply(anchor.to(both), candidates.to(both))


def info_nce(pairs: tuple[Any, ...], temperature: float) -> Tensor:
    """InfoNCE over cosines: ``mean_b -log exp(cos(a_b, c_t(b)) / t) / sum_j exp(cos(a_b, c_j) / t)``.

    van den Oord et al. 2018, arXiv 1807.03748, eq. 4; over cosines as in SGL, Wu et al. 2021, arXiv 2010.10783, eq. 10.
    Shapes: ``pairs`` is (anchor (B, D), candidates (M, D), target (B,), where each anchor's positive stands among the
    candidates), as ``hybridrec.pairs`` makes them, with what the sum over anchors is divided by if that is not B; returns a
    scalar. Memory grows with B + M, never with B x M.
    """
    anchor, candidates, target, *over = pairs
    a = F.normalize(anchor.float(), dim=-1) / temperature
    c = F.normalize(candidates.float(), dim=-1)
    return (log_sum_exp(a, c) - (a * c[target]).sum(-1)).sum() / (over[0] if over else len(a))


def clamped_nce(pairs: tuple[Any, ...], temperature: float, clamp: float) -> Tensor:
    """InfoNCE over products, those of positives clamped: ``mean_b log sum_j exp(<a_b, c_j> / t) - clip(<a_b, c_t(b)> / t)``.

    LightGCL, Cai et al. 2023, arXiv 2302.08191, as in the authors' code: what agrees beyond [-clamp, clamp] gains nothing.
    Shapes: ``pairs`` as ``info_nce`` takes them; returns a scalar.
    """
    anchor, candidates, target, *over = pairs
    a, c = anchor.float() / temperature, candidates.float()
    agreed = (a * c[target]).sum(-1).clamp(-clamp, clamp)
    return (log_sum_exp(a, c) - agreed).sum() / (over[0] if over else len(a))


def repulsion(pairs: tuple[Any, ...]) -> Tensor:
    """How near anchors are to all candidates, by products as they are: the mean over anchors of ``log sum_j exp <a_b, c_j>``.

    AutoCF, Xia et al. 2023, arXiv 2303.07797. Shapes: ``pairs`` as ``info_nce`` takes them; returns a scalar.
    """
    anchor, candidates, _, *over = pairs
    return log_sum_exp(anchor, candidates).sum() / (over[0] if over else len(anchor))


def nt_xent(pairs: tuple[Tensor, Tensor, Tensor, Tensor], temperature: float) -> Tensor:
    """InfoNCE over cosines against those candidates that count: SimCLR's NT-Xent, Chen et al. 2020, arXiv 2002.05709, eq. 1.

    Shapes: ``pairs`` is (anchor (B, D), candidates (M, D), target (B,), apart (B, M), True for candidates that count, the
    target among them), as ``hybridrec.pairs.natural.doubled`` makes them; returns a scalar. Holds (B, M).
    """
    anchor, candidates, target, apart = pairs
    score = F.normalize(anchor.float(), dim=-1) @ F.normalize(candidates.float(), dim=-1).T / temperature
    return F.cross_entropy(score.masked_fill(~apart, -torch.inf), target)


def jensen_shannon(joint: Tensor, independent: Tensor) -> Tensor:
    """The Jensen-Shannon bound on mutual information, as a loss: ``mean softplus(-T(joint)) + mean softplus(T(independent))``.

    Hjelm et al. 2019, Deep InfoMax, arXiv 1808.06670, eq. 4. Shapes: a discriminator's scores of real pairs (B,) and of
    pairs torn apart (n,), before any sigmoid; returns a scalar.
    """
    return F.softplus(-joint).mean() + F.softplus(independent).mean()
