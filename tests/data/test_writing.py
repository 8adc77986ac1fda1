"""A data set written as a folder is the data set that is read from it."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from folders import divided, interactions

import hybridrec as hr
from hybridrec.data.split import LeaveOneOut, RandomSplit
from hybridrec.data.writing import save_folder
from hybridrec.errors import DataError

SCENARIOS = {
    "general": {"interactions": interactions(rating=[0.5] * 30, split=divided())},
    "social": {"interactions": interactions(split=divided()), "social": {"user_id": [1, 9], "friend_id": [2, 1]}},
    "knowledge": {
        "interactions": interactions(split=divided()),
        "triples": {"head": ["item:10", "m", "item:11"], "relation": ["b", "a", "a"], "tail": ["m", "item:12", "n"]},
    },
    "bundle": {
        "bundles": {"bundle_id": ["p", "q"], "item_id": [1, 2]},
        "user_bundles": {"user_id": [1, 1], "bundle_id": ["p", "q"], "split": ["train", "test"]},
        "bundle_texts": {"bundle_id": ["q", "p"], "intent": ["a", None]},
    },
    "group": {
        "interactions": {"user_id": [1], "item_id": [5]},
        "groups": {"group_id": [1], "user_id": [1]},
        "group_interactions": {"group_id": [1, 1], "item_id": [5, 6], "split": ["train", "test"]},
    },
    "behaviours": {"interactions": interactions(behavior=["view", "buy", "cart", "buy", "buy"] * 6, split=divided())},
    "domains": {
        "interactions": {
            "user_id": [1] * 4,
            "item_id": [1, 2, 1, 3],
            "domain": list("aabb"),
            "split": ["train", "test", "train", "train"],
        },
        "items": {"item_id": [2, 1, 3, 1], "domain": list("aabb"), "title": list("wxyz")},
    },
    "text": {
        "interactions": interactions(split=divided()),
        "items": {"item_id": list(range(17, 9, -1)), "title": list("abcdefgh"), "tags": [["x", "y"]] * 8},
        "users": {"user_id": list(range(1, 7)), "age": [None, *[3] * 5]},
    },
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_what_is_written_is_what_was_loaded(write, tmp_path, name):
    data = hr.load(write(name=name, **SCENARIOS[name]))
    again = hr.load(save_folder(data, tmp_path / "again"), goal=data.goal)
    assert again.fingerprint == data.fingerprint
    assert repr(again).removeprefix("Dataset(again") == repr(data).removeprefix(f"Dataset({name}")


def test_features_are_written(write, tmp_path):
    folder = write(interactions=interactions(split=divided()))
    np.save(folder / "features_image.npy", np.arange(6.0).reshape(3, 2))
    np.save(folder / "features_image_item_ids.npy", np.array([12, 10, 17]))
    data = hr.load(folder)
    assert hr.load(save_folder(data, tmp_path / "again")).fingerprint == data.fingerprint


@pytest.mark.parametrize("rule", [RandomSplit(seed=4), LeaveOneOut()], ids=str)
def test_a_split_that_was_drawn_is_given_from_then_on(write, tmp_path, rule):
    data = hr.load(write(interactions=interactions(rating=[1.0] * 30)), split=rule)
    again = hr.load(save_folder(data, tmp_path / "again"))
    assert again.fingerprint == data.fingerprint and again.split.name == "given"


def test_the_card_names_what_is_there(write, tmp_path):
    tables = {"interactions": pa.table(interactions()), "items": pa.table({"item_id": [10], "title": ["a"]})}
    folder = save_folder(tables, tmp_path / "set", title="A set", about="From nowhere.", licence="mit")
    card = (folder / "README.md").read_text()
    assert card.startswith("---\npretty_name: A set\nlicense: mit\n")
    assert "- config_name: interactions\n  data_files: interactions.parquet" in card
    assert "From nowhere." in card and "- items.parquet: 1 rows; item_id, title" in card
    assert pq.ParquetFile(folder / "interactions.parquet").metadata.row_group(0).column(0).compression == "ZSTD"


def test_nothing_is_overwritten_or_left_behind(tmp_path):
    tables = {"interactions": pa.table(interactions())}
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "note.txt").write_text("mine")
    with pytest.raises(DataError, match="is there already and not empty"):
        save_folder(tables, tmp_path / "full")
    with pytest.raises(DataError, match="no file of the format is called 'ratings'; wanted interactions, "):
        save_folder({"ratings": tables["interactions"]}, tmp_path / "new")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["full"]
    (tmp_path / "empty").mkdir()
    assert (save_folder(tables, tmp_path / "empty") / "interactions.parquet").exists()
