"""Does a learned augmentation of histories stand noise in them better than fixed ones do?

    python recipes/robustness.py --data ml-100k

AsarRec beside CL4SRec (cropped, masked or reordered), DuoRec (dropout) and SASRec (none), with the same encoder, objective and
training (robustness.yaml), and beside a closed form, EASE with recency, on training histories into which a share of random
items was injected. Each is an item its user chose in no part, right after an entry drawn at random, and smaller shares lie
within larger ones. Leaving one out: the last item of each user is tested, the one before it chooses the epoch and, without
noise and with the first seed, among the `tries` of a method's entry; both stay as they are, and what is read when test is
judged has the noise too. Seeds are of training alone, and the noise is one draw. OUT has robustness-DATA.md, a table,
robustness-DATA.json, all passports, and those of the tries in robustness-DATA-tries.json; CELLS has what recipes/compare.py
keeps, so that no run is made twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from arguments import parse, run, write_json, write_text
from compare import Compare, runs
from noise import noised
from plans import Plan, plans

import hybridrec as hr
from hybridrec.data.split import LeaveOneOut
from hybridrec.errors import DataError
from hybridrec.evaluation import Comparison, Failure, Result, compare

RECIPES = Path(__file__).parent
METHODS = ["SASRec", "CL4SRec", "DuoRec", "AsarRec", "EASE"]


@dataclass
class Robustness:
    """What is compared, and at what shares of noise."""

    data: str = field(default="ml-100k", metadata={"help": "name, folder or Hub id of the data set"})
    methods: list[str] = field(default_factory=lambda: METHODS, metadata={"help": "labels of the plan"})
    plan: str = field(default=str(RECIPES / "robustness.yaml"), metadata={"help": "YAML file of arguments and training"})
    baseline: str = field(default="SASRec", metadata={"help": "label all are compared with"})
    shares: list[float] = field(default_factory=lambda: [0.0, 0.1, 0.2], metadata={"help": "injected items by training row"})
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2], metadata={"help": "seeds, one run each"})
    metrics: list[str] = field(
        default_factory=lambda: ["recall@10", "ndcg@20", "ndcg@10"], metadata={"help": "the main one last"}
    )
    out: str = field(default="recipes/results/sequential", metadata={"help": "folder for table and passports"})
    cells: str = field(default="runs/robustness", metadata={"help": "folder for the runs themselves"})


def main() -> None:
    """Every method at every share, seed by seed: the table is whole after each."""
    args = parse(Robustness, __doc__)
    data = hr.load(args.data, split=LeaveOneOut())
    noisy = {share: noised(data, share) for share in args.shares}
    failures: list[Failure] = []
    chosen: dict[str, Plan] = {}
    tried: list[Result] = []
    first = Compare(seeds=args.seeds[:1], metrics=args.metrics, protocol="sequential", part="valid", out=args.cells)
    for label in args.methods:
        chosen[label], found = best(plans(label, data, args.plan, None, ())[0], data, first, failures)
        tried += found
    write_json(Path(args.out) / f"robustness-{data.name}-tries.json", [result.passport for result in tried])
    results: dict[float, dict[str, list[Result]]] = {share: {name: [] for name in chosen} for share in noisy}
    for seed in args.seeds:
        asked = Compare(seeds=[seed], metrics=args.metrics, protocol="sequential", out=args.cells)
        for share, part in noisy.items():
            for name, plan in chosen.items():
                results[share][name] += runs(plan, part, asked, failures)
        write(args, data.name, results, failures)


def best(plan: Plan, data: hr.Dataset, asked: Compare, failures: list[Failure]) -> tuple[Plan, list[Result]]:
    """``plan`` with those of its ``tries`` that do best on the valid rows, and what each reached.

    Raises DataError where none of them could be run.
    """
    if not plan.tries:
        return plan, []
    tried = [replace(plan, arguments=plan.arguments | arguments) for arguments in plan.tries]
    found = [(result, point) for point in tried for result in runs(point, data, asked, failures)]
    if not found:
        raise DataError(f"none of the tries of {plan.label} could be run: {failures[-1]}")
    main = asked.metrics[-1]
    for result, point in found:
        print(f"{plan.label} {point.arguments}: valid {main} {result.metrics[main]:.4f}", flush=True)
    chosen = max(found, key=lambda pair: pair[0].metrics[main])[1]
    trained = [result.passport["training"] for result, _ in found]  # None for a closed form
    minutes = sum(training["seconds"] for training in trained if training) / 60
    tuning = {"trials": len(tried), "minutes": minutes, "metric": main}
    return replace(chosen, tuning=tuning), [result for result, _ in found]


def write(args: Robustness, name: str, results: Mapping[float, Mapping[str, list[Result]]], failures: list[Failure]) -> None:
    """The table and the passports of what has been run so far."""
    found = {
        share: compare({k: v for k, v in rows.items() if v}, args.metrics, baseline=args.baseline)
        for share, rows in results.items()
        if rows[args.baseline]
    }
    if not found:
        raise DataError(
            f"{args.baseline} failed at every share of noise, so that there is nothing to compare with: {failures[-1:]}"
        )
    out = Path(args.out)
    text = table(found, failures)
    write_text(out / f"robustness-{name}.md", text)
    passports = [result.passport for rows in results.values() for made in rows.values() for result in made]
    write_json(out / f"robustness-{name}.json", passports)
    print(text, flush=True)


def table(found: Mapping[float, Comparison], failures: list[Failure]) -> str:
    """A row a method, a column a share of noise: the mean, its difference from the baseline, and what the noise cost."""
    first = next(iter(found.values()))
    clean = min(found)
    lines = ["# Noise in the training histories", "", first.headline(), ""]
    seeds, whom = first.rows[0].seeds.runs, first.reference[first.main]
    means = "One seed" if seeds == 1 else f"Means over {seeds} seeds"
    lines += [
        f"{means}; in brackets the difference from {whom} at the same noise, after the comma the change since {clean:.0%}."
    ]
    lines += ["▲ significantly above, ▼ below (Holm, 5%).", ""]
    for metric in first.metrics:
        lines += ["| " + " | ".join([metric, *(f"{share:.0%}" for share in found)]) + " |", "|---" * (len(found) + 1) + "|"]
        for label in sorted({row.label for c in found.values() for row in c.rows}):
            at = {share: row for share, c in found.items() for row in c.rows if row.label == label}
            cells = []
            for share in found:
                if share not in at:
                    cells.append("-")
                    continue
                value, d = at[share].seeds.metrics[metric], at[share].versus[metric]
                beside = [] if d is None else [f"{d.relative.value:+.1%}"]
                if share != clean and clean in at:
                    beside.append(f"{value / at[clean].seeds.metrics[metric] - 1:+.1%}")
                mark = "" if d is None else d.mark()
                cells.append(f"{value:.4f}" + (f" ({', '.join(beside)})" if beside else "") + (f" {mark}" if mark else ""))
            lines.append("| " + " | ".join([label, *cells]) + " |")
        lines.append("")
    lines += [f"Failed: {f.label}, seed {f.seed}: {f.error}" for f in failures]
    return "\n".join(lines)


if __name__ == "__main__":
    run(main)
