"""The same data in parquet, CSV, TSV, JSON lines, RecBole's atomic files and on the Hub."""

import pytest
from folders import divided, interactions, pairs

import hybridrec as hr
from hybridrec.data.assemble import assemble
from hybridrec.data.hub import hub_features, hub_files
from hybridrec.errors import DataError

ITEMS = {
    "item_id": list(range(17, 9, -1)),
    "title": ["a, b", 'say "c"', "d\ne", "é", None, "g", "07", "h"],
    "year": [1999, None, *range(6)],
}
USERS = {"user_id": list(range(1, 7)), "zip": ["01", "02", "3", "4", "5", "6"], "weight": [0.5, 1.5, 2.0, 1.0, 1.0, 3.25]}


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl"])
def test_the_same_data_set_from_every_format(write, kind):
    files = {"interactions": interactions(rating=[i / 4 for i in range(30)], split=divided()), "items": ITEMS, "users": USERS}
    parquet = hr.load(write(name="a", **files))
    other = hr.load(write(kind=kind, name="b", **files))
    assert other.tables["item"].to_pydict() == parquet.tables["item"].to_pydict()
    assert other.tables["user"].to_pydict() == parquet.tables["user"].to_pydict()
    assert other.ids["item"].values.tolist() == parquet.ids["item"].values.tolist()
    assert other.fingerprint == parquet.fingerprint


def test_csv_ids_are_integers_only_if_all_of_them_are(write):
    rows = {"user_id": ["1", "02", "3"], "item_id": ["1", "2", "3"], "split": ["train", "train", "test"]}
    data = hr.load(write(kind="csv", interactions=rows, items={"item_id": ["1", "2", "3", "B4"]}))
    assert data.ids["user"].values.tolist() == ["02", "1", "3"]
    assert data.ids["item"].values.tolist() == ["1", "2", "3", "B4"]
    data = hr.load(write(kind="csv", name="integers", interactions=rows, items={"item_id": ["3", "2", "1"]}))
    assert data.ids["item"].values.tolist() == [3, 2, 1]


def test_csv_beside_parquet_takes_its_type_from_there(write):
    write(interactions=interactions(split=divided()))
    data = hr.load(write(kind="csv", items={"item_id": list(range(10, 18)), "title": list("abcdefgh")}))
    assert data.ids["item"].values.tolist() == list(range(10, 18))
    (write(name="bad", interactions=interactions(split=divided())) / "items.csv").write_text("item_id\nten\n")
    with pytest.raises(DataError, match=r"items\.csv, column 'item_id': ids are not all integers, as they are elsewhere"):
        hr.load(write(name="bad"))


GOOD = "user_id,item_id,split\n1,2,train\n1,3,test\n"
BAD_TEXT = {
    "semicolons": (
        "interactions.csv",
        GOOD.replace(",", ";"),
        r"its cells seem separated by semicolon; write it again with comma",
    ),
    "tabs in a csv": ("interactions.csv", GOOD.replace(",", "\t"), r"its cells seem separated by tab"),
    "commas in a tsv": ("interactions.tsv", GOOD, r"its cells seem separated by comma; write it again with tab"),
    "latin-1": (
        "interactions.csv",
        (GOOD + "é,4,test\n").encode("latin-1"),
        r"row 3: byte 0xe9 is not UTF-8 \(it seems Latin-1 or",
    ),
    "latin-1 header": ("interactions.csv", GOOD.replace("split", "célula").encode("latin-1"), r"row 0: byte 0xe9 is not UTF-8"),
    "utf-16": ("interactions.csv", GOOD.encode("utf-16"), r"encoded as UTF-16; save it as UTF-8"),
    "ragged": (
        "interactions.csv",
        GOOD + "7\n",
        r"row 3: Expected 3 columns, got 1.*; every row needs 3 cells separated by comma",
    ),
    "empty": ("interactions.csv", "", r"the first line is empty, wanted the names of the columns"),
    "two of a name": ("interactions.csv", "user_id,user_id\n1,2\n", r"two columns are named 'user_id'; rename one"),
    "null id": ("interactions.csv", GOOD + ",4,test\n", r"column 'user_id', row 3: no id"),
    "word for a rating": (
        "interactions.csv",
        "user_id,item_id,rating\n1,2,3\n1,3,good\n",
        r"column 'rating', row 2: 'good'; wanted ratings",
    ),
    "negative rating": (
        "interactions.csv",
        "user_id,item_id,rating\n1,2,3\n1,3,-2.5\n",
        r"column 'rating', row 2: rating -2.5",
    ),
    "time": (
        "interactions.csv",
        "user_id,item_id,timestamp\n1,2,2020-01-01\n1,3,soon\n",
        r"column 'timestamp', row 2: 'soon'; wanted",
    ),
    "broken json": (
        "interactions.jsonl",
        '{"user_id": 1, "item_id": 2}\n{"user_id": 1,\n',
        r"in row 2; wanted one JSON object a line",
    ),
    "json of two types": (
        "interactions.jsonl",
        '{"user_id": 1}\n{"user_id": "x"}\n',
        r"changed from number to string in row 2; wanted",
    ),
    "json in latin-1": ("interactions.jsonl", '{"user_id": "é"}\n'.encode("latin-1"), r"byte 0xe9 is not UTF-8"),
    "json null": ("interactions.jsonl", "null\n{}\n", r"row 1: not an object"),
    "json null behind a mark": ("interactions.jsonl", b"\xef\xbb\xbf\n null\n", r"row 2: not an object"),
    "json list": ("interactions.jsonl", "[1]\n", r"wanted one JSON object a line"),
}


