"""Training histories as what stood before each of their entries, found by that entry's item."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hybridrec.data.batches import Histories
from hybridrec.data.sequences import runs

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset


class Prefixes(nn.Module):
    """Every entry of the training histories with the entries before it in its row, by item and user.

    Shapes: ``item`` (n,) the entries and ``begin`` (n,) where their rows begin; ``order`` (n,) entries sorted by item, then
    user, ``key`` (n,) their ``item * U + user``, ``bound`` (I + 1,) where each item's begin in that order.
    """

    item: Tensor
    begin: Tensor
    order: Tensor
    key: Tensor
    bound: Tensor

    def __init__(self, data: Dataset) -> None:
        super().__init__()
        history, self.users = data.histories(), data.sides["user"]
        key, order = (history.item * self.users + history.rows).sort(stable=True)
        bound = F.pad(torch.bincount(history.item, minlength=data.sides["item"]).cumsum(0), (1, 0))
        found = {"item": history.item, "begin": history.offset[history.rows], "order": order, "key": key, "bound": bound}
        for name, x in found.items():
            self.register_buffer(name, x, persistent=False)

    def another(self, user: Tensor, target: Tensor, window: int, random: torch.Generator | None = None) -> Histories:
        """What stood before ``target`` (B,) in the history of a user other than ``user`` (B,): the last ``window`` entries.

        Each such entry is as likely; where nobody else chose the item, one of the user's own is drawn. Items without a
        training row raise an IndexError.
        """
        first, last = self.bound[target], self.bound[target + 1]
        own = target * self.users + user
        low, high = torch.searchsorted(self.key, own), torch.searchsorted(self.key, own, right=True)
        others = (last - first) - (high - low)
        alone = others == 0
        draw = torch.rand(len(user), generator=random, device=user.device)
        place = (draw * torch.where(alone, high - low, others)).long()
        among = first + place + torch.where(first + place >= low, high - low, 0)  # one's own are stepped over
        entry = self.order[torch.where(alone, low + place, among)]
        return runs(self.item, entry, (entry - self.begin[entry]).clamp(max=window))
