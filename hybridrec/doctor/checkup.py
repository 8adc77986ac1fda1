"""The whole examination: what loading says, what can be read, statistics, findings and a verdict."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hybridrec.data.folder import load, locate
from hybridrec.doctor import relations, tables
from hybridrec.doctor.reading import FAULT, NOTE, WARNING, Finding, Rows, read
from hybridrec.errors import DataError, DataWarning

GRAVE = (FAULT, WARNING, NOTE)


@dataclass
class Checkup:
    """What was found of the data set at ``path``. ``refusal`` is what ``load`` says, None where it loads."""

    path: str
    refusal: str | None = None
    goal: str | None = None
    relations: dict[str, Any] = field(default_factory=dict)
    tables: dict[str, Any] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """One line: whether it loads, and how much was found."""
        n = {level: sum(f.level == level for f in self.findings) for level in GRAVE}
        told = ", ".join(f"{n[level]} {level}{'s' * (n[level] != 1)}" for level in GRAVE if n[level]) or "nothing found"
        state = "cannot be loaded as it is" if self.refusal else "loads, with care" if n[WARNING] or n[FAULT] else "sound"
        return f"{state}: {told}"

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        head = {"path": self.path, "verdict": self.verdict, "loads": self.refusal is None, "refusal": self.refusal}
        found = [f._asdict() for f in self.findings]
        return {**head, "goal": self.goal, "relations": self.relations, "tables": self.tables, "findings": found}

    def save(self, path: str | Path) -> None:
        """Write it as JSON."""
        Path(path).write_text(json.dumps(self.as_dict(), indent=1, allow_nan=False) + "\n", encoding="utf-8")


def examine(name_or_path: str | Path, cache: str | Path | None = None) -> Checkup:
    """Examine a folder, or a named data set. Raises DataError only where there is none of that name."""
    folder = locate(name_or_path, cache)
    checkup = Checkup(str(folder))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", DataWarning)
        try:
            data = load(folder)
            checkup.goal = data.goal
        except DataError as e:
            checkup.refusal = str(e)
    if checkup.refusal is not None:
        found, _, remedy = checkup.refusal.partition("; ")
        checkup.findings.append(Finding(FAULT, "loading", folder.name, f"refused: {found}", remedy or "correct what it names"))
    for w in told:
        if issubclass(w.category, DataWarning):
            found, _, remedy = str(w.message).partition("; ")
            checkup.findings.append(Finding(WARNING, "loading", folder.name, found, remedy or "correct it if it is not meant"))
    contents = read(folder)
    checkup.findings += [f for f in contents.findings if not (checkup.refusal or "").startswith(f.found)]
    for rows in contents.relations:
        checkup.relations[rows.name] = numbers = relations.statistics(rows)
        checkup.findings += relations.findings(rows, numbers)
    checkup.findings += _told_elsewhere(contents.relations)
    checkup.tables, found_of_tables = tables.statistics(contents)
    checkup.findings += found_of_tables
    checkup.findings.sort(key=lambda f: GRAVE.index(f.level))
    return checkup


def _told_elsewhere(found: list[Rows]) -> Iterator[Finding]:
    """Held-out pairs that another relation between the same kinds has: it tells what is to be predicted."""
    for rows in found:
        for other in found:
            if other is rows or other.ends != rows.ends or rows.part is None or not (rows.part > 0).any():
                continue
            width = int(max(rows.index.max(), other.index.max())) + 1
            known = other.index if other.part is None else other.index[:, other.part == 0]
            held = rows.index[:, rows.part > 0]
            share = float(np.isin(held[0] * width + held[1], known[0] * width + known[1]).mean())
            if share > 0.01:
                text = f"{share:.0%} of held-out pairs are also in {other.name!r}"
                remedy = "fine if that comes first in life; if not, divide both relations at the same moment"
                yield Finding(NOTE, "leakage", rows.name, text, remedy)
