"""A model-based view of histories that is learned: what stands at each step is drawn from a matrix of transitions."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hybridrec.data.batches import Histories
from hybridrec.precision import full_precision

LARGEST = 40.0  # of an exponent: its square, which gradients hold, is still a float32


def semi_sinkhorn(odds: Tensor, temperature: float = 0.2, rounds: int = 10) -> Tensor:
    """The matrix with rows and columns that sum to at most 1 that is nearest to ``exp(odds / temperature)``.

    Nearest in the generalised Kullback-Leibler divergence: ``M = diag(a) K diag(b)``, with ``a = min(1, 1 / K b)`` and
    ``b = min(1, 1 / K'a)`` in turn: Sinkhorn's iteration with bounds for sums (Benamou et al. 2015, arXiv 1412.5154, prop. 5;
    Chizat et al. 2018, arXiv 1607.05816). ``M`` is largest in ``<M, odds> + temperature * entropy``: as the temperature
    falls it becomes the partial permutation of largest total odds, and entries of negative odds become 0. After the last
    round rows that still sum to more than 1 are divided by their sum, so that the bounds hold whatever ``rounds`` is.

    Shapes: ``odds`` (..., T, S), -inf where nothing may stand -> (..., T, S), with gradient.
    """
    scaled = odds / temperature
    top = scaled.amax(-1, keepdim=True).clamp(min=0)
    kernel = (scaled - top).exp()
    # Entries of a row are smaller by what was taken out of it, and its factor may be as much larger than 1.
    least, column = (-top.clamp(max=LARGEST)).exp(), torch.ones_like(odds[..., 0, :])
    row = least
    for _ in range(rounds):
        row = torch.maximum(least, kernel @ column.unsqueeze(-1)).reciprocal()  # (..., T, 1)
        column = (row.mT @ kernel).squeeze(-2).clamp(min=1).reciprocal()  # (..., S)
    matrix = row * kernel * column.unsqueeze(-2)
    return matrix / matrix.sum(-1, keepdim=True).clamp(min=1)


def hardened(soft: Tensor) -> Tensor:
    """1 where ``soft`` is above one half, else 0; gradients go straight through (Bengio et al. 2013, arXiv 1308.3432).

    Where rows and columns sum to at most 1 no two entries of one are above one half: what comes out is a partial permutation.
    """
    return (soft > 0.5).to(soft.dtype) + (soft - soft.detach())


def rewritten(matrix: Tensor, sources: Tensor, nothing: Tensor) -> Tensor:
    """Steps as ``matrix`` (..., T, S) has them of vectors ``sources`` (..., S, D); a row of zeros reads ``nothing`` (D,)."""
    return matrix @ sources + (1 - matrix.sum(-1, keepdim=True)) * nothing


class Transitions(nn.Module):
    """What may stand at each step of a history: its own entries, ``S - T`` others, or nothing, each with a probability.

    The augmentations of AsarRec (Zhang et al. 2025, arXiv 2512.14047) as matrices whose rows and columns sum to 0 or 1:
    empty rows crop and mask, a one off the diagonal reorders, a one in a further column inserts or substitutes. The log-odds
    of a transition against nothing are an attention score and a learned bias by distance; drawn are whole matrices, by
    Gumbel's noise and ``semi_sinkhorn``. At a low temperature a row that no other competes with is drawn from the softmax
    over its odds and the 0 of nothing.

    At the start an entry stays with odds e^``stay``; others come with odds e^``far`` over their distance.
    Shapes: ``forward`` takes vectors (R, T, D) of steps, ``others`` (R, K, D) and ``real`` (R, T), False for padding, or
    None; it returns odds (R, T, T + K), ``draw`` hard matrices of that shape.
    """

    def __init__(
        self, dim: int, window: int, stay: float = 1.0, far: float = -4.0, temperature: float = 0.2, rounds: int = 10
    ) -> None:
        super().__init__()
        self.temperature, self.rounds = temperature, rounds
        self.place = nn.Parameter(torch.randn(window, dim) * 0.02)
        self.norm, self.query, self.key = nn.LayerNorm(dim), nn.Linear(dim, dim), nn.Linear(dim, dim)
        near = far - torch.arange(window).clamp(min=1).log()
        near[0] = stay
        self.near, self.other = nn.Parameter(near), nn.Parameter(torch.tensor(far))

    def forward(self, x: Tensor, others: Tensor, real: Tensor | None = None) -> Tensor:
        """The log-odds of every transition against nothing: (R, T, T + K)."""
        steps, further = x.shape[1], others.shape[1]
        own = self.norm(x) + self.place[:steps]
        query, key = self.query(own), self.key(torch.cat([own, self.norm(others)], 1))
        step = torch.arange(steps, device=x.device)
        bias = torch.cat([self.near[(step.unsqueeze(1) - step).abs()], self.other.expand(steps, further)], 1)
        odds = query @ key.transpose(1, 2) / x.shape[-1] ** 0.5 + bias
        if real is None:
            return odds
        open_to = torch.cat([real, real.new_ones(len(real), further)], 1)
        return odds.masked_fill(~(real.unsqueeze(2) & open_to.unsqueeze(1)), -torch.inf)

    @full_precision  # in half precision bounds would not hold
    def draw(self, odds: Tensor, random: torch.Generator | None = None) -> Tensor:
        """A hard matrix for every row's odds (R, T, S), with gradient."""
        shape = (*odds.shape[:-1], odds.shape[-1] + 1)
        u = torch.rand(shape, generator=random, device=odds.device, dtype=odds.dtype)
        gumbel = -(-u.clamp(1e-10, 1 - 1e-7).log()).log()
        return hardened(semi_sinkhorn(odds + gumbel[..., 1:] - gumbel[..., :1], self.temperature, self.rounds))


def drawn_items(history: Histories, rows: int, count: int, random: torch.Generator | None = None) -> Tensor:
    """``count`` items for each of ``rows`` rows, as often as they are met in ``history``: (rows, count)."""
    place = torch.randint(len(history.item), (rows, count), generator=random, device=history.item.device)
    return history.item[place]
