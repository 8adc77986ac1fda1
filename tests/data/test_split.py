"""Rules of splitting: what goes where, seeded, and nothing of what is held out left in training."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from folders import interactions, pairs

import hybridrec as hr
from hybridrec.data.dataset import Dataset, Ids, Relation
from hybridrec.data.split import ColdItems, ColdUsers, LeaveOneOut, RandomSplit, TemporalSplit, pooled
from hybridrec.errors import DataError

RULES = [
    RandomSplit(),
    RandomSplit(0.6, 0.0, 0.4, seed=3),
    LeaveOneOut(),
    LeaveOneOut(valid=False),
    TemporalSplit(),
    TemporalSplit(valid=0.0, test=0.3),
    ColdItems(),
    ColdItems(valid=0.0, test=0.3, seed=5),
    ColdUsers(),
    ColdUsers(valid=0.0, test=0.5),
]


def dataset(users=30, items=50, each=20, seed=0, **relations):
    """Distinct pairs in random order with times."""
    random = np.random.default_rng(seed)
    index = np.array([(u, i) for u in range(users) for i in random.choice(items, each, replace=False)])
    index = torch.from_numpy(random.permutation(index).T.copy())
    interact = Relation("user", "item", index, torch.from_numpy(random.permutation(index.shape[1]).astype(float)))
    ids = {"user": Ids(np.arange(users)), "item": Ids(np.arange(items)), "entity": Ids(np.arange(5))}
    return Dataset(ids, {"interact": interact, **relations}, "interact")


def keys(r):
    return set(zip(*r.index.tolist(), strict=True))


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_every_rule_keeps_every_row_once_and_says_what_it_did(rule):
    data = dataset()
    split = rule(data)
    assert split.split == (type(rule).__name__, rule.__dict__)
    parts = [split.train, *split.heldout.values()]
    assert sorted(split.heldout) == (["test", "valid"] if getattr(rule, "valid", True) else ["test"])
    assert sum(map(len, parts)) == len(data.train)
    assert set().union(*map(keys, parts)) == keys(data.train)
    when = dict(zip(zip(*data.train.index.tolist(), strict=True), data.train.time.tolist(), strict=True))
    for r in parts:
        assert [when[pair] for pair in zip(*r.index.tolist(), strict=True)] == r.time.tolist(), (
            "rows keep what is known of them"
        )
    assert len(data.train) == 600 and not data.heldout, "the data set given is left as it was"


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_every_rule_is_deterministic_and_divides_anew(rule):
    data = dataset()
    once = rule(data)
    assert rule(data).fingerprint == once.fingerprint != data.fingerprint
    again = rule(RandomSplit(seed=9)(data))
    assert {p: keys(again.part(p)) for p in ("train", *again.heldout)} == {
        p: keys(once.part(p)) for p in ("train", *once.heldout)
    }


@pytest.mark.parametrize("rule", [RandomSplit(), ColdItems(), ColdUsers()], ids=str)
def test_seeds_differ_and_the_order_of_rows_does_not_matter(rule):
    data = dataset()
    assert keys(replace(rule, seed=1)(data).part("test")) != keys(rule(data).part("test"))
    order = torch.randperm(600)
    shuffled = replace(data, relations={"interact": data.train.keep(order)})
    assert keys(rule(shuffled).part("test")) == keys(rule(data).part("test"))


def test_random_split_takes_its_share_of_every_user():
    split = RandomSplit(0.6, 0.1, 0.3)(dataset())
    for part, each in (("train", 12), ("valid", 2), ("test", 6)):
        assert torch.bincount(split.part(part).index[0], minlength=30).tolist() == [each] * 30


def test_random_split_is_uniform():
    counts = torch.zeros(50)
    for seed in range(40):
        counts += torch.bincount(RandomSplit(0.5, 0.0, 0.5, seed)(dataset()).part("test").index[1], minlength=50)
    chosen = 40 * torch.bincount(dataset().train.index[1], minlength=50)
    share = counts / chosen
    spread = (0.25 / chosen).sqrt()
    assert ((share - 0.5).abs() < 4.5 * spread).all()


def test_random_split_of_users_with_few_pairs():
    sizes = [1, 2, 3, 4, 5, 7, 8, 12]
    index = torch.tensor([(u, i) for u, n in enumerate(sizes * 50) for i in range(n)]).T
    data = Dataset({"user": Ids(np.arange(400)), "item": Ids(np.arange(12))}, {"x": Relation("user", "item", index)}, "x")
    split = RandomSplit()(data)
    held = sum(torch.bincount(r.index[0], minlength=400) for r in split.heldout.values()).view(50, 8)
    assert (held == torch.tensor([0, 0, 1, 1, 1, 1, 2, 2])).all()
    assert (torch.bincount(split.train.index[0], minlength=400) > 0).all()
    assert abs(len(split.part("test")) - len(split.part("valid"))) < 60, "the odd pair goes to either part"


def test_random_split_keeps_repeats_of_a_pair_together():
    index = torch.tensor([[0] * 40, [i // 4 for i in range(40)]])
    data = Dataset({"user": Ids(np.arange(1)), "item": Ids(np.arange(10))}, {"x": Relation("user", "item", index)}, "x")
    split = RandomSplit(0.5, 0.2, 0.3)(data)
    assert {p: len(split.part(p)) for p in ("train", "valid", "test")} == {"train": 20, "valid": 8, "test": 12}
    seen = [keys(split.part(p)) for p in ("train", "valid", "test")]
    assert not seen[0] & seen[1] and not seen[0] & seen[2] and not seen[1] & seen[2]


def test_leave_one_out_by_hand(write):
    rows = {
        "user_id": [1, 1, 2, 1, 3, 2, 1, 4],
        "item_id": [10, 11, 12, 13, 14, 15, 10, 16],
        "timestamp": [4, 3, 9, 2, 1, 9, 5, 1],
    }
    data = hr.load(write(interactions=rows), split=LeaveOneOut())
    assert pairs(data, data.part("test")) == [(1, 10)], "the last; it repeats an earlier pair"
    assert pairs(data, data.part("valid")) == [(1, 10)]
    assert data.part("valid").time.tolist() == [4] and data.part("test").time.tolist() == [5]
    data = hr.load(write(interactions=rows), split=LeaveOneOut(valid=False))
    assert pairs(data, data.part("test")) == [(2, 15), (1, 10)], (
        "of one moment the later row of the file; one row stays in train"
    )
    assert not data.histories().lengths[2:].ne(1).any()


def test_temporal_split_keeps_a_moment_together_and_hides_the_future_of_other_relations(write):
    rows = interactions(users=2, each=5)
    rows["timestamp"] = [1, 2, 3, 4, 5, 6, 7, 7, 7, 8]
    behavior = {name: [*column, *column] for name, column in rows.items()} | {"behavior": ["buy"] * 10 + ["view"] * 10}
    data = hr.load(write(interactions=behavior), split=TemporalSplit(valid=0.2, test=0.2))
    assert data.train.time.tolist() == [1, 2, 3, 4, 5, 6]
    assert data.part("test").time.tolist() == [7, 7, 7, 8], "three rows of moment 7 stay together; none is left for valid"
    assert "valid" not in data.heldout
    assert data.relations["view"].time.tolist() == [1, 2, 3, 4, 5, 6]


def test_cold_items_are_cold_everywhere_but_in_content():
    view = Relation("user", "item", torch.tensor([[0] * 50, list(range(50))]))
    about = Relation(
        "item", "entity", torch.tensor([list(range(50)), [0] * 50]), kinds=("is",), kind=torch.zeros(50, dtype=torch.int64)
    )
    contain = Relation("bundle", "item", view.index)
    data = dataset(view=view, about=about, contain=contain)
    split = ColdItems(valid=0.1, test=0.2)(data)
    tested, validated, trained = (split.part(p).index[1].unique() for p in ("test", "valid", "train"))
    assert (len(tested), len(validated), len(trained)) == (10, 5, 35)
    assert split.cold("test").tolist() == tested.tolist()
    assert len(torch.cat([tested, validated, trained]).unique()) == 50
    assert sorted(split.relations["view"].index[1].tolist()) == trained.tolist()
    assert len(split.relations["about"]) == len(split.relations["contain"]) == 50


def test_cold_users_are_cold_in_their_own_kind_of_item_only():
    view = Relation("user", "item", torch.tensor([list(range(30)), [0] * 30]))
    trust = Relation("user", "user", torch.tensor([list(range(30)), [1] * 30]))
    split = ColdUsers(valid=0.1, test=0.2)(dataset(view=view, trust=trust))
    tested, validated, trained = (split.part(p).index[0].unique() for p in ("test", "valid", "train"))
    assert (len(tested), len(validated), len(trained)) == (6, 3, 21)
    assert split.relations["view"].index[0].tolist() == trained.tolist()
    assert len(split.relations["trust"]) == 30


def test_items_without_a_row_are_not_drawn_as_cold():
    data = dataset(items=50)
    few = replace(data, relations={"interact": data.train.keep(data.train.index[1] < 10)})
    assert len(ColdItems(valid=0.0, test=0.5)(few).part("test").index[1].unique()) == 5


def test_a_rule_must_leave_training_rows():
    one = Dataset(
        {"user": Ids(np.arange(1)), "item": Ids(np.arange(2))}, {"x": Relation("user", "item", torch.tensor([[0], [1]]))}, "x"
    )
    with pytest.raises(DataError, match="ColdUsers leaves no training rows of the 1 rows of 'x'; hold out less"):
        ColdUsers(valid=0.0, test=0.9)(one)


def test_pooled_marks_what_a_part_does_not_know():
    data = dataset()
    half = torch.arange(600) < 300
    known, unknown = data.train.keep(half), replace(data.train.keep(~half), time=None)
    rows = pooled(replace(data, relations={"interact": known}, heldout={"test": unknown}))
    assert rows.time[:300].tolist() == known.time.tolist() and bool(rows.time[300:].isnan().all())
    assert rows.value is None
