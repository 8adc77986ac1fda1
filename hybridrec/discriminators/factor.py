"""Discriminators of histories that see one factor of their items."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hybridrec.data.batches import Histories
from hybridrec.data.sequences import newest


class FactorCritic(nn.Module):
    """Whether a history's last entry was chosen or generated, told from one factor of its items alone.

    Ren et al. 2020, MFGAN, arXiv 2005.10602: a bidirectional transformer, the ``network``, over the factor's vectors, judged
    at the last entry. ``factor`` (I,) says which of ``values`` each item has. B rows, none empty -> (B,).
    """

    factor: Tensor

    def __init__(self, factor: Tensor, values: int, dim: int, network: nn.Module) -> None:
        super().__init__()
        self.register_buffer("factor", factor, persistent=False)
        self.table = nn.Parameter(torch.randn(values, dim) * 0.05)
        self.network, self.judge = network, nn.Linear(dim, 1)

    def forward(self, history: Histories) -> Tensor:
        """The score of every history, before a sigmoid: (B,)."""
        z = self.network(history, self.table[self.factor[history.item]])
        return self.judge(z[newest(history)]).squeeze(1)
