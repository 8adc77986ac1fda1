"""From the files of a data set to a Dataset: entities, relations, the given split and what must hold of it."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from hybridrec.data import cells
from hybridrec.data.dataset import Dataset, Ids, Relation, Split
from hybridrec.data.features import read_features
from hybridrec.data.links import PARTS, TABLES, Links, join_ids, read_links
from hybridrec.data.split import RandomSplit
from hybridrec.data.tables import Columns
from hybridrec.data.triples import read_triples
from hybridrec.errors import DataError, DataWarning

logger = logging.getLogger(__name__)

Rule = Callable[[Dataset], Dataset]
GOALS = ("take", "choose", "buy", "interact")  # the goal where none is named: the first of these that is there
BACKGROUND = ("trust", "contain", "member")  # never the goal unless named


def assemble(
    files: Mapping[str, Columns],
    name: str = "",
    goal: str | None = None,
    split: Rule | None = None,
    modalities: Mapping[str, Path] | None = None,
) -> Dataset:
    """The data set that ``files`` hold (``interactions``, ``items``, ...; see ``hybridrec.data.folder``).

    Under a given split, rows of other relations than the goal that are marked valid or test are left out. Under a rule the
    ``split`` column is not read.
    """
    given = split is None or getattr(split, "given", False)
    links = read_links(files, given)
    if not {link.name for link in links}.difference(BACKGROUND):
        raise DataError(
            f"{name}: no interactions, user_bundles or group_interactions among its files ({', '.join(files) or 'none'})"
        )
    goal = _goal(links, goal, name)
    ids, tables = _entities(links, files)
    relations: dict[str, Relation] = {}
    heldout: dict[str, Relation] = {}
    while links:  # popped, so that each relation's codes are freed once it is made
        link = links.pop(0)
        file, rows = link.file, link.relation(ids)
        if link.part is None:
            relations[link.name] = _checked(rows, link.name, file)
            continue
        train, *held = (_checked(rows.keep(torch.from_numpy(link.part == p)), link.name, file) for p in range(len(PARTS)))
        if link.name == goal:
            if split is None:
                refuse_overlap(rows, link.part, link.row, file)
            heldout = {part: r for part, r in zip(PARTS[1:], held, strict=True) if len(r)}
            if not heldout or not len(train):
                lacking = "train" if heldout else "valid or test"
                raise DataError(f"{file}, column 'split': {goal!r} has no {lacking} rows; give load(..., split=...) a rule")
        elif len(train) < len(rows):
            logger.info("%s: %d held-out rows of %r left out (the goal is %r)", file, len(rows) - len(train), link.name, goal)
        relations[link.name] = train
    pa.default_memory_pool().release_unused()  # what the columns took goes back before a rule copies the rows
    if "triples" in files:
        relations |= read_triples(files["triples"], ids)
    features = read_features(modalities, ids, files) if modalities else {}
    data = Dataset(ids, relations, goal, heldout, tables, features, name, Split("given", {}))
    if given and not heldout and split is not None:
        raise DataError(f"{name}: {type(split).__name__} needs a 'split' column for {goal!r}; add one, or use another rule")
    return data if heldout and split is None else (split or RandomSplit())(data)


def _goal(links: list[Links], goal: str | None, name: str) -> str:
    names = [link.name for link in links]
    if goal is None:
        eligible = [n for n in names if n not in BACKGROUND]
        goal = next((g for g in GOALS if g in eligible), eligible[0])
        if len(eligible) > 1:
            logger.info("%s: the goal is %r; load(..., goal=...) takes any of %s", name, goal, ", ".join(eligible))
    if goal not in names:
        raise DataError(f"{name}: no relation {goal!r} to be the goal; name one of {', '.join(names)}")
    return goal


def _checked(r: Relation, name: str, file: str) -> Relation:
    """``r``, without its times if all are unknown; a warning if only some are."""
    if r.time is None or not bool((unknown := r.time.isnan()).any()):
        return r
    if bool(unknown.all()):
        return replace(r, time=None)
    n = int(unknown.sum())
    warnings.warn(
        f"{file}: {n} of {len(r)} rows of {name!r} have no timestamp; they count as the latest", DataWarning, stacklevel=4
    )
    return r


def refuse_overlap(r: Relation, part: np.ndarray, row: np.ndarray | None, file: str) -> None:
    """Raise DataError where a pair lies in two parts of a given split, unless time shows the later to be a repeat.

    ``part`` (E,) as positions in PARTS, ``row`` (E,) the rows in the file, or None for all in order.
    """
    pair = (r.index[0] * (int(r.index[1].max()) + 1) + r.index[1]).numpy()
    order = pair.argsort(kind="stable")
    same = pair[order[1:]] == pair[order[:-1]]
    order = order[np.concatenate([same, [False]]) | np.concatenate([[False], same])]  # rows whose pair is there twice
    time = np.zeros(len(pair)) if r.time is None else r.time.numpy()
    order = order[np.lexsort((time[order], part[order], pair[order]))]
    one, two = order[:-1], order[1:]
    across = (pair[one] == pair[two]) & (part[one] != part[two])
    one, two = one[across], two[across]
    repeat = time[two] > time[one]  # False where a time is unknown
    at = np.arange(len(pair)) if row is None else row
    if not repeat.all():
        wrong = [f"{at[a] + 1} ({PARTS[part[a]]}) and {at[b] + 1} ({PARTS[part[b]]})" for a, b in zip(one, two, strict=True)]
        wrong = [text for text, fine in zip(wrong, repeat, strict=True) if not fine]
        shown = ", ".join(wrong[:3]) + (", ..." if len(wrong) > 3 else "")
        raise DataError(
            f"{file}, column 'split': {len(wrong)} pairs of ids lie in two parts, rows {shown}; "
            "keep each pair in one part, or load(..., split=WithoutOverlap()) to leave the held-out ones out"
        )
    if len(repeat):
        warnings.warn(
            f"{file}: {len(repeat)} held-out rows repeat a pair of an earlier part at a later time (as row {at[two[0]] + 1}); "
            "they are kept, and where seen items are not ranked they cannot be found",
            DataWarning,
            stacklevel=4,
        )


def _entities(links: list[Links], files: Mapping[str, Columns]) -> tuple[dict[str, Ids], dict[str, pa.Table]]:
    """Ids and tables of every kind of entity. Rows of a table come first; an id met only elsewhere has a row of nulls."""
    kinds = list(dict.fromkeys(x for link in links for x in (link.source, link.target)))
    kinds.sort(key=lambda k: ([*TABLES].index(k.split(":")[0]), k))
    ids, tables = {}, {}
    for kind in kinds:
        met = [end for link in links for end, k in zip(link.ends, (link.source, link.target), strict=True) if k == kind]
        file, column = TABLES[kind.split(":")[0]]
        if file not in files:
            ids[kind] = join_ids(kind, None, met)
            continue
        known, table = _table(files[file], column, kind, met)
        ids[kind] = join_ids(kind, known, met)
        at, n = table.column_names.index(column), table.num_rows
        first = table.set_column(at, column, pa.array(ids[kind].values[:n]))
        extra = pa.table({column: pa.array(ids[kind].values[n:], first[column].type)})
        tables[kind] = pa.concat_tables([first, extra], promote_options="default").combine_chunks()
    return ids, tables


def _table(columns: Columns, column: str, kind: str, met: list[cells.Codes]) -> tuple[cells.Codes, pa.Table]:
    """The ids of a table, in the order of its rows, and the table; of one domain where ``kind`` says so."""
    codes, table = cells.ids(columns, column), columns.table()
    domain = kind.partition(":")[2]
    rows = np.arange(len(codes.code))
    if domain and "domain" in columns:
        rows = rows[pc.equal(table["domain"], domain).to_numpy()]
    elif domain:  # the table does not say: an item belongs where it is met
        here = pa.chunked_array([m.values for m in met])
        rows = rows[pc.is_in(codes.values, value_set=here.combine_chunks()).to_numpy(zero_copy_only=False)[codes.code]]
    code = codes.code[rows]
    _, once = np.unique(code, return_index=True)
    if len(once) < len(code):
        again = int(np.setdiff1d(np.arange(len(code)), once)[0])
        value = codes.values[int(code[again])].as_py()
        raise cells.fault(columns, column, int(rows[again]), f"{value!r} is there twice; keep one row an id")
    ordered = codes._replace(values=codes.values.take(pa.array(code)), code=np.arange(len(code), dtype=np.int32))
    return ordered, table.take(pa.array(rows)) if len(rows) < len(codes.code) else table
