"""Fuzz targets of the readers: tables of odd cells, damaged files of every format, text that is none, templates."""

from __future__ import annotations

import contextlib
import datetime
import json
import math
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from folders import divided, interactions, write_file
from fuzz import CHANGES, TARGETS, Wrong, mutate, target
from hypothesis import strategies as st

import hybridrec as hr
from hybridrec.data.split import ColdItems, ColdUsers, LeaveOneOut, RandomSplit, TemporalSplit, WithoutOverlap
from hybridrec.data.text import render
from hybridrec.data.writing import save_folder
from hybridrec.doctor import examine
from hybridrec.doctor.page import page
from hybridrec.errors import DataError, HybridrecError

__all__ = ["TARGETS"]

RULES = (
    None,
    RandomSplit(),
    LeaveOneOut(),
    LeaveOneOut(valid=False),
    TemporalSplit(),
    ColdItems(),
    ColdUsers(),
    WithoutOverlap(),
)
TEXT = st.text(max_size=8)
CELLS = st.one_of(
    st.none(),
    st.integers(-3, 12),
    st.sampled_from([2**31, 2**63 - 1, 2**63, -(2**63), 10**30, 0, -1]),
    st.floats(),
    TEXT,
    st.sampled_from(
        [
            "",
            "train",
            "valid",
            "test",
            "dev",
            "nan",
            "inf",
            "1e999",
            "2020-01-01",
            "9999-12-31T23:59",
            "item:10",
            "\x1f",
            "\0",
            "1" * 30,
        ]
    ),
    st.booleans(),
    st.binary(max_size=4),
    st.lists(TEXT, max_size=2),
    st.dates(),
    st.datetimes(),
)
FLAVOURS = (
    st.integers(-3, 12),
    st.integers(),
    st.floats(),
    TEXT,
    st.sampled_from(["train", "valid", "test"]),
    st.sampled_from(["buy", "view", "interact", ":"]),
    st.booleans(),
    st.none(),
    st.dates(),
    st.datetimes(min_value=datetime.datetime(1, 1, 1), timezones=st.just(datetime.UTC)),
    st.binary(max_size=4),
    st.lists(TEXT, max_size=2),
    CELLS,
)
COLUMNS = ("user_id", "item_id", "timestamp", "rating", "split", "behavior", "domain", "title", "", "a\nb", "USER_ID")
STEMS = (
    "interactions",
    "items",
    "users",
    "social",
    "triples",
    "bundles",
    "user_bundles",
    "groups",
    "group_interactions",
    "bundle_texts",
)
GIVEN = {
    "items": {"item_id": list(range(10, 18)), "title": [f"film {i}" for i in range(8)]},
    "users": {"user_id": list(range(1, 7)), "age": [30] * 6},
    "social": {"user_id": [1, 2], "friend_id": [2, 3]},
    "triples": {"head": ["item:10", "x"], "relation": ["by", "of"], "tail": ["x", "user:1"]},
    "bundles": {"bundle_id": [1, 1], "item_id": [10, 11]},
    "user_bundles": {"user_id": [1, 2], "bundle_id": [1, 1]},
    "groups": {"group_id": [1, 1], "user_id": [1, 2]},
    "group_interactions": {"group_id": [1], "item_id": [10]},
    "bundle_texts": {"bundle_id": [1], "title": ["two"]},
}


@st.composite
def folders(draw: Any) -> dict[str, Any]:
    """A folder that would load, with a few of its columns, cells, names or files changed."""
    files: dict[str, dict[str, list]] = {"interactions": dict(interactions())}
    if draw(st.booleans()):
        files["interactions"]["split"] = divided()
    for stem in draw(st.sets(st.sampled_from(sorted(GIVEN)), max_size=3)):
        files[stem] = {name: list(column) for name, column in GIVEN[stem].items()}
    for _ in range(draw(st.integers(0, 3))):
        stem = draw(st.sampled_from(sorted(files)))
        columns = files[stem]
        n = len(next(iter(columns.values()), []))
        name = draw(st.sampled_from([*columns, *COLUMNS])) if columns else draw(st.sampled_from(COLUMNS))
        what = draw(st.sampled_from(["column", "column", "cell", "cell", "drop", "rename", "rows", "none", "double"]))
        if what == "column":
            columns[name] = draw(st.lists(draw(st.sampled_from(FLAVOURS)), min_size=n, max_size=n))
        elif what == "cell" and columns.get(name):
            columns[name] = list(columns[name])
            columns[name][draw(st.integers(0, n - 1))] = draw(CELLS)
        elif what == "drop":
            columns.pop(name, None)
        elif what == "rename" and name in columns:
            columns[draw(st.sampled_from(COLUMNS))] = columns.pop(name)
        elif what == "rows":
            files[stem] = {k: list(v)[: draw(st.integers(0, 3))] for k, v in columns.items()}
            short = min(map(len, files[stem].values()), default=0)
            files[stem] = {k: v[:short] for k, v in files[stem].items()}
        elif what == "double":
            files[stem] = {k: [*v, *v] for k, v in columns.items()}
        elif what == "none":
            files.pop(stem)
        if not files:
            break
    return {
        "files": files,
        "kind": draw(st.sampled_from(["parquet", "parquet", "arrow", "csv", "tsv", "jsonl"])),
        "rule": draw(st.sampled_from(RULES)),
    }


