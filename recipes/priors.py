"""The diffusion prior of the main job: what an aligned encoder and a space of item vectors are given to answer prompts with."""

from __future__ import annotations

from typing import Any

import torch

import hybridrec as hr
from hybridrec.data.batches import Histories, generator
from hybridrec.data.text import render, rows_of
from hybridrec.encoders.text import TextEncoder

USERS = 1000  # of whom a sentence is read


def trained(
    data: hr.Dataset,
    space: hr.IALS,
    encoder: TextEncoder,
    places: torch.Tensor,
    template: str,
    seed: int,
    accelerator: Any = None,
) -> hr.DiffusionPrior:
    """A prior trained on the rows of ``data`` among the items of ``space``; ``places`` (I, D) are those of items' texts."""
    length = space.items.square().sum(1).mean().item()
    torch.manual_seed(seed)
    prior = hr.DiffusionPrior(data, dim=space.dim, unseen=space.unseen, ridge=space.ridge / length)
    prior.adopt(data, space.catalogue(), places, sentences(data, encoder, template, seed))
    fit(prior, data, seed, accelerator)
    return prior


def fit(prior: hr.DiffusionPrior, data: hr.Dataset, seed: int, accelerator: Any = None) -> None:
    """Train it: seconds on a hundred thousand rows."""
    how: dict[str, Any] = {"epochs": 50, "batch_size": 128, "lr": 2e-3, "weight_decay": 0.1, "seed": seed}
    hr.fit(prior, data, **how, every=50, patience=None, validate=lambda _: 0.0, accelerator=accelerator)


def sentences(
    data: hr.Dataset, encoder: TextEncoder, template: str, seed: int, most: int = 20
) -> tuple[torch.Tensor, Histories]:
    """For up to ``USERS`` users the place of a sentence on 1 to ``most`` of their training items, and these items.

    Returns places (U, D), zero for the others, and U histories.
    """
    history, rows = data.histories(), rows_of(data, data.target)
    random = generator("cpu", seed, 1)
    active = history.lengths.nonzero().flatten()
    users = active[torch.randperm(len(active), generator=random)[:USERS]]
    chosen: list[list[int]] = [[] for _ in history.lengths]
    for user in users.tolist():
        own = history.item[history.offset[user] : history.offset[user + 1]]
        count = int(torch.randint(1, most + 1, (), generator=random))
        chosen[user] = own[torch.randperm(len(own), generator=random)[:count]].tolist()
    texts = render(template, [{"user": {}, "items": [rows[i] for i in chosen[user]]} for user in users.tolist()])
    found = encoder.embed(texts)[1]
    return found.new_zeros(len(chosen), found.shape[1]).index_copy_(0, users, found), Histories.lists(chosen)
