"""What is the matter with the links of one relation: repeats, leakage between parts, cold entities, times, popularity."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from hybridrec.data.assemble import BACKGROUND
from hybridrec.data.links import PARTS
from hybridrec.doctor.reading import FAULT, NOTE, WARNING, Finding, Rows
from hybridrec.evaluation.metrics import gini

FEW = 5  # rows; below, hardly anything can be learned of an entity
HEAD = 0.2  # the share of targets that is called the head


def statistics(rows: Rows) -> dict[str, Any]:
    """The numbers of a relation (JSON)."""
    index = _whole(rows)
    counts = [np.unique(side, return_counts=True)[1] for side in index]
    found: dict[str, Any] = {"file": rows.file, "source": rows.ends[0], "target": rows.ends[1], "rows": rows.index.shape[1]}
    for side, count in zip(("source", "target"), counts, strict=True):
        found[f"{side}s"] = len(count)
        found[f"rows_of_a_{side}"] = (
            {"least": int(count.min()), "median": float(np.median(count)), "most": int(count.max())} if len(count) else None
        )
    cells = len(counts[0]) * len(counts[1])
    pairs = len(np.unique(_keys(index))) if cells else 0
    found |= {"pairs": pairs, "density": pairs / cells if cells else 0.0, "repeats": index.shape[1] - pairs}
    if cells:
        found["popularity"] = popularity(counts[1])
    if rows.part is not None:
        found["parts"] = {part: int((rows.part == p).sum()) for p, part in enumerate(PARTS)}
    if rows.time is not None and np.isfinite(rows.time).any():
        known = rows.time[np.isfinite(rows.time)]
        found["time"] = {"first": float(known.min()), "last": float(known.max()), "unknown": int(len(rows.time) - len(known))}
        found["time"]["ties"] = ties(rows)
    return found


def popularity(count: np.ndarray) -> dict[str, float]:
    """How unequally rows are spread over targets: Gini, the share of the head, the share of targets with few rows."""
    falling = np.sort(count)[::-1]
    head = falling[: max(1, round(HEAD * len(falling)))]
    return {
        "gini": gini(torch.from_numpy(count)),
        "head_share": float(head.sum() / falling.sum()),
        "few": float((count < FEW).mean()),
    }


def ties(rows: Rows) -> float:
    """The share of rows whose source has another row of the same moment: their order is not known."""
    assert rows.time is not None
    known = np.isfinite(rows.time) & (rows.index >= 0).all(0)
    source, time = rows.index[0, known], rows.time[known]
    order = np.lexsort((time, source))
    same = (source[order][1:] == source[order][:-1]) & (time[order][1:] == time[order][:-1])
    tied = np.concatenate([[False], same]) | np.concatenate([same, [False]])
    return float(tied.mean()) if len(time) else 0.0


def findings(rows: Rows, numbers: dict[str, Any]) -> Iterator[Finding]:
    """All that is found of a relation with these ``statistics``."""
    where = rows.name
    if not numbers["sources"]:
        yield Finding(FAULT, "rows", where, "no row with both ids", "add some rows or remove the file")
        return
    yield from _repeats(rows, where)
    if rows.ends[0] == rows.ends[1] and (n := int((rows.index[0] == rows.index[1]).sum())):
        yield Finding(WARNING, "duplicates", where, f"{n:,} links from an entity to itself", "drop them")
    if rows.part is not None:
        yield from _leakage(rows, where)
        yield from _cold(rows, where)
    if rows.time is not None:
        yield from _times(rows, numbers.get("time"), where)
    if rows.name not in BACKGROUND:
        yield from _skew(numbers, where)


def _repeats(rows: Rows, where: str) -> Iterator[Finding]:
    index = _whole(rows)
    here = (rows.index >= 0).all(0)
    columns = [_keys(index), *(x[here] for x in (rows.time, rows.part) if x is not None)]
    order = np.lexsort(columns[::-1])
    same = np.ones(max(len(order) - 1, 0), bool)
    for x in columns:
        same &= (x[order][1:] == x[order][:-1]) | ((x[order][1:] != x[order][1:]) & (x[order][:-1] != x[order][:-1]))
    again = len(columns[0]) - len(np.unique(columns[0]))
    if n := int(same.sum()):
        yield Finding(WARNING, "duplicates", where, f"{n:,} rows are there twice, alike in all", "drop the second of each")
    if again > n:
        text = f"{again - n:,} rows repeat a pair of ids" + (" at another time" if rows.time is not None else "")
        remedy = "fine where people come back to an item; keep one a pair where they do not"
        yield Finding(NOTE, "duplicates", where, text, remedy)


def _leakage(rows: Rows, where: str) -> Iterator[Finding]:
    """Pairs in two parts, and held-out rows that lie before what was trained on."""
    assert rows.part is not None
    here = (rows.index >= 0).all(0) & (rows.part >= 0)
    key, part = _keys(rows.index[:, here]), rows.part[here]
    sizes = [int((part == p).sum()) for p in range(len(PARTS))]
    for p, name in enumerate(PARTS):
        if not sizes[p] and (sizes[1] or sizes[2]):
            level = NOTE if sizes[0] else FAULT
            yield Finding(level, "split", where, f"no row is marked {name}", "mark some, or load(..., split=...) by a rule")
    for late, early in ((1, 0), (2, 0), (2, 1)):
        both = int(np.isin(key[part == late], key[part == early]).sum())
        if both:
            text = f"{both:,} of {sizes[late]:,} {PARTS[late]} rows repeat a pair that is in {PARTS[early]}"
            remedy = "keep each pair in one part, or load(..., split=WithoutOverlap())"
            yield Finding(WARNING, "leakage", where, text, remedy)
    if rows.time is None or not sizes[0]:
        return
    source, time = rows.index[0, here], rows.time[here]
    last = np.full(int(source.max()) + 1, -np.inf)
    trained = (part == 0) & np.isfinite(time)
    np.maximum.at(last, source[trained], time[trained])
    for p in (1, 2):
        held = (part == p) & np.isfinite(time)
        before = float((time[held] < last[source[held]]).mean()) if held.any() else 0.0
        if before > 0.01:
            text = f"{before:.0%} of {PARTS[p]} rows are older than the same {rows.ends[0]}'s last train row"
            remedy = "fine where order does not count; for sequences load(..., split=LeaveOneOut()) or TemporalSplit()"
            yield Finding(WARNING, "leakage", where, text, remedy)


def _cold(rows: Rows, where: str) -> Iterator[Finding]:
    """Entities of held-out rows that no train row has."""
    assert rows.part is not None
    for side, kind in enumerate(rows.ends):
        trained = np.unique(rows.index[side, rows.part == 0])
        for p in (1, 2):
            held = rows.index[side, rows.part == p]
            cold = ~np.isin(held, trained)
            if (share := float(cold.mean()) if len(held) else 0.0) > 0:
                n = len(np.unique(held[cold]))
                remedy = (
                    "no method without text can rank them: give their text, or leave them out"
                    if side
                    else "they are known by nothing: judge them apart (ColdUsers), or leave them out"
                )
                level = WARNING if share > 0.01 else NOTE
                text = f"{n:,} {kind}s of {PARTS[p]} have no train row ({share:.1%} of its rows)"
                yield Finding(level, "cold", where, text, remedy)


def _times(rows: Rows, time: dict[str, Any] | None, where: str) -> Iterator[Finding]:
    if time is None:
        yield Finding(WARNING, "time", where, "no row has a timestamp that can be read", "fill the column, or remove it")
        return
    if time["unknown"]:
        text = f"{time['unknown']:,} rows have no timestamp"
        yield Finding(WARNING, "time", where, text, "fill them in, or drop the rows; loading counts them as the latest")
    if time["first"] == time["last"]:
        yield Finding(WARNING, "time", where, "every row is of the same moment", "remove the column: it says nothing")
    elif time["ties"] > 0.05:
        text = f"{time['ties']:.0%} of rows share their moment with another of the same {rows.ends[0]}"
        yield Finding(NOTE, "time", where, text, "among these the order of the file counts: sort it, or take finer times")
    if time["last"] > 1e11:
        text = f"the last time is {time['last']:.3g}, which as seconds lies after the year 5000"
        yield Finding(WARNING, "time", where, text, "milliseconds? divide by 1,000: windows and decay count seconds")
    elif time["first"] < 0:
        yield Finding(WARNING, "time", where, f"the first time is {time['first']:.3g}, before 1970", "correct or drop it")


def _skew(numbers: dict[str, Any], where: str) -> Iterator[Finding]:
    skew, each = numbers["popularity"], numbers["rows_of_a_source"]
    if skew["gini"] > 0.75:
        text = f"Gini {skew['gini']:.2f}; the most popular fifth has {skew['head_share']:.0%} of the rows"
        remedy = "set results beside popularity, and read them by popularity band"
        yield Finding(NOTE, "popularity", where, text, remedy)
    if skew["few"] > 0.5:
        text = f"{skew['few']:.0%} of {numbers['target']}s have fewer than {FEW} rows"
        yield Finding(NOTE, "popularity", where, text, "use their text, or keep the 5-core")
    if each["median"] < 3:
        text = f"half of the {numbers['source']}s have at most {each['median']:g} rows"
        yield Finding(WARNING, "sparsity", where, text, "too few to hold rows out of each: filter, or use ColdUsers()")


def _whole(rows: Rows) -> np.ndarray:
    """Rows with both ids: (2, n)."""
    return rows.index[:, (rows.index >= 0).all(0)]


def _keys(index: np.ndarray) -> np.ndarray:
    """One number a pair: (n,)."""
    return index[0] * (int(index[1].max()) + 1 if index.size else 1) + index[1]
