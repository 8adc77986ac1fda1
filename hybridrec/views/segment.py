"""Data-based views of histories as wholes and parts: how they began, a run of them, and all but that run."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from hybridrec.data.batches import Histories
from hybridrec.data.sequences import kept, places, runs
from hybridrec.saving import configured
from hybridrec.views.sequence import segment


@configured
class Beginning:
    """Each row's first entries, at least two of them where it has two; every number of them is as likely.

    S3-Rec's authors (Zhou et al. 2020, arXiv 2008.07873) pre-train on all beginnings of every history; this draws one.
    """

    def __call__(self, x: Histories, random: torch.Generator | None = None) -> Histories:
        least = x.lengths.clamp(max=2)
        length = least + _below(x.lengths - least + 1, random)
        return kept(x, places(x) < length[x.rows])


class Segments(NamedTuple):
    """Histories with a run masked, the same with all but the run masked, and with a run from elsewhere in its place."""

    context: Histories
    own: Histories
    other: Histories


@configured
class SegmentMask:
    """A run of one to half of each row's entries, torn from it: S3-Rec, Zhou et al. 2020, arXiv 2008.07873, section 4.2.

    Length and start are drawn uniformly. What is put in the run's place is as long a run of the batch's entries, drawn
    anywhere: both have their mask at the same places, which therefore tell nothing. Rows of one entry have no run.
    """

    def __init__(self, mask: int) -> None:
        self.mask = mask

    def __call__(self, x: Histories, random: torch.Generator | None = None) -> Segments:
        half = x.lengths // 2
        length = (1 + _below(half, random)).clamp(max=half)
        run = segment(x, length, random)
        start = _below(len(x.item) - length + 1, random)
        other = torch.full_like(x.item, self.mask)
        other[run] = runs(x.item, start + length, length).item
        context, own = x.item.masked_fill(run, self.mask), x.item.masked_fill(~run, self.mask)
        return Segments(*(x._replace(item=item) for item in (context, own, other)))


def _below(n: Tensor, random: torch.Generator | None) -> Tensor:
    """A whole number below each of ``n`` (B,), uniformly; 0 where that is 0."""
    draw = torch.rand(len(n), generator=random, device=n.device, dtype=torch.float64)
    return (draw * n).long()
