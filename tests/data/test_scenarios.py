"""One small folder of each of the nine scenarios is read as the relations the design names."""

import logging
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
import torch
from folders import divided, interactions, pairs

import hybridrec as hr
from hybridrec.data.split import RandomSplit
from hybridrec.errors import DataError, DataWarning


def test_general(write):
    rows = interactions(rating=[float(i % 5) for i in range(30)], split=divided())
    data = hr.load(write(interactions=rows))
    assert (data.goal, data.name, data.split.name, data.split.arguments) == ("interact", "small", "given", {})
    assert data.counts == {"user": 6, "item": 8}
    for part, relation in (("train", data.train), ("valid", data.part("valid")), ("test", data.part("test"))):
        wanted = [i for i in range(30) if rows["split"][i] == part]
        assert pairs(data, relation) == [(rows["user_id"][i], rows["item_id"][i]) for i in wanted]
        assert relation.time.tolist() == [rows["timestamp"][i] for i in wanted]
        assert relation.value.tolist() == [rows["rating"][i] for i in wanted]


def test_sequential_histories_follow_time_not_the_file(write):
    rows = {
        "user_id": ["b", "a", "a", "b", "a", "a"],
        "item_id": ["x", "y", "x", "z", "z", "w"],
        "timestamp": [5.0, 3.0, 1.0, 4.0, 2.0, 9.0],
        "split": ["train", "train", "train", "train", "train", "test"],
    }
    data = hr.load(write(interactions=rows))
    history = data.histories()
    assert data.ids["user"][[0, 1]] == ["a", "b"]
    assert data.ids["item"][history.item] == ["x", "z", "y", "z", "x"]
    assert history.offset.tolist() == [0, 3, 5]
    assert data.ids["item"][data.histories("train", "test").item] == ["x", "z", "y", "w", "z", "x"]


def test_social(write):
    folder = write(interactions=interactions(), social={"user_id": [1, 2, 99], "friend_id": [2, 1, 1]})
    data = hr.load(folder)
    assert pairs(data, data.relations["trust"]) == [(1, 2), (2, 1), (99, 1)]
    assert data.ids["user"][list(range(7))] == [1, 2, 3, 4, 5, 6, 99]
    assert (data.source, data.target) == ("user", "item")


def test_knowledge(write):
    triples = {
        "head": ["item:10", "item:11", "m.1", "user:3", "m.1", "item:10", "item:777"],
        "relation": ["by", "by", "made", "likes", "knows", "like", "by"],
        "tail": ["m.1", "m.2", "item:12", "m.2", "m.2", "item:11", "m.1"],
    }
    data = hr.load(write(interactions=interactions(), triples=triples))
    found = {name: pairs(data, r) for name, r in data.relations.items() if r.kinds}
    assert found == {
        "item_item": [(10, 11)],
        "about": [(10, "m.1"), (11, "m.2")],
        "user_entity": [(3, "m.2")],
        "entity_item": [("m.1", 12)],
        "entity_entity": [("m.1", "m.2"), ("item:777", "m.1")],
    }
    about = data.relations["about"]
    assert about.kinds == ("by", "knows", "like", "likes", "made")
    assert [about.kinds[k] for k in about.kind] == ["by", "by"]
    assert 777 not in data.ids["item"]
    assert data.graph("interact", "about").nodes == sum(data.counts.values())


def test_bundle(write):
    data = hr.load(
        write(
            interactions=interactions(),
            bundles={"bundle_id": ["p", "p", "q"], "item_id": [10, 500, 11]},
            user_bundles={"user_id": [1, 2, 1], "bundle_id": ["p", "q", "q"], "split": ["train", "train", "test"]},
            bundle_texts={"bundle_id": ["q", "p"], "intent": ["a picnic", "a party"]},
        )
    )
    assert (data.goal, data.source, data.target) == ("take", "user", "bundle")
    assert data.ids["bundle"][[0, 1]] == ["q", "p"]
    assert data.tables["bundle"]["intent"].to_pylist() == ["a picnic", "a party"]
    assert pairs(data, data.relations["contain"]) == [("p", 10), ("p", 500), ("q", 11)]
    assert pairs(data, data.train) == [(1, "p"), (2, "q")]
    assert pairs(data, data.part("test")) == [(1, "q")]
    assert len(data.relations["interact"]) == 30