@pytest.mark.parametrize("case", BAD_TEXT)
def test_bad_text_files(tmp_path, case):
    name, text, message = BAD_TEXT[case]
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=message) as error:
        hr.load(tmp_path)
    assert name in str(error.value)


def test_csv_with_a_byte_order_mark_and_windows_line_ends(tmp_path):
    (tmp_path / "interactions.csv").write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    data = hr.load(tmp_path)
    assert (len(data.train), len(data.part("test"))) == (1, 1)


def atomic(folder, **files):
    for suffix, rows in files.items():
        (folder / f"small.{suffix.replace('_', '.')}").write_text("\n".join("\t".join(row) for row in rows) + "\n")
    return folder


INTER = ["user_id:token", "item_id:token", "rating:float", "timestamp:float"]


def test_atomic_files(tmp_path):
    folder = atomic(
        tmp_path,
        inter=[INTER, ["7", "a", "3", "10"], ["7", "b", "4.5", "11"], ["8", "a", "1", "12"]],
        item=[["item_id:token", "movie_title:token_seq", "year:token"], ["b", 'The "B', "1990"], ["a", "A", "1991"]],
        user=[["user_id:token", "age:float"], ["8", "30"], ["7", "20"]],
        kg=[["head_id:token", "relation_id:token", "tail_id:token"], ["m.1", "by", "m.9"], ["m.2", "by", "m.1"]],
        link=[["item_id:token", "entity_id:token"], ["a", "m.1"]],
        net=[["source_id:token", "target_id:token"], ["7", "8"]],
    )
    data = hr.load(folder, split=lambda d: d)
    assert data.ids["user"].values.tolist() == [8, 7] and data.ids["item"].values.tolist() == ["b", "a"]
    assert pairs(data, data.train) == [(7, "a"), (7, "b"), (8, "a")]
    assert data.train.value.tolist() == [3, 4.5, 1] and data.train.time.tolist() == [10, 11, 12]
    assert data.tables["item"].to_pylist()[0] == {"item_id": "b", "movie_title": 'The "B', "year": 1990}
    assert pairs(data, data.relations["about"]) == [("a", "m.9")]
    assert pairs(data, data.relations["entity_item"]) == [("m.2", "a")]
    assert pairs(data, data.relations["trust"]) == [(7, 8)]


