"""What is asked of learned augmentations of sequences: that they differ, and that they keep what the sequence says."""

from __future__ import annotations

import torch
from torch import Tensor


def apart(one: Tensor, two: Tensor, length: Tensor) -> Tensor:
    """How far two augmentations are from one another: ``|M - M'|^2 / 2T``, 0 where equal, 1 where no transition is shared.

    Shapes: matrices (R, T, S) whose rows sum to at most 1, of rows with ``length`` (R,) steps; returns (R,).
    """
    return (one - two).square().sum((1, 2)) / (2 * length.clamp(min=1))


def kept_order(matrix: Tensor, length: Tensor) -> Tensor:
    """The NDCG of an augmented sequence as a list of the steps of the sequence it was made of, the newest the most relevant.

    ``sum_ij d_i M_ij d_j / sum_i d_i^2`` with ``d = 1 / log2(1 + steps back)``: discounts are relevances too. It is 1 for the
    identity alone; less where steps are left out, moved or replaced, by more the newer they are. Columns from T on are no
    steps of the sequence.

    Shapes: ``matrix`` (R, T, S), rows and columns that sum to at most 1, of rows with ``length`` (R,) steps; returns (R,).
    """
    back = length.unsqueeze(1) - torch.arange(matrix.shape[1], device=matrix.device)  # (R, T), 1 the newest
    gain = torch.where(back > 0, (1 + back.clamp(min=1)).to(matrix.dtype).log2().reciprocal(), 0.0)
    own = matrix[..., : matrix.shape[1]]
    return torch.einsum("rt,rts,rs->r", gain, own, gain) / gain.square().sum(1).clamp(min=1e-9)