def test_group(write, caplog):
    caplog.set_level(logging.INFO, "hybridrec")
    data = hr.load(
        write(
            interactions=interactions(split=divided()),
            groups={"group_id": [7, 7, 8], "user_id": [1, 2, 50]},
            group_interactions={"group_id": [7, 8, 7], "item_id": [10, 11, 12], "split": ["train", "train", "test"]},
        )
    )
    assert (data.goal, data.source, data.target) == ("choose", "group", "item")
    assert pairs(data, data.relations["member"]) == [(7, 1), (7, 2), (8, 50)]
    assert len(data.relations["interact"]) == 18, "held-out rows of another relation are no training rows"
    assert "12 held-out rows of 'interact' left out (the goal is 'choose')" in caplog.text
    assert data.sides == {"user": 2, "item": data.counts["item"]}


@pytest.mark.parametrize("goal", [None, "cart"])
def test_multi_behaviour(write, goal, caplog):
    caplog.set_level(logging.INFO, "hybridrec")
    behavior = ["view", "cart", "buy", "view", "buy"] * 6
    split = ["train", "train", "train", "train", "test"] * 6
    folder = write(interactions=interactions(behavior=behavior, split=split))
    if goal == "cart":
        with pytest.raises(DataError, match=r"'cart' has no valid or test rows; give load\(\.\.\., split=\.\.\.\) a rule"):
            hr.load(folder, goal=goal)
        data = hr.load(folder, goal=goal, split=RandomSplit(0.5, 0.0, 0.5))
        assert data.goal == "cart"
        return
    data = hr.load(folder)
    assert data.goal == "buy"
    assert {name: len(r) for name, r in data.relations.items()} == {"buy": 6, "cart": 6, "view": 12}
    assert len(data.part("test")) == 6
    assert {r.target for r in data.relations.values()} == {"item"}
    assert "the goal is 'buy'; load(..., goal=...) takes any of buy, cart, view" in caplog.text


@pytest.mark.parametrize(("goal", "items"), [(None, [11, 13]), ("books", [11, 13]), ("films", [11, 12])])
def test_cross_domain(write, goal, items):
    data = hr.load(
        write(
            interactions={
                "user_id": [1, 1, 2, 2, 1, 2],
                "item_id": [11, 11, 13, 12, 12, 11],
                "domain": ["books", "films", "books", "films", "films", "books"],
                "split": ["train", "train", "train", "train", "test", "test"],
            },
            items={"item_id": [11, 13, 12, 11], "domain": ["books", "books", "films", "films"], "title": list("abcd")},
        ),
        goal=goal,
    )
    goal = goal or "books"
    assert (data.goal, data.target) == (goal, f"item:{goal}")
    assert sorted(data.ids[data.target].values.tolist()) == items
    assert data.counts == {"user": 2, "item:books": 2, "item:films": 2}
    assert data.tables["item:films"]["title"].to_pylist() == ["c", "d"]
    other = ({"books", "films"} - {goal}).pop()
    assert len(data.relations[other]) == {"books": 2, "films": 2}[other]
    assert len(data.part("test")) == 1


def test_cross_domain_items_without_a_domain_column_belong_where_they_are_met(write):
    rows = {
        "user_id": [1, 2, 1, 2],
        "item_id": ["a", "b", "c", "c"],
        "domain": ["x", "x", "y", "y"],
        "split": ["train", "test"] * 2,
    }
    data = hr.load(write(interactions=rows, items={"item_id": ["c", "b", "a"], "title": ["C", "B", "A"]}))
    assert data.tables["item:x"]["title"].to_pylist() == ["B", "A"]
    assert data.tables["item:y"]["title"].to_pylist() == ["C"]


def test_multi_modal(write):
    folder = write(interactions=interactions(), items={"item_id": list(range(17, 9, -1)), "title": list("abcdefgh")})
    text, image = np.arange(16.0).reshape(8, 2), np.arange(6, dtype=np.float16).reshape(2, 3)
    np.save(folder / "features_text.npy", text)
    np.save(folder / "features_image.npy", image)
    np.save(folder / "features_image_item_ids.npy", np.array([12, 10]))
    features = hr.load(folder).features["item"]
    assert sorted(features) == ["image", "text"]
    assert torch.equal(features["text"].values, torch.arange(16.0).view(8, 2)) and bool(features["text"].known.all())
    assert features["image"].known.tolist() == [False] * 5 + [True, False, True]  # items go from 17 down to 10
    assert features["image"].values[7].tolist() == [3, 4, 5] and features["image"].values[5].tolist() == [0, 1, 2]
    assert not features["image"].values[:5].any()


