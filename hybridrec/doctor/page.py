"""A checkup as a page for the terminal."""

from __future__ import annotations

import textwrap
from typing import Any

from hybridrec.doctor.checkup import Checkup

WIDTH = 120


def page(checkup: Checkup) -> str:
    """Statistics, findings with remedies, verdict."""
    rows = [
        ["relation", "rows", "sources", "targets", "median/source", "density", "repeats", "Gini", "head 20%", "few", "ties"]
    ]
    rows += [_relation(name, x) for name, x in checkup.relations.items()]
    lines = [checkup.path, "", *_aligned(rows)]
    if checkup.tables:
        rows = [["table", "rows", "with text", "no links", "median characters by column"]]
        rows += [_table(kind, x) for kind, x in checkup.tables.items()]
        lines += ["", *_aligned(rows)]
    for f in checkup.findings:
        lines += ["", *textwrap.wrap(f"{f.level.upper()} [{f.check}] {f.where}: {f.found}", WIDTH, subsequent_indent="    ")]
        lines += textwrap.wrap(f"-> {f.remedy}", WIDTH, initial_indent="    ", subsequent_indent="       ")
    return "\n".join([*lines, "", f"verdict: {checkup.verdict}"])


def _relation(name: str, x: dict[str, Any]) -> list[str]:
    skew, each = x.get("popularity"), x["rows_of_a_source"]
    return [
        f"{name} ({x['source']}-{x['target']})",
        *(f"{x[k]:,}" for k in ("rows", "sources", "targets")),
        f"{each['median']:g}" if each else "-",
        f"{x['density']:.2e}",
        f"{x['repeats']:,}",
        *([f"{skew['gini']:.2f}", f"{skew['head_share']:.0%}", f"{skew['few']:.0%}"] if skew else ["-"] * 3),
        f"{x['time']['ties']:.0%}" if "time" in x else "-",
    ]


def _table(kind: str, x: dict[str, Any]) -> list[str]:
    columns = ", ".join(f"{name} {c['median_characters']:g} ({c['coverage']:.0%})" for name, c in x["columns"].items())
    return [kind, f"{x['rows']:,}", f"{x['coverage']:.1%}", f"{x['without_links']:,}", columns or "-"]


def _aligned(rows: list[list[str]]) -> list[str]:
    """Columns of one width each, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(_fit(*cell) for cell in zip(row, widths, range(len(row)), strict=True)).rstrip() for row in rows]


def _fit(text: str, width: int, column: int) -> str:
    return text.ljust(width) if column == 0 or text.endswith(")") or text.startswith("median characters") else text.rjust(width)
