"""Discriminators of real and generated."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class RowCritic(nn.Module):
    """A perceptron that scores an interaction row beside the condition it was generated for.

    CFGAN, Chae et al. 2018 (CIKM), eq. 4, before its sigmoid. (B, I) and (B, I) -> (B,).
    """

    def __init__(self, items: int, hidden: int) -> None:
        super().__init__()
        self.row, self.condition = nn.Linear(items, hidden), nn.Linear(items, hidden, bias=False)
        self.judge = nn.Linear(hidden, 1)

    def forward(self, z: Tensor, context: Tensor) -> Tensor:
        """The score of every row: (B,)."""
        return self.judge(F.relu(self.row(z) + self.condition(context))).squeeze(1)


class PairCritic(nn.Module):
    """Matrix factorisation that scores whether a user chose an item: ``<p_u, q_i> + b_i``.

    IRGAN, Wang et al. 2017, arXiv 1705.10513, eq. 14. Positions (n,) and (n,) or (n, k) -> the shape of the items.
    """

    def __init__(self, users: int, items: int, dim: int) -> None:
        super().__init__()
        self.user = nn.Parameter(nn.init.xavier_uniform_(torch.empty(users, dim)))
        self.item = nn.Parameter(nn.init.xavier_uniform_(torch.empty(items, dim)))
        self.bias = nn.Parameter(torch.zeros(items))

    def forward(self, z: Tensor, context: Tensor) -> Tensor:
        """The score of items ``z`` for users ``context``."""
        user = self.user[context] if z.dim() == 1 else self.user[context].unsqueeze(1)
        return (user * self.item[z]).sum(-1) + self.bias[z]
