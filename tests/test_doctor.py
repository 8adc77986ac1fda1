"""The data doctor: numbers against hand-worked ones, every complaint on a folder made to have it, and refused folders."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from folders import divided, interactions, write_file

import hybridrec as hr
from hybridrec.doctor import examine
from hybridrec.doctor.page import page
from hybridrec.errors import DataError

RECIPE = Path(__file__).parents[1] / "recipes" / "doctor.py"


def folder(path, kind="parquet", **files):
    for stem, columns in files.items():
        write_file(path, stem, columns, kind)
    return path


def told(checkup, check):
    """What one check found, as text."""
    return [f.found for f in checkup.findings if f.check == check]


SMALL = {  # worked out by hand below
    "user_id": ["a", "a", "a", "a", "b", "b", "b", "c"],
    "item_id": [1, 2, 3, 1, 1, 2, 4, 1],
    "timestamp": [1, 2, 2, 5, 1, 9, 3, 1],
    "split": ["train", "train", "valid", "test", "train", "train", "test", "train"],
}


def test_statistics_worked_out_by_hand(tmp_path):
    checkup = examine(folder(tmp_path / "small", interactions=SMALL))
    numbers = checkup.relations["interact"]
    assert (numbers["rows"], numbers["sources"], numbers["targets"]) == (8, 3, 4)
    assert (numbers["pairs"], numbers["repeats"]) == (7, 1)
    assert numbers["density"] == pytest.approx(7 / 12)
    assert numbers["rows_of_a_source"] == {"least": 1, "median": 3, "most": 4}
    # Items have 1, 1, 2, 4 rows: Gini = ((-3) 1 + (-1) 1 + 1 * 2 + 3 * 4) / (4 * 8) = 10 / 32. The head is one item of four.
    assert numbers["popularity"] == {"gini": pytest.approx(10 / 32), "head_share": 0.5, "few": 1.0}
    assert numbers["parts"] == {"train": 5, "valid": 1, "test": 2}
    assert numbers["time"] == {"first": 1, "last": 9, "unknown": 0, "ties": 2 / 8}  # a's rows 2 and 3
    assert checkup.refusal is None and checkup.goal == "interact"
    assert told(checkup, "leakage") == [
        "1 of 2 test rows repeat a pair that is in train",  # (a, 1), at a later time, so that it loads
        "50% of test rows are older than the same user's last train row",  # (b, 4) at 3, b's last is 9
    ]
    assert told(checkup, "cold") == [
        "1 items of valid have no train row (100.0% of its rows)",
        "1 items of test have no train row (50.0% of its rows)",
    ]
    assert told(checkup, "loading")[0].endswith("later time (as row 4)")
    assert checkup.verdict.startswith("loads, with care")


def test_a_sound_folder_has_no_complaint(tmp_path):
    rows = interactions(users=40, items=30, each=20, split=divided(40, 20))
    items = {"item_id": list(range(10, 40)), "title": [f"film {i}" for i in range(30)]}
    checkup = examine(folder(tmp_path / "sound", interactions=rows, items=items))
    assert checkup.findings == []
    assert checkup.verdict == "sound: nothing found"
    assert checkup.tables["item"]["columns"]["title"] == {"coverage": 1.0, "median_characters": 7.0}


@pytest.mark.parametrize(
    ("change", "check", "said"),
    [
        ({"timestamp": [1] * 30}, "time", "every row is of the same moment"),
        ({"timestamp": [*range(29), 2_000_000_000_000]}, "time", "the last time is 2e+12, which as seconds lies after"),
        ({"timestamp": [-5, *range(29)]}, "time", "the first time is -5, before 1970"),
        ({"timestamp": [None, *range(29)]}, "time", "1 rows have no timestamp"),
        ({"timestamp": [None] * 30}, "time", "no row has a timestamp that can be read"),
        ({"user_id": list(range(30))}, "sparsity", "half of the users have at most 1 rows"),
        ({"item_id": [10] * 15 + [11] * 15, "timestamp": [7] * 30}, "duplicates", "24 rows are there twice, alike in all"),
        ({"item_id": [10] * 15 + [11] * 15}, "duplicates", "24 rows repeat a pair of ids at another time"),
        ({"item_id": [10] * 26 + [11, 12, 13, 14]}, "popularity", "80% of items have fewer than 5 rows"),
    ],
)
def test_each_complaint(tmp_path, change, check, said):
    checkup = examine(folder(tmp_path / "f", interactions=interactions() | change))
    assert any(found.startswith(said) for found in told(checkup, check)), checkup.findings
    assert all(f.remedy for f in checkup.findings)


@pytest.mark.parametrize(
    ("change", "check", "said"),
    [
        ({"item_id": [None, *range(10, 39)]}, "ids", "column 'item_id': 1 rows have no id, the first is row 1"),
        ({"user_id": [True] * 30}, "loading", "refused: "),
        ({"split": ["dev", *divided()[1:]]}, "split", "column 'split': 1 rows are in no part, as row 1: 'dev'"),
        ({"split": [0.5] * 30}, "split", "column 'split': cells are double"),
        ({"rating": [-1.0] * 30}, "loading", "refused: "),
        ({"timestamp": [*["2020-01-01"] * 29, "yesterday"]}, "time", "1 rows have no timestamp"),
        ({"behavior": ["buy", None] * 15}, "loading", "refused: "),
        ({"split": ["test"] * 30}, "split", "no row is marked train"),
    ],
)
def test_a_refused_folder_is_examined_all_the_same(tmp_path, change, check, said):
    path = folder(tmp_path / "f", interactions=interactions() | change)
    with pytest.raises(DataError) as refusal:
        hr.load(path)
    checkup = examine(path)
    assert checkup.refusal == str(refusal.value)
    assert any(found.startswith(said) for found in told(checkup, check)), checkup.findings
    assert checkup.relations["interact"]["rows"] == 30
    assert checkup.verdict.startswith("cannot be loaded as it is: ")
    json.dumps(checkup.as_dict(), allow_nan=False)
    assert "verdict: cannot be loaded" in page(checkup)


def test_files_that_cannot_be_read_leave_the_others(tmp_path):
    path = folder(tmp_path / "f", interactions=interactions(), items={"item_id": [1, 1], "title": ["x", None]})
    (path / "users.parquet").write_bytes(b"PAR1 and no more")
    (path / "social.csv").write_text("user_id,friend_id\n1,2\n3\n")
    checkup = examine(path)
    assert "social.csv: row 2" in checkup.refusal  # and is not told again
    (said,) = told(checkup, "reading")
    assert "users.parquet: not a whole parquet file" in said
    assert told(checkup, "text") == ["8 items that have links have no row", "50.0% of items have no text in any column"]
    assert told(checkup, "table") == ["1 rows have an id that is there already"]
    assert checkup.relations["interact"]["rows"] == 30


def test_texts_links_and_relations(tmp_path):
    rows = {
        "user_id": [1, 1, 2, 2, 1, 2],
        "item_id": [10, 11, 10, 12, 12, 11],
        "behavior": ["view", "view", "buy", "buy", "buy", "view"],
        "split": ["train", "train", "train", "train", "test", "train"],
    }
    rows["item_id"][4] = 11  # 1 viewed 11 in training, and is to buy it
    items = {"item_id": [10, 11, 12, 13, 14], "title": ["a", "a", "", None, " "], "year": [1, 2, 3, 4, 5]}
    social = {"user_id": [1, 2], "friend_id": [1, 1]}
    checkup = examine(folder(tmp_path / "f", interactions=rows, items=items, social=social))
    assert checkup.goal == "buy" and set(checkup.relations) == {"view", "buy", "trust"}
    assert "100% of held-out pairs are also in 'view'" in told(checkup, "leakage")
    assert "1 links from an entity to itself" in told(checkup, "duplicates")
    assert "1 items have the same text as another" in told(checkup, "duplicates")
    assert told(checkup, "text") == ["60.0% of items have no text in any column"]
    assert told(checkup, "cold") == [
        "1 users of test have no train row (100.0% of its rows)",
        "1 items of test have no train row (100.0% of its rows)",
        "2 items have no link at all",
    ]
    assert list(checkup.tables["item"]["columns"]) == ["title"]


def test_domains_and_csv(tmp_path):
    rows = interactions(domain=["books", "films"] * 15)
    checkup = examine(folder(tmp_path / "f", "csv", interactions=rows))
    assert {name: (x["rows"], x["target"]) for name, x in checkup.relations.items()} == {
        "books": (15, "item:books"),
        "films": (15, "item:films"),
    }


def test_the_recipe_prints_and_writes_json(tmp_path):
    good = folder(tmp_path / "good", interactions=interactions())
    bad = folder(tmp_path / "bad", interactions=interactions(rating=[np.inf] * 30))
    for path, status in ((good, 0), (bad, 1)):
        out = tmp_path / f"{path.name}.json"
        done = subprocess.run([sys.executable, RECIPE, path, "--json", out], capture_output=True, text=True, check=False)
        assert done.returncode == status and not done.stderr, done.stderr
        found = json.loads(out.read_text())
        assert found["loads"] is (status == 0)
        assert f"verdict: {found['verdict']}" in done.stdout
    done = subprocess.run([sys.executable, RECIPE, tmp_path / "none"], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stderr.startswith("error: no data set") and done.stderr.count("\n") == 1
