"""Relations, ids, parts, and a fingerprint that changes with any row."""

import numpy as np
import pytest
import torch
from folders import divided, interactions

import hybridrec as hr
from hybridrec.data.dataset import Dataset, Ids, Relation
from hybridrec.errors import DataError, QueryError

RELATION = Relation(
    "user",
    "item",
    torch.tensor([[0, 0, 1], [2, 1, 0]]),
    time=torch.tensor([3.0, 1.0, 2.0], dtype=torch.float64),
    kind=torch.tensor([0, 1, 0]),
    value=torch.tensor([5.0, 4.0, 3.0]),
    kinds=("a", "b"),
)


@pytest.mark.parametrize("rows", [torch.tensor([True, False, True]), torch.tensor([2, 0])])
def test_a_relation_keeps_what_is_known_of_its_rows(rows):
    kept = RELATION.keep(rows)
    order = [0, 2] if rows.dtype == torch.bool else [2, 0]
    for name in ("time", "kind", "value"):
        assert getattr(kept, name).tolist() == [getattr(RELATION, name)[i].item() for i in order]
    assert kept.index.T.tolist() == [RELATION.index[:, i].tolist() for i in order]
    assert (kept.source, kept.target, kept.kinds, len(kept)) == ("user", "item", ("a", "b"), 2)


def test_ids_find_and_give_back():
    ids = Ids(["x", "10", "y"])
    assert ids.find(["y", "x"]).tolist() == [2, 0]
    assert ids[torch.tensor([1, 1])] == ["10", "10"]
    assert "10" in ids and 10 not in ids
    numbers = Ids(np.array([7, 5]))
    assert numbers.find(np.array([5])).tolist() == [1] and isinstance(numbers[[0]][0], int)
    with pytest.raises(
        QueryError, match=r"unknown item id: '7'; known ids look like 7, 5\. Ids keep the type they were read with"
    ):
        numbers.find(["7"], "item")


def test_the_goal_must_be_a_relation():
    with pytest.raises(DataError, match=r"goal relation 'buy' is not among \['view'\]"):
        Dataset({"user": Ids([1]), "item": Ids([1])}, {"view": RELATION}, "buy")


def test_parts_and_cold_items():
    def links(*found):
        return Relation("user", "item", torch.tensor(found).T)

    heldout = {"valid": links((0, 3), (1, 0)), "test": links((0, 3), (1, 4), (0, 4), (1, 1))}
    data = Dataset({"user": Ids([1, 2]), "item": Ids(range(6))}, {"x": links((0, 0), (1, 1))}, "x", heldout, name="d")
    assert data.cold("valid").tolist() == [3]
    assert data.cold("test").tolist() == [4], "item 3 is met in valid before"
    assert data.histories("train", "valid").item.tolist() == [0, 3, 1, 0]
    assert data.sides == {"user": 2, "item": 6}
    with pytest.raises(DataError, match=r"data set 'd' has no future rows \(it has train and \['test', 'valid'\]\)"):
        data.part("future")


def test_repr_says_how_much_there_is_of_what():
    data = Dataset(
        {"user": Ids([1, 2]), "item:toys": Ids([1]), "entity": Ids([1])}, {"x": Relation.empty("user", "item:toys")}, "x"
    )
    assert repr(data) == "Dataset(unnamed: 2 users, 1 items of toys, 1 entities; x: 0 train)"


def test_a_schema_rebuilds_the_shape_without_the_rows():
    data = Dataset({"user": Ids("ab"), "item": Ids([7, 8, 9])}, {"x": RELATION}, "x")
    bare = Dataset.from_schema(data.schema)
    assert bare.counts == data.counts and bare.goal == "x" and len(bare.train) == 0 and bare.train.kinds == ("a", "b")
    assert bare.schema == data.schema


FILES = {
    "interactions": interactions(rating=[float(i % 5) for i in range(30)], split=divided()),
    "items": {"item_id": list(range(10, 18)), "title": list("abcdefgh"), "year": [1990 + i for i in range(8)]},
    "users": {"user_id": list(range(1, 7)), "age": [20] * 6},
    "triples": {"head": ["item:10", "item:11"], "relation": ["by", "by"], "tail": ["m", "n"]},
    "social": {"user_id": [1, 2], "friend_id": [2, 3]},
}
CHANGES = {
    "user id": ("interactions", "user_id", 7, 1),
    "item id": ("interactions", "item_id", 0, 77),
    "time": ("interactions", "timestamp", 29, 10_000),
    "rating": ("interactions", "rating", 13, 0.25),
    "split": ("interactions", "split", 0, "valid"),
    "text": ("items", "title", 3, "D"),
    "text to null": ("items", "title", 3, None),
    "number": ("items", "year", 7, 1989),
    "table of users": ("users", "age", 5, 21),
    "triple": ("triples", "tail", 1, "m"),
    "relation of a triple": ("triples", "relation", 1, "from"),
    "friend": ("social", "friend_id", 1, 4),
}


@pytest.mark.parametrize("case", CHANGES)
@pytest.mark.filterwarnings("ignore::hybridrec.errors.DataWarning")
def test_the_fingerprint_changes_with_any_cell(write, case):
    file, column, row, value = CHANGES[case]
    before = hr.load(write(name="before", **FILES)).fingerprint
    changed = {f: {c: list(v) for c, v in columns.items()} for f, columns in FILES.items()}
    assert changed[file][column][row] != value
    changed[file][column][row] = value
    assert hr.load(write(name="after", **changed)).fingerprint != before
    assert hr.load(write(name="again", **FILES)).fingerprint == before


def test_the_fingerprint_changes_with_features_and_with_a_row_more(write):
    folder = write(**FILES)
    before = {hr.load(folder).fingerprint}
    values = np.ones((8, 2), np.float32)
    for values[5, 1] in (1, 1.5):
        np.save(folder / "features_text.npy", values)
        before.add(hr.load(folder).fingerprint)
    rows = {
        name: [*column, extra]
        for (name, column), extra in zip(FILES["interactions"].items(), (1, 99, 5, 1.0, "train"), strict=True)
    }
    rows["item_id"][-1] = next(
        i for i in range(10, 18) if (1, i) not in set(zip(rows["user_id"], rows["item_id"], strict=True))
    )
    before.add(hr.load(write(interactions=rows)).fingerprint)
    assert len(before) == 4
    assert all(len(f) == 32 for f in before)


def test_the_fingerprint_tells_a_held_out_part_from_a_relation_of_that_name():
    ids = {"user": Ids([1, 2]), "item": Ids([1, 2, 3])}
    one = Dataset(ids, {"x": RELATION}, "x", {"test": RELATION})
    two = Dataset(ids, {"x": RELATION, "test": RELATION}, "x")
    assert one.fingerprint != two.fingerprint


def test_the_fingerprint_sees_where_one_id_ends():
    def data(*ids):
        return Dataset({"user": Ids(list(ids)), "item": Ids([1])}, {"x": Relation.empty("user", "item")}, "x").fingerprint

    assert len({data("ab", "c"), data("a", "bc"), data("ab\x1fc"), data("1", "2"), data(1, 2)}) == 5
    assert (
        data("ab", "c")
        == Dataset(
            {"user": Ids(np.array(["ab", "c"], object)), "item": Ids([1])}, {"x": Relation.empty("user", "item")}, "x"
        ).fingerprint
    )