def column(cells: list[Any]) -> pa.Array:
    """Cells as Arrow has them, as text where they are of several types."""
    try:
        return pa.array(cells)
    except (pa.ArrowException, OverflowError, ValueError, TypeError):
        return pa.array([None if c is None else str(c) for c in cells])


def write(case: dict[str, Any], folder: Path) -> Path:
    """The folder of a case."""
    for stem, columns in case["files"].items():
        kind = case["kind"]
        if kind in ("parquet", "arrow"):
            write_file(folder, stem, pa.table({name: column(c) for name, c in columns.items()}), kind)
        elif kind == "jsonl":
            plain = {
                k: [c if isinstance(c, int | float | str | list | None) else str(c) for c in v] for k, v in columns.items()
            }
            write_file(folder, stem, plain, kind)
        else:
            write_file(folder, stem, columns, kind)
    folder.mkdir(exist_ok=True)
    return folder


def sound(data: hr.Dataset) -> None:
    """What must hold of whatever was loaded, its evaluation included."""
    for r in (*data.relations.values(), *data.heldout.values()):
        counts = torch.tensor([[data.counts[r.source]], [data.counts[r.target]]])
        if len(r) and (bool((r.index < 0).any()) or bool((r.index >= counts).any())):
            raise Wrong("an index beyond the entities")
        if r.value is not None and not bool(r.value.isfinite().all()):
            raise Wrong("a rating that is not finite")
        if r.time is not None and bool(r.time.isinf().any()):
            raise Wrong("an infinite time")
    if not len(data.train):
        raise Wrong("no training rows")
    method = hr.Popularity(data)
    hr.fit(method, data)
    for part in data.heldout:
        metrics = hr.evaluate(method, data, part=part, ks=(3,)).metrics
        if not all(math.isfinite(x) for x in metrics.values()):
            raise Wrong(f"metrics are not finite: {metrics}")


def examined(folder: Path) -> None:
    """The doctor reads whatever loading reads or refuses."""
    checkup = examine(folder)
    json.dumps(checkup.as_dict(), allow_nan=False)
    page(checkup)


def written(data: hr.Dataset, folder: Path) -> None:
    """A data set is written whole or not at all, and what was written loads or is refused."""
    try:
        save_folder(data, folder)
    except HybridrecError:
        if folder.exists() or any(p.name.startswith(".out") for p in folder.parent.iterdir()):
            raise Wrong("a half-written folder") from None
        return
    again = hr.load(folder)
    if len(again.train) != len(data.train):
        raise Wrong("another data set than was written")


@target(folders())
def tables(case: dict[str, Any], folder: Path) -> None:
    """Tables of odd cells, in every format, under every rule; then the doctor, an evaluation, and written out again."""
    path = write(case, folder / "in")
    examined(path)
    data = hr.load(path, split=case["rule"])
    sound(data)
    written(data, folder / "out")


@cache
def whole() -> dict[str, bytes]:
    """The files of folders that load, by format."""
    import tempfile

    found: dict[str, bytes] = {}
    rows = interactions(split=divided(), rating=[1.5] * 30)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind in ("parquet", "arrow", "csv", "tsv", "jsonl"):
            for stem, columns in {"interactions": rows, **GIVEN}.items():
                path = write_file(folder / kind, stem, columns, kind)
                found[f"{kind}/{path.name}"] = path.read_bytes()
        np.save(folder / "f.npy", np.arange(16, dtype=np.float32).reshape(8, 2))
        found["parquet/features_x.npy"] = (folder / "f.npy").read_bytes()
        np.save(folder / "f.npy", np.arange(10, 18))
        found["parquet/features_x_item_ids.npy"] = (folder / "f.npy").read_bytes()
    lines = "\n".join(f"{u}\t{i}\t{t}" for u, i, t in zip(rows["user_id"], rows["item_id"], rows["timestamp"], strict=True))
    found["atomic/d.inter"] = f"user_id:token\titem_id:token\ttimestamp:float\n{lines}\n".encode()
    found["atomic/d.item"] = b"item_id:token\ttitle:token_seq\n10\tone\n11\ttwo\n"
    found["atomic/d.kg"] = b"head_id:token\trelation_id:token\ttail_id:token\na\tby\tb\n"
    found["atomic/d.link"] = b"item_id:token\tentity_id:token\n10\ta\n"
    found["atomic/d.net"] = b"source_id:token\ttarget_id:token\n1\t2\n"
    return found


def set_out(room: str, name: str, data: bytes, folder: Path) -> Path:
    """A folder of one format with one of its files replaced."""
    folder.mkdir()
    keep = ("interactions.", "features_", "d.inter")
    for path, content in whole().items():
        kind, _, file = path.partition("/")
        if kind == room and (file == name or file.startswith(keep) or (room == "atomic")):
            (folder / file).write_bytes(data if file == name else content)
    return folder


