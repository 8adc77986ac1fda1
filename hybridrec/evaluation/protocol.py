"""How a ranking is judged: which rows the method reads, which items it may not name, and who counts."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from hybridrec.errors import DataError

ORDER = ("train", "valid", "test")


@dataclass(frozen=True)
class Sampled:
    """Rank a user's targets among ``n`` items drawn uniformly from those the user has no row for in any part.

    What is drawn depends on the seed, the user and the user's rows, on nothing else. Sampled metrics may order methods
    differently from full ranking (Krichene & Rendle 2020, KDD): for reproducing papers only.
    """

    n: int = 99
    seed: int = 0

    def draw(self, user: Tensor, met: Tensor, items: int) -> Tensor:
        """Different items (B, n) for each ``user`` (B,); ``met`` holds sorted keys ``user * items + item`` never drawn.

        Raises DataError for a user with fewer than ``n`` items to draw from.
        """
        edges = torch.stack([user, user + 1]) * items
        low, high = torch.searchsorted(met, edges)
        short = (items - (high - low) < self.n).nonzero().flatten()
        if len(short):
            left = items - int((high - low)[short[0]])
            raise DataError(f"user position {int(user[short[0]])} has {left} items never met: {self.n} cannot be drawn")
        slot = torch.arange(self.n, device=user.device)
        stream = _mix(_mix(torch.full_like(user, self.seed)) + user).unsqueeze(1)
        item = _below(_mix(stream + slot), items)
        attempt = 0
        while True:
            order = item.sort(dim=1, stable=True)  # of two equal draws the later is drawn again
            again = torch.zeros_like(item, dtype=torch.bool)
            again[:, 1:] = order.values[:, 1:] == order.values[:, :-1]
            again = torch.zeros_like(again).scatter_(1, order.indices, again)
            key = user.unsqueeze(1) * items + item
            if len(met):
                again |= met[torch.searchsorted(met, key).clamp_(max=len(met) - 1)] == key
            if not bool(again.any()):
                return item
            attempt += 1
            item = torch.where(again, _below(_mix(stream + slot + attempt * self.n), items), item)


def _mix(x: Tensor) -> Tensor:
    """The finaliser of SplitMix64 (Steele, Lea & Flood 2014, OOPSLA) on int64, whose products wrap around."""
    x = x * -7046029254386353131 + 1
    x = (x ^ ((x >> 30) & ((1 << 34) - 1))) * -4658895280553007687
    x = (x ^ ((x >> 27) & ((1 << 37) - 1))) * -7723592293110705685
    return x ^ ((x >> 31) & ((1 << 33) - 1))


def _below(x: Tensor, n: int) -> Tensor:
    return ((x >> 1) & ((1 << 63) - 1)) % n


@dataclass(frozen=True)
class Protocol:
    """The conventions of an evaluation; the default is the only one that this package's own numbers use.

    ``input`` names the parts whose rows the method is given as history, ``mask`` those whose items are taken out of the
    ranking; of either only the parts that come before the judged one count. ``absent`` is the value of a user who has
    no target: None leaves the user out of every mean. ``sample`` ranks drawn items in place of the catalogue.

    A masked item cannot be named, so it is no target either: a target that the mask holds (repeated consumption) is
    dropped, and a user left without a target has none. A target given twice counts once.
    """

    name: str = "full"
    input: tuple[str, ...] = ("train",)
    mask: tuple[str, ...] = ("train", "valid")
    absent: float | None = None
    sample: Sampled | None = None

    def inputs(self, part: str, parts: Collection[str]) -> list[str]:
        """The parts read as history when ``part`` is judged, of the ``parts`` there are. ``train`` may read itself."""
        return [p for p in _before(part) or ["train"] if p in self.input and p in parts]

    def masks(self, part: str, parts: Collection[str]) -> list[str]:
        """The parts whose items are masked when ``part`` is judged, of the ``parts`` there are."""
        return [p for p in _before(part) if p in self.mask and p in parts]

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {name: list(x) if isinstance(x, tuple) else x for name, x in asdict(self).items()}


def _before(part: str) -> list[str]:
    if part not in ORDER:
        raise DataError(f"part must be one of {ORDER}, not {part!r}")
    return list(ORDER[: ORDER.index(part)])


FULL = Protocol()
"""Every item ranked, train rows read, train and valid items masked, users without a target left out."""

TRAIN_MASK = Protocol("train-mask", mask=("train",))
"""SSLRec and RLMRec: valid items are not masked when test is judged, so that they stand in the way of targets."""

EVERYONE = Protocol("everyone", absent=0.0)
"""DiffRec: a user without a target counts as zero in every mean."""

SEQUENTIAL = Protocol("sequential", input=("train", "valid"))
"""S3-Rec, CL4SRec, DuoRec, eSASRec: the valid item is the last step of the history when test is judged."""

SAMPLED = Protocol("sampled-1+99", sample=Sampled())
"""NCF, BERT4Rec: targets among 99 drawn items."""

PROTOCOLS = {p.name: p for p in (FULL, TRAIN_MASK, EVERYONE, SEQUENTIAL, SAMPLED)}
