"""Bad input gets one error that names the file, the column, the row and a remedy."""

import re

import numpy as np
import pyarrow as pa
import pytest
from folders import divided, interactions

import hybridrec as hr
from hybridrec.data.split import LeaveOneOut, RandomSplit, TemporalSplit, WithoutOverlap
from hybridrec.errors import DataError, DataWarning


def with_cell(column, row, value, **more):
    """``interactions`` with one cell replaced; ``row`` is counted from 1."""
    rows = interactions(**more)
    rows.setdefault(column, [1.0] * len(rows["user_id"]))
    rows[column] = list(rows[column])
    rows[column][row - 1] = value
    return rows


def renamed(old, new):
    return {new if name == old else name: column for name, column in interactions().items()}


BAD = {
    "missing column, guessed by use": (
        renamed("item_id", "asin"),
        r"interactions\.parquet: no column 'item_id' \(it has user_id, asin, timestamp\); rename 'asin' to 'item_id'\?",
    ),
    "missing column, guessed by spelling": (
        renamed("user_id", "usr_id"),
        r"no column 'user_id' .*; rename 'usr_id' to 'user_id'\?",
    ),
    "missing column, no guess": (
        renamed("user_id", "q"),
        r"no column 'user_id' .*; add it, or rename the column that holds it",
    ),
    "ids of a wrong type": (
        interactions() | {"item_id": [i + 0.5 for i in range(30)]},
        r"interactions\.parquet, column 'item_id': ids are double, wanted integers or strings; cast the column",
    ),
    "ids too large": (
        interactions() | {"item_id": pa.array([2**64 - 1] * 30, pa.uint64())},
        r"'item_id': an id does not fit 64 bits",
    ),
    "null id": (with_cell("user_id", 9, None), r"interactions\.parquet, column 'user_id', row 9: no id; drop the row"),
    "empty id": (interactions() | {"item_id": [*"abcdefghij", "", *"abcdefghijklmnopqrs"]}, r"column 'item_id', row 11: no id"),
    "negative rating": (
        with_cell("rating", 12, -1.0),
        r"column 'rating', row 12: rating -1, wanted a finite number of at least 0",
    ),
    "infinite rating": (with_cell("rating", 30, float("inf")), r"column 'rating', row 30: rating inf"),
    "rating that is no number": (with_cell("rating", 3, float("nan")), r"column 'rating', row 3: no rating"),
    "null rating": (with_cell("rating", 8, None), r"column 'rating', row 8: no rating"),
    "rating of a wrong type": (
        interactions(rating=["good"] * 30),
        r"column 'rating': ratings are string, wanted numbers; cast",
    ),
    "unparsable timestamp": (
        interactions() | {"timestamp": [*["2020-01-01"] * 10, "yesterday", *["2020-01-01"] * 19]},
        r"column 'timestamp', row 11: 'yesterday'; wanted a number or an ISO 8601 date and time",
    ),
    "infinite timestamp": (with_cell("timestamp", 4, float("inf")), r"column 'timestamp', row 4: infinite timestamp"),
    "timestamp of a wrong type": (
        interactions() | {"timestamp": [True] * 30},
        r"column 'timestamp': timestamps are bool, wanted",
    ),
    "unknown split value": (
        interactions(split=[*divided()[:-1], "dev"]),
        r"column 'split', row 30: unknown split 'dev'; write train, valid or test in every row",
    ),
    "null split value": (
        interactions(split=[*divided()[:4], None, *divided()[5:]]),
        r"column 'split', row 5: no value; write train",
    ),
    "split of a wrong type": (interactions(split=[0.5] * 30), r"column 'split': cells are double, wanted strings"),
    "empty train": (
        interactions(split=["test"] * 30),
        r"column 'split': no row is 'train' \(there is test\); mark some rows so, or",
    ),
    "empty test": (interactions(split=["train"] * 30), r"column 'split': no row is 'test' or 'valid' \(there is train\)"),
    "no rows": (pa.table({"user_id": pa.array([], pa.int64()), "item_id": pa.array([], pa.int64())}), "no rows; add some"),
    "null behaviour": (
        interactions(behavior=["buy", None] * 15),
        r"column 'behavior', row 2: no value; name the behavior in every row",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_cells_and_columns(write, case):
    rows, message = BAD[case]
    with pytest.raises(DataError, match=message) as error:
        hr.load(write(interactions=rows))
    assert "interactions.parquet" in str(error.value)


def test_row_numbers_hold_across_row_groups(write):
    rows = with_cell("rating", 1234, -0.5, users=100, items=40, each=20)
    with pytest.raises(DataError, match=r"row 1234: rating -0\.5"):
        hr.load(write(interactions=rows))


@pytest.mark.parametrize(("file", "column"), [("items", "item_id"), ("users", "user_id")])
def test_duplicate_ids_in_a_table(write, file, column):
    with pytest.raises(DataError, match=rf"{file}\.parquet, column '{column}', row 3: 1 is there twice; keep one row an id"):
        hr.load(write(interactions=interactions(), **{file: {column: [1, 2, 1, 2], "text": list("abcd")}}))


def test_duplicate_ids_within_a_domain(write):
    rows = {"user_id": [1, 2, 1, 2], "item_id": [10, 10, 11, 10], "domain": ["x", "y"] * 2}
    items = {"item_id": [10, 10, 11, 10], "domain": ["x", "y", "x", "y"]}
    with pytest.raises(DataError, match=r"items\.parquet, column 'item_id', row 4: 10 is there twice"):
        hr.load(write(interactions=rows, items=items))


def test_a_table_without_its_id(write):
    with pytest.raises(DataError, match=r"items\.parquet: no column 'item_id' \(it has movieId, title\); rename 'movieId'"):
        hr.load(write(interactions=interactions(), items={"movieId": [1], "title": ["a"]}))


def test_ids_written_differently_in_two_files(write):
    with pytest.raises(
        DataError, match=r"item ids are (large_string|int64) in .* and (large_string|int64) in .*: write both alike"
    ):
        hr.load(write(interactions=interactions(), items={"item_id": [str(i) for i in range(10, 18)]}))


OVERLAP = {
    "user_id": [1, 1, 2, 1, 2, 1, 1],
    "item_id": [5, 6, 5, 5, 7, 5, 6],
    "split": ["train", "train", "train", "train", "valid", "test", "test"],
}


def test_overlap_of_a_given_split_names_the_rows(write):
    rows = r"rows 4 \(train\) and 6 \(test\), 2 \(train\) and 7 \(test\)"
    with pytest.raises(DataError, match=rf"interactions\.parquet, column 'split': 2 pairs of ids lie in two parts, {rows};"):
        hr.load(write(interactions=OVERLAP))


def test_overlap_between_valid_and_test(write):
    rows = {"user_id": [1, 1, 1], "item_id": [5, 6, 6], "split": ["train", "valid", "test"]}
    with pytest.raises(
        DataError, match=r"1 pairs of ids lie in two parts, rows 2 \(valid\) and 3 \(test\); keep each pair in one part"
    ):
        hr.load(write(interactions=rows))


def test_overlap_names_rows_of_the_file_when_the_goal_is_one_behaviour_of_many(write):
    rows = {
        "user_id": [1, 1, 1, 1],
        "item_id": [5, 5, 6, 5],
        "behavior": ["view", "buy", "buy", "buy"],
        "split": ["train", "train", "train", "test"],
    }
    with pytest.raises(DataError, match=r"rows 2 \(train\) and 4 \(test\)"):
        hr.load(write(interactions=rows))


def test_a_later_repeat_is_told_and_kept(write):
    rows = OVERLAP | {"timestamp": [1, 2, 3, 4, 5, 6, 7]}
    with pytest.warns(DataWarning, match=r"2 held-out rows repeat a pair of an earlier part at a later time \(as row 6\)"):
        data = hr.load(write(interactions=rows))
    assert len(data.part("test")) == 2
    for time in (4, 3):  # the same moment as its training row, or before it
        rows["timestamp"][5] = time
        with pytest.raises(DataError, match=r"1 pairs of ids lie in two parts, rows 4 \(train\) and 6 \(test\)"):
            hr.load(write(name=str(time), interactions=rows))


def test_overlap_left_out_on_request(write):
    rows = {name: [*column, extra] for (name, column), extra in zip(OVERLAP.items(), (2, 6, "test"), strict=True)}
    data = hr.load(write(interactions=rows), split=WithoutOverlap())
    assert {p: len(r) for p, r in data.heldout.items()} == {"valid": 1, "test": 1}
    assert data.split.name == "WithoutOverlap"
    with pytest.raises(DataError, match="every held-out pair of 'interact' lies in an earlier part"):
        hr.load(
            write(name="all", interactions={"user_id": [1, 1], "item_id": [1, 1], "split": ["train", "test"]}),
            split=WithoutOverlap(),
        )
    with pytest.raises(DataError, match="WithoutOverlap needs a 'split' column for 'interact'"):
        hr.load(write(name="none", interactions=interactions()), split=WithoutOverlap())


def test_repeats_inside_train_are_fine(write):
    rows = {"user_id": [1, 1, 1], "item_id": [5, 5, 6], "split": ["train", "train", "test"]}
    assert len(hr.load(write(interactions=rows)).train) == 2


@pytest.mark.parametrize(
    ("values", "ids", "message"),
    [
        (np.zeros((7, 2)), None, r"features_text\.npy: 7 rows, but .*items\.parquet has 8; they must go row by row"),
        (np.zeros((7, 2)), np.arange(8), r"features_text\.npy: 7 rows, but .*features_text_item_ids\.npy has 8"),
        (np.zeros(8), None, r"features_text\.npy: float64 of shape \(8,\), wanted numbers of shape \(items, width\)"),
        (np.full((8, 2), np.nan), None, r"features_text\.npy, row 1: not finite"),
        (np.zeros((2, 2)), np.array([10, 10]), r"features_text_item_ids\.npy: an item has two rows"),
        (np.zeros((2, 2)), np.zeros((2, 1)), r"features_text_item_ids\.npy: float64 of shape \(2, 1\), wanted a list"),
        (np.array([{}], object), None, r"features_text\.npy: not a whole array"),
    ],
)
def test_bad_features(write, values, ids, message):
    folder = write(interactions=interactions(), items={"item_id": list(range(10, 18))})
    np.save(folder / "features_text.npy", values, allow_pickle=True)
    if ids is not None:
        np.save(folder / "features_text_item_ids.npy", ids)
    with pytest.raises(DataError, match=message):
        hr.load(folder)


def test_features_that_belong_to_nobody(write):
    folder = write(interactions=interactions())
    np.save(folder / "features_text.npy", np.zeros((8, 2)))
    with pytest.raises(
        DataError, match=r"nothing says whose rows these are; add items\.parquet .* or features_text_item_ids\.npy"
    ):
        hr.load(folder)
    np.save(folder / "features_text_item_ids.npy", np.arange(10, 18) + 1)
    with pytest.warns(DataWarning, match=r"1 of 8 rows are of items the data set does not have \(as 18\); they are left out"):
        assert hr.load(folder).features["item"]["text"].known.sum() == 7


@pytest.mark.parametrize("cut", ["head", "middle", "nothing"])
def test_corrupt_parquet(write, cut):
    rows = interactions(users=300, items=500, each=40)
    folder = write(interactions=rows)
    path = folder / "interactions.parquet"
    whole = path.read_bytes()
    broken = {"head": whole[:100], "middle": whole[:200] + bytes(2000) + whole[2200:], "nothing": b""}[cut]
    path.write_bytes(broken)
    with pytest.raises(DataError, match=r"interactions\.parquet: not a whole parquet file .*; copy or write it again"):
        hr.load(folder)


def test_folders_that_hold_nothing_of_use(write, tmp_path):
    with pytest.raises(DataError, match=r"no interactions\.parquet/.* or \.inter file in the folder \(it holds nothing\)"):
        hr.load(tmp_path)
    with pytest.raises(DataError, match=r"no interactions, user_bundles or group_interactions among its files \(items\)"):
        hr.load(write(items={"item_id": [1]}))
    folder = write(name="two", interactions=interactions())
    (folder / "interactions.csv").write_text("user_id,item_id\n1,2\n")
    with pytest.raises(DataError, match=r"both interactions\.parquet and interactions\.csv are there; keep one"):
        hr.load(folder)


def test_unknown_names(write, tmp_path, monkeypatch):
    with pytest.raises(DataError, match="no data set 'ml100k'; did you mean 'ml-100k'"):
        hr.load("ml100k")
    folder = write(name="films", interactions=interactions())
    with pytest.raises(DataError, match=f"did you mean {re.escape(repr(str(folder)))}"):
        hr.load(tmp_path / "filmz")
    with pytest.raises(DataError, match=r"is a file; give the folder it lies in"):
        hr.load(folder / "interactions.parquet")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="Wanted a name"):
        hr.load("quite-another")


def test_domains_and_triples_do_not_mix(write):
    triples = {"head": ["item:10"], "relation": ["by"], "tail": ["x"]}
    with pytest.raises(DataError, match=r"triples\.parquet: triples cannot say which domain"):
        hr.load(write(interactions=interactions(domain=["a", "b"] * 15), triples=triples))


def test_rules_that_cannot_divide(write):
    rows = interactions()
    del rows["timestamp"]
    with pytest.raises(DataError, match="TemporalSplit: 'interact' has no times; give its file a 'timestamp' column"):
        hr.load(write(interactions=rows), split=TemporalSplit())
    rows["timestamp"] = [None, *range(29)]
    for rule in (LeaveOneOut(), TemporalSplit()):
        with (
            pytest.raises(DataError, match=f"{type(rule).__name__}: 1 of the 30 rows of 'interact' have no timestamp"),
            pytest.warns(DataWarning),
        ):
            hr.load(write(name="some", interactions=rows), split=rule)
    with pytest.raises(ValueError, match="hold out everything"):
        RandomSplit(0.0, 0.5, 0.5)
    with pytest.raises(ValueError, match=r"0\.8 \+ 0\.1 \+ 0\.2 is not 1"):
        RandomSplit(0.8, 0.1, 0.2)