def test_atomic_files_divided_beforehand(tmp_path):
    folder = atomic(tmp_path, train_inter=[INTER[:2], ["1", "a"], ["2", "b"]], test_inter=[INTER[:2], ["1", "b"]])
    data = hr.load(folder)
    assert pairs(data, data.train) == [(1, "a"), (2, "b")] and pairs(data, data.part("test")) == [(1, "b")]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"inter": [["user_id", "item_id"], ["1", "2"]]}, r"small\.inter: column 'user_id', wanted 'name:type'"),
        ({"inter": [["user_id:token", "iid:token"], ["1", "2"]]}, r"small\.inter: no column 'item_id' .*; rename 'iid'"),
        ({"inter": [INTER[:2], ["1"]]}, r"small\.inter: row 1: Expected 2 columns, got 1.* separated by tab"),
        ({"inter": [INTER[:3], ["1", "2", "x"]]}, r"small\.inter, column 'rating', row 1: 'x'"),
        ({"inter": [INTER[:2], ["1", "2"]], "kg": [["head:token"], ["1"]]}, r"small\.kg: no column 'head_id'"),
        (
            {"a_inter": [INTER[:2], ["1", "2"]], "b_inter": [INTER[:2], ["1", "2"]]},
            r"small\.a\.inter and small\.b\.inter are there",
        ),
    ],
)
def test_bad_atomic_files(tmp_path, files, message):
    with pytest.raises(DataError, match=message):
        hr.load(atomic(tmp_path, **files))


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    """``datasets`` keeps what it prepares in a temporary place."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hub")
    datasets.disable_progress_bars()


def test_a_saved_folder_is_read_through_datasets_as_from_the_hub(write, tmp_path, hub_cache):
    from hybridrec.data.writing import save_folder

    plain = hr.load(write(interactions=interactions(split=divided()), items=ITEMS, users=USERS))
    folder = save_folder(plain, tmp_path / "card")
    files = hub_files(str(folder))
    assert sorted(files) == ["interactions", "items", "users"]
    assert assemble(files).fingerprint == plain.fingerprint


def test_a_hub_data_set_of_one_configuration_is_divided_by_its_splits(tmp_path, hub_cache):
    for part, rows in {"train": "1,a\n2,b\n", "validation": "1,b\n", "test": "2,a\n"}.items():
        (tmp_path / "repo" / "data").mkdir(parents=True, exist_ok=True)
        (tmp_path / "repo" / "data" / f"{part}.csv").write_text("user_id,item_id\n" + rows)
    data = assemble(hub_files(str(tmp_path / "repo")))
    assert {p: pairs(data, data.part(p)) for p in ("train", "valid", "test")} == {
        "train": [(1, "a"), (2, "b")],
        "valid": [(1, "b")],
        "test": [(2, "a")],
    }


def test_features_come_from_the_hub_too(tmp_path, monkeypatch):
    import huggingface_hub

    names = ["README.md", "features_image.npy", "features_image_item_ids.npy", "items.parquet"]
    monkeypatch.setattr(huggingface_hub, "list_repo_files", lambda name, repo_type: names)

    def fetch(name, file, repo_type):
        (tmp_path / file).write_bytes(b"")
        return str(tmp_path / file)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fetch)
    assert hub_features("owner/name") == {"image": tmp_path / "features_image.npy"}
    assert (tmp_path / "features_image_item_ids.npy").exists() and not (tmp_path / "items.parquet").exists()


def test_a_hub_that_does_not_answer(tmp_path, monkeypatch):
    import datasets

    def refuse(*args, **kwargs):
        raise ConnectionError("Couldn't reach the Hub")

    monkeypatch.setattr(datasets, "get_dataset_config_names", refuse)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        DataError, match=r"'owner/name': no such folder here, and .* \(Couldn't reach the Hub\); check the id and the network"
    ):
        hr.load("owner/name")


def test_a_hub_data_set_of_unknown_configurations(monkeypatch):
    import datasets

    monkeypatch.setattr(datasets, "get_dataset_config_names", lambda name: ["one", "two"])
    with pytest.raises(DataError, match=r"owner/name: its configurations are one, two; wanted 'interactions', 'items'"):
        hub_files("owner/name")


def test_an_arrow_file_is_mapped_and_reads_as_parquet_does(write):
    plain = hr.load(write(name="plain", interactions=interactions(split=divided()), items=ITEMS))
    mapped = hr.load(write(kind="arrow", name="mapped", interactions=interactions(split=divided()), items=ITEMS))
    assert mapped.fingerprint == plain.fingerprint


def test_a_damaged_arrow_file_is_refused(write):
    folder = write(kind="arrow", name="mapped", interactions=interactions(split=divided()))
    path = folder / "interactions.arrow"
    whole = path.read_bytes()
    for data in (b"", whole[:100], whole[: len(whole) // 2], b"ARROW1" + whole[10:]):
        path.write_bytes(data)
        with pytest.raises(DataError, match=r"interactions\.arrow: not a whole Arrow file"):
            hr.load(folder)
