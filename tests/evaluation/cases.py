"""Small data sets and methods with known answers."""

import torch
from torch import nn

from hybridrec.data.dataset import Dataset, Ids, Relation


class Table(nn.Module):
    """A method that gives every user a row of a fixed table of scores."""

    def __init__(self, scores: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("table", scores)
        self.asked: list[tuple[int, int]] = []

    def score(self, query):
        self.asked.append((len(query.user), int(query.history.offset[-1])))
        return self.table[query.user]


class Vectors(nn.Module):
    """A method whose scores are products."""

    def __init__(self, users: torch.Tensor, items: torch.Tensor) -> None:
        super().__init__()
        self.users, self.items = nn.Parameter(users), nn.Parameter(items)

    def catalogue(self):
        return self.items

    def represent(self, query):
        return self.users[query.user]


def links(pairs) -> Relation:
    return Relation("user", "item", torch.tensor(list(pairs), dtype=torch.int64).reshape(-1, 2).T.contiguous())


def dataset(users: int, items: int, train, valid=(), test=(), name="hand") -> Dataset:
    heldout = {part: links(pairs) for part, pairs in (("valid", valid), ("test", test)) if pairs}
    ids = {"user": Ids([f"u{u}" for u in range(users)]), "item": Ids(range(items))}
    return Dataset(ids, {"interact": links(train)}, "interact", heldout, name=name)


def synthetic(users: int = 200, items: int = 150, each: int = 12, seed: int = 0) -> Dataset:
    """Random links, every user with the same number of them in train, valid and test."""
    random = torch.Generator().manual_seed(seed)
    rows = [(u, i) for u in range(users) for i in torch.randperm(items, generator=random)[: each + 6].tolist()]
    place = [j % (each + 6) for j in range(len(rows))]
    part = [
        [r for r, p in zip(rows, place, strict=True) if a <= p < b]
        for a, b in ((0, each), (each, each + 2), (each + 2, each + 6))
    ]
    return dataset(users, items, *part, name="synthetic")


def hand() -> Dataset:
    """Three users, six items. User 2 has no test row; user 1 repeats a test row and tests an item of its train rows."""
    return dataset(
        3,
        6,
        train=[(0, 0), (0, 1), (1, 2), (2, 5)],
        valid=[(0, 2), (1, 3), (2, 4)],
        test=[(0, 4), (0, 5), (1, 4), (1, 4), (1, 2)],
    )