def test_tables_come_first_and_ids_met_elsewhere_have_a_row_of_nulls(write):
    folder = write(interactions=interactions(), items={"item_id": [17, 300, 12], "title": ["q", "never met", "l"]})
    with pytest.warns(DataWarning, match=r"6 of 9 ids of item have no row in .*items\.parquet \(one is 10\)"):
        data = hr.load(folder)
    assert data.ids["item"].values.tolist() == [17, 300, 12, 10, 11, 13, 14, 15, 16]
    assert data.tables["item"]["item_id"].to_pylist() == data.ids["item"].values.tolist()
    assert data.tables["item"]["title"].to_pylist() == ["q", "never met", "l", *[None] * 6]


def test_without_a_split_column_every_user_is_divided_at_random(write):
    data = hr.load(write(interactions=interactions(users=40, items=30, each=20)))
    assert data.split == ("RandomSplit", {"train": 0.8, "valid": 0.1, "test": 0.1, "seed": 0})
    for part, each in (("train", 16), ("valid", 2), ("test", 2)):
        assert torch.bincount(data.part(part).index[0]).tolist() == [each] * 40


def test_a_rule_replaces_the_given_split_everywhere(write):
    folder = write(
        interactions=interactions(split=divided()),
        groups={"group_id": [7], "user_id": [1]},
        group_interactions={"group_id": [7] * 10, "item_id": list(range(10, 20)), "split": ["test", *["train"] * 9]},
    )
    data = hr.load(folder, split=RandomSplit())
    assert {name: len(r) for name, r in data.relations.items()} == {"interact": 30, "member": 1, "choose": 8}


def test_ids_are_given_back_as_they_came(write):
    data = hr.load(
        write(interactions={"user_id": ["01", "1"] * 3, "item_id": [5, -1, 2**40, 5, -1, 7]}), split=RandomSplit(0.5, 0, 0.5)
    )
    assert data.ids["user"][[0, 1]] == ["01", "1"]
    assert data.ids["item"].values.tolist() == [-1, 5, 7, 2**40]
    assert data.ids["item"].find([2**40]).tolist() == [3]


def test_times_of_any_kind_are_seconds(write):
    moments = [datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 1, 1, 12, 30, tzinfo=UTC)]
    seconds = [m.timestamp() for m in moments]
    columns = {
        "integers": pa.array([int(s) for s in seconds]),
        "floats": pa.array(seconds),
        "timestamps": pa.array(moments, pa.timestamp("ms", "UTC")),
        "naive": pa.array([m.replace(tzinfo=None) for m in moments], pa.timestamp("us")),
        "iso": pa.array(["2020-01-01", "2020-01-01T12:30:00"]),
        "zoned": pa.array(["2020-01-01T01:00:00+01:00", "2020-01-01T12:30:00Z"]),
        "numerals": pa.array([str(int(s)) for s in seconds]),
    }
    for name, column in columns.items():
        rows = pa.table({"user_id": [1, 1], "item_id": [1, 2], "timestamp": column, "split": ["train", "test"]})
        data = hr.load(write(name=name, interactions=rows))
        assert [data.train.time.item(), data.part("test").time.item()] == seconds, name


def test_times_unknown_in_a_whole_part_are_none_and_in_some_rows_the_latest(write):
    rows = interactions(split=divided())
    rows["timestamp"] = [None if s == "test" else t for s, t in zip(rows["split"], rows["timestamp"], strict=True)]
    data = hr.load(write(interactions=rows))
    assert data.part("test").time is None and data.train.time is not None
    rows["timestamp"][0] = None
    with pytest.warns(DataWarning, match="1 of 18 rows of 'interact' have no timestamp; they count as the latest"):
        data = hr.load(write(name="some", interactions=rows))
    assert data.histories().item[2] == data.train.index[1, 0], "the first row of user 1 comes last"


def test_goal_must_be_there(write):
    with pytest.raises(DataError, match="no relation 'buy' to be the goal; name one of interact"):
        hr.load(write(interactions=interactions()), goal="buy")
