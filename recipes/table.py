"""Write the table of methods, paradigm by scenario, into a Markdown file between its markers.

The table is generated from the taxonomy line of every method's docstring (``contrastive | data-based views | natural pairs |
InfoNCE``) and from its scenario: general collaborative filtering, unless a line ``Scenario: ...`` names another.

    python recipes/table.py README.md           # write
    python recipes/table.py README.md --check   # say whether it is in step, exit 1 if not
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import hybridrec.methods

BEGIN, END = "<!-- methods:begin -->", "<!-- methods:end -->"
PARADIGMS = ("contrastive", "reconstructive", "adversarial")
SCENARIOS = (
    "general",
    "sequential",
    "social",
    "knowledge-aware",
    "bundle",
    "group",
    "multi-behaviour",
    "cross-domain",
    "multi-modal",
)


class Taxonomy(NamedTuple):
    """A method's place in the survey's map."""

    name: str
    paradigm: str
    views: str
    pairs: str
    objective: str
    scenarios: tuple[str, ...]


def taxonomy(cls: type) -> Taxonomy:
    """Read the one taxonomy line of a method's docstring. Raises ValueError naming the method where it has none."""
    text = inspect.getdoc(cls) or ""
    lines = [line for line in text.splitlines() if line.count("|") == 3]
    if len(lines) != 1:
        raise ValueError(f"{cls.__name__}: wanted one line 'paradigm | views | pairs | objective', found {len(lines)}")
    paradigm, views, pairs, objective = (part.strip() for part in lines[0].split("|"))
    named = re.search(r"^Scenario: (.+)$", text, re.M)
    scenarios = tuple(s.strip(" .") for s in named.group(1).split(",")) if named else ("general",)
    unknown = [s for s in scenarios if s not in SCENARIOS]
    if unknown:
        raise ValueError(f"{cls.__name__}: scenario {unknown} is none of {', '.join(SCENARIOS)}")
    return Taxonomy(cls.__name__, paradigm, views, pairs, objective, scenarios)


def methods() -> list[Taxonomy]:
    """The place of every method of the package, by name."""
    names = sorted(hybridrec.methods.__all__, key=str.lower)
    return [taxonomy(getattr(hybridrec.methods, name)) for name in names]


def table() -> str:
    """The grid of names, three paradigms by nine scenarios, then one line a method."""
    rows = methods()
    cells: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in rows:
        for scenario in row.scenarios:
            cells[row.paradigm, scenario].append(row.name)
    grid = [f"| scenario | {' | '.join(PARADIGMS)} |", "|---" * (len(PARADIGMS) + 1) + "|"]
    for scenario in SCENARIOS:
        grid.append(f"| {scenario} | " + " | ".join(", ".join(cells[p, scenario]) or "-" for p in PARADIGMS) + " |")
    detail = ["| method | paradigm | views | pairs | objective |", "|---|---|---|---|---|"]
    detail += [f"| {r.name} | {r.paradigm} | {r.views} | {r.pairs} | {r.objective} |" for r in rows]
    return "\n".join([*grid, "", *detail])


def rewritten(text: str) -> str:
    """``text`` with the table between its markers. Raises ValueError where a marker is missing."""
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"wanted one {BEGIN} and, after it, one {END}")
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{table()}\n{END}{rest.split(END)[1]}"


def main() -> None:
    """Write or check the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="a Markdown file with the markers")
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if the table is out of step")
    args = parser.parse_args()
    try:
        old = args.file.read_text(encoding="utf-8")
        new = rewritten(old)
    except (OSError, ValueError) as e:
        parser.error(f"{args.file}: {e}")
    if args.check:
        sys.exit(
            0 if new == old else f"{args.file}: the table of methods is out of step; run: python recipes/table.py {args.file}"
        )
    args.file.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
