"""What tests share: small data with a planted structure."""

import os
from dataclasses import replace

# Before torch is imported: tests are many small operations, which threads only slow down, and nothing is downloaded.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy as np
import pytest
import torch

from hybridrec.data.dataset import Dataset, Feature, Ids, Relation, Split


def planted(users: int = 60, items: int = 40, taste: float = 0.8, each: int = 12, seed: int = 0) -> Dataset:
    """Users of two kinds, items of two kinds; a share ``taste`` of what a user chooses is of the own kind. 80/10/10."""
    random = np.random.default_rng(seed)
    links = []
    for user in range(users):
        own = np.arange(user % 2, items, 2)
        other = np.arange(1 - user % 2, items, 2)
        n = int(each * taste)
        chosen = np.concatenate([random.choice(own, n, replace=False), random.choice(other, each - n, replace=False)])
        links += [(user, item) for item in random.permutation(chosen)]
    index = torch.tensor(links).T.contiguous()
    time = torch.arange(index.shape[1], dtype=torch.float64)
    place = torch.arange(each).repeat(users)
    relation = Relation("user", "item", index, time)
    held = max(1, each // 10)
    train = place < each - 2 * held
    valid = (place >= each - 2 * held) & (place < each - held)
    return Dataset(
        ids={"user": Ids(np.array([f"u{i}" for i in range(users)])), "item": Ids(np.arange(100, 100 + items))},
        relations={"interact": relation.keep(train)},
        goal="interact",
        heldout={"valid": relation.keep(valid), "test": relation.keep(place >= each - held)},
        name="planted",
        split=Split("planted", {"seed": seed}),
    )


def worded(data: Dataset) -> Dataset:
    """``data`` with vectors of texts that say nothing of the kinds, for methods that read some."""
    values = torch.randn(data.sides["item"], 6, generator=torch.Generator().manual_seed(0))
    return replace(data, features={"item": {"text": Feature(values, torch.ones(len(values), dtype=torch.bool))}})


@pytest.fixture
def half():
    """An Accelerator that trains under autocast to bfloat16, on a GPU where there is one."""
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    yield Accelerator(cpu=not torch.accelerator.is_available(), mixed_precision="bf16")
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(name="planted")
def _planted() -> Dataset:
    return planted()
