"""Model-based views of item graphs: which paths are hidden is learned, and the more so the more it helps the task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from hybridrec.graph import Graph
from hybridrec.saving import configured
from hybridrec.views.masking import gumbel, within


class HiddenPaths(NamedTuple):
    """A graph without some of its edges, and the ends (2, n) of those."""

    graph: Graph
    links: Tensor


@configured
class PathMask:
    """Hides the paths of up to ``hops`` steps that lead from the nodes most like what surrounds them.

    MAERec, Ye, Xia & Huang 2023, arXiv 2305.04619, section 3. The ``seeds`` nodes of largest relatedness, with Gumbel noise,
    lose their edges; of the nodes at the other ends a share ``keep ** k`` passes on after step k.
    """

    def __init__(self, seeds: int = 50, hops: int = 3, keep: float = 0.5) -> None:
        self.seeds, self.hops, self.keep = seeds, hops, keep

    def draw(self, graph: Graph, x: Tensor) -> tuple[HiddenPaths, Tensor]:
        """The masked graph for node vectors ``x`` (N, D), and the noisy scores (N,) whose mean is to be raised."""
        score = gumbel(relatedness(graph, x, self.hops))
        with torch.no_grad():
            kept, _ = within(graph, score.topk(min(self.seeds, len(score))).indices, self.hops, self.keep)
            return HiddenPaths(graph.keep(kept), torch.stack(graph.ends)[:, ~kept]), score


def relatedness(graph: Graph, x: Tensor, hops: int) -> Tensor:
    """The mean cosine of each node with where walks of 1 to ``hops`` steps from it lead, each walk once: (N,), with gradient.

    MAERec's gamma over the neighbourhood of so many hops, counted as AutoCF's authors count theirs. Where the authors of
    MAERec thin out the walks at random, all are taken. ``x`` (N, D); 0 for a node without edges.
    """
    one, unit = x.new_ones(len(graph.col)), F.normalize(x, dim=1)
    step, walks = unit, x.new_ones(len(x), 1)
    total, count = torch.zeros_like(unit), torch.zeros_like(walks)
    for _ in range(hops):
        step, walks = graph.aggregate(step, one), graph.aggregate(walks, one)
        total, count = total + step, count + walks
    return (unit * total).sum(1) / count.squeeze(1).clamp(min=1)


def reward(losses: Sequence[float], floor: float = 0.2) -> float:
    """How much a mask is to be learned from, by the losses of the task since it was drawn: 1 or ``floor``.

    MAERec's task-adaptive factor: 1 where the last step brought the loss down by more than the steps before it did on
    average, and while there are fewer than three losses.
    """
    if len(losses) < 3:
        return 1.0
    return 1.0 if losses[-2] - losses[-1] > (losses[0] - losses[-2]) / (len(losses) - 2) else floor
