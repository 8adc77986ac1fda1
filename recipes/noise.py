"""Noise in training histories, for recipes that ask what withstands it."""

from __future__ import annotations

from dataclasses import replace

import torch

import hybridrec as hr
from hybridrec.data.batches import not_chosen
from hybridrec.data.dataset import Split
from hybridrec.data.split import pooled
from hybridrec.errors import DataError


def noised(data: hr.Dataset, share: float, seed: int = 0) -> hr.Dataset:
    """``data`` with an item injected after a ``share`` of its training rows: one its user has in no part, uniformly drawn.

    An injected row has the time of the row it follows. Smaller shares lie within larger ones. Raises DataError for a user who
    chose every item.
    """
    if share <= 0:
        return data
    random, train, items = torch.Generator().manual_seed(seed), data.train, data.counts[data.target]
    index = pooled(data).index
    chosen = torch.unique(index[0] * items + index[1])
    if len(chosen) and int(torch.bincount(chosen // items).max()) >= items:
        raise DataError(f"a {data.source} of {data.name} chose all {items} {data.target}s: nothing can be injected")
    lot = torch.rand(len(train), generator=random)
    item = not_chosen(chosen, train.index[0], items, 1, random).squeeze(1)
    after = (lot < share).nonzero().flatten()
    injected = train.keep(after)
    injected = replace(injected, index=torch.stack([injected.index[0], item[after]]))
    # Each row's own place, and half a step behind it what is injected there.
    place = torch.cat([torch.arange(len(train)).double(), after + 0.5]).argsort()

    def both(name: str) -> torch.Tensor | None:
        own, further = getattr(train, name), getattr(injected, name)
        return None if own is None else torch.cat([own, further])[place]

    index = torch.cat([train.index, injected.index], 1)[:, place]
    rows = replace(train, index=index, time=both("time"), kind=both("kind"), value=both("value"))
    before = data.split._asdict() if data.split else None
    split = Split("Noised", {"share": share, "seed": seed, "of": before})
    return replace(data.with_train(rows), split=split)
