"""Results side by side, where they may stand side by side: a table with seeds, intervals and significance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from hybridrec.errors import HybridrecError
from hybridrec.evaluation.result import Result
from hybridrec.evaluation.significance import Difference, Seeds, differences, over_seeds

SAME = ("data.fingerprint", "split", "part", "protocol", "judged")


class ComparisonError(HybridrecError, ValueError):
    """Results that do not belong in one table: names the field in which they differ."""


@dataclass(frozen=True)
class Row:
    """One method: its runs, their mean over seeds, and its difference from the reference of each metric."""

    label: str
    runs: list[Result]
    seeds: Seeds
    versus: dict[str, Difference | None]

    @property
    def seconds(self) -> float | None:
        """Mean training time, None where ``fit`` did not train it."""
        times = [r.passport["training"]["seconds"] for r in self.runs if r.passport["training"]]
        return sum(times) / len(times) if times else None

    @property
    def tuning(self) -> str:
        """What its search cost."""
        spent = self.runs[0].passport["tuning"]
        return f"{spent['trials']} trials, {spent['minutes']:.3g} min" if spent else "none"

    def slices(self, kind: str, metric: str) -> dict[str, float]:
        """Mean over seeds of a metric in every slice of a kind: ``{"1-20": 0.31, ...}``."""
        labels = self.runs[0].slices[kind]
        return {x: sum(r.slices[kind][x][metric] for r in self.runs) / len(self.runs) for x in labels}


@dataclass(frozen=True)
class Comparison:
    """Methods on one data set under one protocol, the best first; ``reference[metric]`` is whom all are compared with."""

    rows: list[Row]
    metrics: tuple[str, ...]
    reference: dict[str, str]
    common: dict[str, Any]

    @property
    def main(self) -> str:
        """The metric by which rows are ordered and differences are told in full: the last one."""
        return self.metrics[-1]

    def best(self, metric: str) -> float:
        """The highest mean."""
        return max(row.seeds.metrics[metric] for row in self.rows)

    def legend(self) -> str:
        """What the marks mean."""
        whom = set(self.reference.values())
        reference = f"{whom.pop()}" if len(whom) == 1 else "the best of the column"
        return (
            f"Best in bold; ± is the standard deviation over seeds. ▲ significantly above {reference}, ▼ significantly below "
            "(paired bootstrap over users, Holm's correction, 5%)."
        )

    def headline(self) -> str:
        """What was judged, and how, in one line."""
        c, p = self.common, self.common["protocol"]
        split = c["split"]["name"] if c["split"] else "not recorded"
        absent = "left out" if p["absent"] is None else f"count as {p['absent']:g}"
        rank = f"targets and {p['sample']['n']} drawn items" if p["sample"] else f"{c['judged']['candidates']:,} items"
        return (
            f"{c['part']}, {c['judged']['users']:,} users, ranking {rank}. Split: {split}. Protocol {p['name']}: reads "
            f"{' and '.join(p['input'])}, masks {' and '.join(p['mask']) or 'nothing'}, users without a target {absent}. "
            f"Fingerprint {c['data']['fingerprint'][:12]}."
        )

    def markdown(self) -> str:
        """Two tables: the metrics, and how each method differs from the reference in the main one."""
        name = self.common["data"]["name"] or "unnamed data"
        lines = [f"## {name}", "", self.headline(), "", _line(["Method", *self.metrics, "Seeds", "Tuning", "Training s"])]
        lines.append(_line(["---", *["---:"] * (len(self.metrics) + 1), "---", "---:"]))
        for row in self.rows:
            cells = [cell(self, row, metric, bold="**{}**") for metric in self.metrics]
            time = "" if row.seconds is None else f"{row.seconds:.3g}"
            lines.append(_line([row.label, *cells, str(row.seeds.runs), row.tuning, time]))
        lines += ["", self.legend(), "", f"{self.main} against {self.reference[self.main]}, with 95% intervals:", ""]
        lines += [_line(DIFFERENCES), _line(["---", *["---:"] * (len(DIFFERENCES) - 1)])]
        lines += [_line(difference_cells(row, self.main)) for row in self.rows]
        return "\n".join(lines) + "\n"

    def __str__(self) -> str:
        return self.markdown()


DIFFERENCES = ("Method", "Difference", "Relative", "Effect size", "p (Holm)")


def difference_cells(row: Row, metric: str) -> list[str]:
    """How a row differs from the reference in ``metric``, in words for ``DIFFERENCES``."""
    d = row.versus[metric]
    if d is None:
        return [row.label, "reference", "", "", ""]
    return [
        row.label,
        f"{d.mean.value:+z.4f} [{d.mean.low:+z.4f}, {d.mean.high:+z.4f}]",
        f"{d.relative.value:+z.1%} [{d.relative.low:+z.1%}, {d.relative.high:+z.1%}]",
        f"{d.effect.value:+z.2f} [{d.effect.low:+z.2f}, {d.effect.high:+z.2f}]",
        f"{d.adjusted:.4f} {d.mark()}".strip(),
    ]


def cell(comparison: Comparison, row: Row, metric: str, bold: str) -> str:
    """A mean as shown: the best in ``bold``, its deviation over seeds, its mark."""
    value, deviation, difference = row.seeds.metrics[metric], row.seeds.deviation[metric], row.versus[metric]
    text = f"{value:.4f}"
    text = bold.format(text) if text == f"{comparison.best(metric):.4f}" else text
    text += "" if deviation is None else f" ±{deviation:.4f}"
    return text + (f" {difference.mark()}" if difference and difference.mark() else "")


def compare(
    results: Mapping[str, Sequence[Result]] | Sequence[Result],
    metrics: Sequence[str] | None = None,
    *,
    baseline: str | None = None,
    samples: int = 10_000,
    seed: int = 0,
) -> Comparison:
    """Put results into one table; runs of one method with several seeds become one row.

    Args:
        results: runs by label, or results in any order: those of one class with the same arguments are one method's runs.
        metrics: per-user metrics to show, the main one last; None for recall and NDCG at every cut-off.
        baseline: the label every row is compared with; None for the best row of each metric.
        samples: bootstrap resamples.
        seed: of the bootstrap.

    Raises:
        ComparisonError: data, split, part, protocol, users or candidates differ, or a metric or the baseline is missing.
    """
    groups = {k: list(v) for k, v in results.items()} if isinstance(results, Mapping) else by_method(results)
    if not groups or not all(groups.values()):
        raise ComparisonError("there is nothing to compare: no results, or a label without any")
    if baseline is not None and baseline not in groups:
        raise ComparisonError(f"baseline {baseline!r} is not among the compared: {sorted(groups)}")
    flat = [(label, run) for label, runs in groups.items() for run in runs]
    first = flat[0]
    for other in flat[1:]:
        _refuse_difference(first, other)
    names = tuple(metrics or [m for m in first[1].per_user if m.startswith(("recall@", "ndcg@"))])
    for label, run in flat:
        missing = [m for m in names if m not in run.per_user]
        if missing:
            raise ComparisonError(f"{label} has no {', '.join(missing)}; it has {', '.join(run.per_user)}")
    seeds = {label: over_seeds(runs) for label, runs in groups.items()}
    versus: dict[str, dict[str, Difference | None]] = {label: {} for label in groups}
    reference = {}
    for metric in names:
        means = {label: s.metrics[metric] for label, s in seeds.items()}
        reference[metric] = baseline or max(means, key=means.__getitem__)
        values = torch.stack([s.per_user[metric] for s in seeds.values()], 1)
        found = differences(values, list(seeds).index(reference[metric]), samples=samples, seed=seed)
        for label, difference in zip(seeds, found, strict=True):
            versus[label][metric] = difference
    rows = [Row(label, groups[label], seeds[label], versus[label]) for label in groups]
    rows.sort(key=lambda row: -row.seeds.metrics[names[-1]])
    common = {name: first[1].passport[name] for name in ("data", "split", "part", "protocol", "judged")}
    return Comparison(rows, names, reference, common)


def by_method(results: Sequence[Result]) -> dict[str, list[Result]]:
    """Results by class and arguments; the label is the class's name, with the arguments where it alone is not enough."""
    groups: dict[str, list[Result]] = {}
    for r in results:
        groups.setdefault(str(r.passport["method"]), []).append(r)
    methods = {key: runs[0].passport["method"] for key, runs in groups.items()}
    names = [m["class"].rpartition(".")[2] for m in methods.values()]
    labels = {}
    for (key, method), name in zip(methods.items(), names, strict=True):
        rivals = [m["arguments"] or {} for m in methods.values() if m["class"] == method["class"]]
        own = method["arguments"] or {}
        told = [f"{k}={v}" for k, v in own.items() if any(r.get(k) != v for r in rivals)]
        labels[key] = f"{name} ({', '.join(told)})" if names.count(name) > 1 and told else name
    return {labels[key]: runs for key, runs in groups.items()}


def _refuse_difference(a: tuple[str, Result], b: tuple[str, Result]) -> None:
    for field in SAME:
        x, y = (_at(r.passport, field) for _, r in (a, b))
        if x != y:
            path, x, y = _deepest(field, x, y)
            raise ComparisonError(f"{a[0]} and {b[0]} cannot be compared: {path} is {x!r} and {y!r}; evaluate them alike")


def _at(record: Any, path: str) -> Any:
    for name in path.split("."):
        record = record[name]
    return record


def _deepest(path: str, x: Any, y: Any) -> tuple[str, Any, Any]:
    """The innermost field in which ``x`` and ``y`` differ."""
    if isinstance(x, dict) and isinstance(y, dict):
        for name in [*x, *(n for n in y if n not in x)]:
            if x.get(name) != y.get(name):
                return _deepest(f"{path}.{name}", x.get(name), y.get(name))
    return path, x, y


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |"
