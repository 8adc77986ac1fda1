"""A comparison as one HTML file: tables, plots and passports, readable without a network, in light and dark, on a phone."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

from hybridrec.evaluation.plots import SYMBOLS, by_metric, by_slice, by_time, style
from hybridrec.evaluation.report import DIFFERENCES, Comparison, Row, cell, difference_cells
from hybridrec.evaluation.sheet import SHEET
from hybridrec.saving import make_folder


class Failure(NamedTuple):
    """A run that ended in an error."""

    data: str
    label: str
    seed: int
    error: str


def write_report(
    folder: str | Path, comparisons: Sequence[Comparison], failures: Sequence[Failure] = (), title: str = "Comparison"
) -> None:
    """Write ``report.md`` and ``report.html`` into ``folder``, made if need be."""
    folder = make_folder(folder)
    text = [f"# {title}\n", *map(str, comparisons)]
    if failures:
        text += ["## Failed\n", *(f"- {f.data}, {f.label}, seed {f.seed}: {f.error}" for f in failures), ""]
    (folder / "report.md").write_text("\n".join(text), encoding="utf-8")
    (folder / "report.html").write_text(page(comparisons, failures, title), encoding="utf-8")


def page(comparisons: Sequence[Comparison], failures: Sequence[Failure] = (), title: str = "Comparison") -> str:
    """The whole page."""
    runs = sum(len(row.runs) for c in comparisons for row in c.rows)
    failed = f'<a href="#failed">{len(failures)} failed</a>' if failures else "none failed"
    body = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="soft">{len(comparisons)} data set{"s" * (len(comparisons) != 1)}, {runs} runs, {failed}.</p>',
        *(_section(c) for c in comparisons),
        _failed(failures),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{SHEET}</style></head>\n<body>\n" + "\n".join(body) + "\n</body></html>\n"
    )


def _section(c: Comparison) -> str:
    popularity, history = "times chosen in training", "length of the user's history"
    main = c.main
    coverage = f"coverage@{main.rpartition('@')[2]}"
    plots = [
        _figure(f"{main} by popularity of the item", by_slice(c, "popularity", main, popularity)),
        _figure(f"{main} by length of history", by_slice(c, "history", main, history)),
        _figure(f"{main} against training time", by_time(c)),
        _figure(f"{main} against {coverage}", by_metric(c, coverage, "share of the catalogue that is named")),
    ]
    return "\n".join(
        [
            f"<h2>{escape(c.common['data']['name'] or 'unnamed data')}</h2>",
            f'<p class="soft">{escape(c.headline())}</p>',
            _results(c),
            f'<p class="soft">{escape(c.legend())}</p>',
            f"<h3>{main} against {escape(c.reference[main])}</h3>",
            _table(DIFFERENCES, [[escape(x) for x in difference_cells(row, main)] for row in c.rows]),
            '<p class="soft">95% intervals. Effect size: mean difference over its standard deviation among users.</p>',
            "<h3>Where the differences lie</h3>",
            _legend(c),
            f'<div class="plots">{"".join(plots)}</div>',
            _slices(c, "popularity", popularity),
            _slices(c, "history", history),
            _everything(c),
            "<h3>What it cost</h3>",
            _costs(c),
            "<h3>Passports</h3>",
            *(_passports(row) for row in c.rows),
        ]
    )


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], css: str = "") -> str:
    """Cells are HTML; a cell that begins with ``*`` is the best of its column."""
    head = "".join(f"<th>{escape(x)}</th>" for x in header)
    body = "".join(
        "<tr>" + "".join(f'<td class="best">{x[1:]}</td>' if x.startswith("*") else f"<td>{x}</td>" for x in row) + "</tr>\n"
        for row in rows
    )
    return f'<div class="wide"><table class="{css}"><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table></div>'


def _results(c: Comparison) -> str:
    rows = []
    for row in c.rows:
        cells = [cell(c, row, metric, bold="*<b>{}</b>") for metric in c.metrics]
        rows.append([escape(row.label), *(re.sub(r"±\S+", r"<small>\g<0></small>", x) for x in cells)])
    return _table(["Method", *c.metrics], rows)


def _everything(c: Comparison) -> str:
    """All metrics of all methods, one metric a row."""
    names = list(c.rows[0].seeds.metrics)
    rows = [[name, *(f"{row.seeds.metrics[name]:.4f}" for row in c.rows)] for name in names]
    return f"<details><summary>all metrics</summary>{_table(['Metric', *(row.label for row in c.rows)], rows)}</details>"


def _costs(c: Comparison) -> str:
    rows = []
    for row in c.rows:
        records = [r.passport for r in row.runs]
        trained = [r["training"] for r in records if r["training"]]
        rows.append(
            [
                escape(row.label),
                str(len(records)),
                row.tuning,
                "" if row.seconds is None else f"{row.seconds:,.3g} s",
                " ".join(sorted({str(t["epochs"]) for t in trained if t["epochs"]})) or "solved",
                f"{max((t['peak_memory'] for t in trained), default=0) / 2**20:,.0f} MiB",
                f"{sum(r['evaluation']['seconds'] for r in records) / len(records):.3g} s",
            ]
        )
    return _table(["Method", "Seeds", "Tuning", "Training", "Epochs", "Peak memory", "Evaluation"], rows)


def _slices(c: Comparison, kind: str, what: str) -> str:
    """The numbers of a plot."""
    first = c.rows[0].runs[0].slices[kind]
    values = [row.slices(kind, c.main) for row in c.rows]
    best = {label: max(f"{v[label]:.4f}" for v in values) for label in first}
    rows = []
    for row, found in zip(c.rows, values, strict=True):
        shown = [f"{found[label]:.4f}" for label in first]
        rows.append(
            [
                escape(row.label),
                *(f"*<b>{x}</b>" if x == best[label] > "0.0000" else x for x, label in zip(shown, first, strict=True)),
            ]
        )
    count = [f"{int(s['targets']):,} / {int(s['users']):,}" for s in first.values()]
    rows.append(["<small>targets / users</small>", *(f"<small>{x}</small>" for x in count)])
    return f"<details><summary>{c.main} by {what}, in numbers</summary>{_table([what, *first], rows)}</details>"


def _legend(c: Comparison) -> str:
    marks = []
    for i, row in enumerate(c.rows):
        colour, marker = style(i)
        marks.append(f'<span><span style="color: var(--c{colour})">{SYMBOLS[marker]}</span> {escape(row.label)}</span>')
    return f'<div class="legend">{"".join(marks)}</div>'


def _figure(caption: str, svg: str | None) -> str:
    return f"<figure><figcaption>{escape(caption)}</figcaption>{svg}</figure>" if svg else ""


def _passports(row: Row) -> str:
    return "\n".join(
        f"<details><summary>{escape(row.label)}, seed {r.passport['seed']}</summary>"
        f"<pre>{escape(json.dumps(r.passport, indent=1))}</pre></details>"
        for r in row.runs
    )


def _failed(failures: Sequence[Failure]) -> str:
    """What failed, seeds with the same error together."""
    if not failures:
        return ""
    seeds: dict[tuple[str, str, str], list[str]] = {}
    for f in failures:
        seeds.setdefault((f.data, f.label, f.error), []).append(str(f.seed))
    rows = [[escape(data), escape(label), ", ".join(n), escape(error)] for (data, label, error), n in seeds.items()]
    return '<h2 id="failed">Failed</h2>' + _table(["Data", "Method", "Seeds", "Error"], rows, "failed")