@target(st.tuples(st.sampled_from(sorted(whole())), CHANGES))
def damaged(case: tuple[str, list], folder: Path) -> None:
    """A file of a data set with some of its bytes changed."""
    (path, changes) = case
    room, _, name = path.partition("/")
    found = set_out(room, name, mutate(whole()[path], changes), folder / "in")
    examined(found)
    sound(hr.load(found))


SCRAPS = [
    "user_id",
    "item_id",
    ",",
    "\t",
    "\n",
    '"',
    ";",
    "|",
    "1",
    "a",
    "{",
    "}",
    "[",
    "]",
    ":",
    '{"user_id": 1, "item_id": 2}\n',
    "\r",
    "\ufeff",
    "\0",
    "é",
    "item_id:token",
    "user_id:token\titem_id:token\n",
    "1\t2\n",
    "1,2\n",
    "user_id,item_id\n",
    "null",
    "NaN",
    "1e400",
    '"' * 3,
    "\\u0000",
    "\\",
]


STARTS = {
    "interactions.csv": "user_id,item_id,timestamp\n" + "".join(f"{u},{i},{u + i}\n" for u in range(3) for i in range(4)),
    "interactions.tsv": "user_id\titem_id\n" + "".join(f"{u}\t{i}\n" for u in range(3) for i in range(4)),
    "interactions.jsonl": "".join(f'{{"user_id": {u}, "item_id": "{i}"}}\n' for u in range(3) for i in range(4)),
    "d.inter": "user_id:token\titem_id:token\n" + "".join(f"{u}\t{i}\n" for u in range(3) for i in range(4)),
    "d.train.inter": "user_id:token\titem_id:token\n1\t2\n",
}
ENCODINGS = ("utf-8", "utf-8", "latin-1", "utf-16", "utf-8-sig")


@target(
    st.tuples(
        st.sampled_from(sorted(STARTS)),
        st.booleans(),
        st.lists(st.sampled_from(SCRAPS), max_size=9),
        st.sampled_from(ENCODINGS),
    )
)
def texts(case: tuple[str, bool, list[str], str], folder: Path) -> None:
    """Files of text made of the scraps that they are made of, behind a good beginning or not."""
    name, begun, scraps, encoding = case
    (folder / "in").mkdir()
    text = STARTS[name] * begun + "".join(scraps)
    (folder / "in" / name).write_bytes(text.encode(encoding, errors="replace"))
    examined(folder / "in")
    sound(hr.load(folder / "in"))


PIECES = [
    "{{",
    "}}",
    "{%",
    "%}",
    "{#",
    "#}",
    " title ",
    " n ",
    "for x in ",
    "title",
    " endfor ",
    "if ",
    " endif ",
    "|upper",
    "|join(',')",
    "|center(n)",
    "'a'",
    "*",
    "**",
    "~",
    "+",
    "1",
    "9999999",
    "(",
    ")",
    "[",
    "]",
    ".x",
    ".__class__",
    "range(n)",
    " set a = ",
    "a",
    "|",
    ":",
    ",",
    "%",
    " macro f() ",
    " endmacro ",
    "{{ title }}",
    "{% for x in range(9) %}",
    "{% endfor %}",
    "{{ title * n }}",
    "|format(1)",
    "|replace('a', title)",
    "|tojson",
    "|list",
    "{{ missing }}",
    "-",
    "\n",
    "cats",
    "{{ cats|join(title) }}",
]
ROWS = st.lists(
    st.fixed_dictionaries(
        {"title": st.one_of(TEXT, st.none()), "n": st.integers(-5, 10**12), "cats": st.lists(TEXT, max_size=3), "x": CELLS}
    ),
    min_size=1,
    max_size=2,
)


@target(st.tuples(st.one_of(st.lists(st.sampled_from(PIECES), max_size=16).map("".join), st.text(max_size=30)), ROWS))
def templates(case: tuple[str, list[dict]], folder: Path) -> None:
    """Templates of pieces of templates, over rows of odd cells."""
    template, rows = case
    for text in render(template, rows):
        if not isinstance(text, str) or len(text) > 1 << 22:
            raise Wrong("a text too long")


@target(st.lists(st.dictionaries(TEXT, CELLS, max_size=3), max_size=3))
def prompts(case: list[dict], folder: Path) -> None:
    """The templates that recipes use, over rows of any cells."""
    room = Path(__file__).parents[1] / "prompts"
    rows = [{**row, "title": row.get("title", "x")} for row in case]
    for name in ("item", "query", "user", "item_profile", "user_profile"):
        context = {"prompt": "p", "text": "t", "user": {}, "items": [{"title": None, "name": 3}]}
        with contextlib.suppress(DataError):
            render((room / f"{name}.j2").read_text(encoding="utf-8"), [{**context, **row} for row in rows])
