"""Prefixes of training histories, found by the item they led to."""

import torch
from torch import tensor

from hybridrec.data.dataset import Dataset, Ids, Relation
from hybridrec.data.prefixes import Prefixes

LISTS = [[0, 1, 2], [3, 2, 2], [4], [2, 1, 0, 2]]


def prefixes():
    index = tensor([(u, i) for u, row in enumerate(LISTS) for i in row]).T
    ids = {"user": Ids(range(4)), "item": Ids(range(5))}
    return Prefixes(Dataset(ids, {"interact": Relation("user", "item", index)}, "interact"))


def drawn(user, target, window=9, times=300):
    random = torch.Generator().manual_seed(0)
    found = prefixes().another(tensor([user] * times), tensor([target] * times), window, random)
    rows = [found.item[a:b].tolist() for a, b in zip(found.offset[:-1], found.offset[1:], strict=True)]
    return {tuple(row): rows.count(row) / times for row in rows}


def test_another_users_prefixes_to_the_same_item_are_drawn_alike():
    shares = drawn(0, 2)
    assert set(shares) == {(3,), (3, 2), (), (2, 1, 0)}
    assert all(abs(share - 0.25) < 0.1 for share in shares.values())
    assert set(drawn(1, 2)) == {(0, 1), (), (2, 1, 0)}


def test_who_alone_chose_an_item_gets_the_own_prefix():
    assert drawn(2, 4) == {(): 1.0}
    assert drawn(1, 3) == {(): 1.0}


def test_prefixes_are_cut_to_the_window():
    assert set(drawn(0, 2, window=2)) == {(3,), (3, 2), (), (1, 0)}
