"""The survey's second experiment: which view to contrast with, and at what sparsity does the contrast help most?

    python recipes/views.py --data ml-100k

The same objective, BPR and InfoNCE over cosines, with views by edge dropout (SGL), noise on embeddings (SimGCL), truncated
SVD (LightGCL) and learned generators (AdaGCL), beside ranking alone (LightGCN), on nested shares of the training interactions.
Valid and test stay whole; what is left out of training was never seen. Arguments are those tuned on all interactions, by the
budget of recipes/contrast.py; batches shrink with the share, so that an epoch has as many steps. OUT has views.md (a table),
views.svg (a plot), passports.json and the cells of recipes/compare.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from arguments import parse, run, write_text
from compare import Compare, runs
from contrast import RECIPES, TUNED, tune_missing, write_passports
from plans import Plan, plans

import hybridrec as hr
from hybridrec.data.dataset import Split
from hybridrec.evaluation import Comparison, Difference, Failure, compare
from hybridrec.evaluation.report import Row

METHODS = ["LightGCN", "SGL", "SimGCL", "LightGCL", "AdaGCL"]


@dataclass
class Views:
    """What is compared, and at what shares of the training interactions."""

    data: str = field(default="ml-100k", metadata={"help": "name, folder or Hub id of the data set"})
    methods: list[str] = field(default_factory=lambda: METHODS, metadata={"help": "labels of the file of spaces"})
    baseline: str = field(default="LightGCN", metadata={"help": "label all are compared with"})
    shares: list[float] = field(default_factory=lambda: [0.2, 0.4, 0.6, 0.8, 1.0], metadata={"help": "of training rows"})
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2], metadata={"help": "seeds, one run each; of training alone"})
    metrics: list[str] = field(default_factory=lambda: ["recall@20", "ndcg@20"], metadata={"help": "the main one last"})
    trials: int = field(default=4, metadata={"help": "trials of each method's search"})
    spaces: str = field(default=str(RECIPES / "spaces_general.yaml"), metadata={"help": "YAML file of what to search"})
    tuned: str = field(default=TUNED, metadata={"help": "folder of what was found"})
    out: str = field(default="runs/views", metadata={"help": "folder for table, plot, passports and cells"})


def main() -> None:
    """Every view at every share."""
    args = parse(Views, __doc__)
    tune_missing(args.data, args.methods, args.trials, args.spaces, args.tuned)
    data = hr.load(args.data)
    chosen = [plan for text in args.methods for plan in plans(text, data, None, args.tuned, ())]
    asked = Compare(seeds=args.seeds, metrics=args.metrics, out=args.out)
    found: dict[float, Comparison] = {}
    failures: list[Failure] = []
    for share in args.shares:
        part = thinned(data, share)
        results = {plan.label: runs(scaled(plan, share), part, asked, failures) for plan in chosen}
        found[share] = compare({k: v for k, v in results.items() if v}, args.metrics, baseline=args.baseline)
        write_passports(args.out, list(found.values()))
        write_text(Path(args.out) / "views.md", table(found, failures))
        plot(found, Path(args.out) / "views.svg")
        print(found[share], flush=True)


def thinned(data: hr.Dataset, share: float, seed: int = 0) -> hr.Dataset:
    """``data`` with a ``share`` of its training rows: smaller shares lie within larger ones."""
    if share >= 1:
        return data
    lot = torch.rand(len(data.train), generator=torch.Generator().manual_seed(seed))
    before = data.split._asdict() if data.split else None
    split = Split("Thinned", {"share": share, "seed": seed, "of": before})
    return replace(data.with_train(data.train.keep(lot < share)), split=split)


def scaled(plan: Plan, share: float) -> Plan:
    """``plan`` with batches that shrink with the share."""
    return replace(plan, fit={**plan.fit, "batch_size": max(1, round(plan.fit.get("batch_size", 2048) * share))})


def table(found: Mapping[float, Comparison], failures: list[Failure]) -> str:
    """A row a method, a column a share: the mean and its relative difference from the baseline; one table a metric."""
    last = list(found.values())[-1]
    labels = sorted({row.label for c in found.values() for row in c.rows})
    lines = ["# Views by share of the training interactions", "", last.headline(), ""]
    whom = last.reference[last.main]
    lines += [f"Means over seeds; in brackets the difference from {whom}. ▲ significantly above, ▼ below (Holm, 5%).", ""]
    for metric in last.metrics:
        lines += ["| " + " | ".join([metric, *(f"{share:.0%}" for share in found)]) + " |", "|---" * (len(found) + 1) + "|"]
        for label in labels:
            rows = [next((row for row in c.rows if row.label == label), None) for c in found.values()]
            lines.append("| " + " | ".join([label, *("-" if row is None else cell(row, metric) for row in rows)]) + " |")
        lines.append("")
    lines += [f"Failed: {f.label}, seed {f.seed}: {f.error}" for f in failures]
    return "\n".join(lines)


def cell(row: Row, metric: str) -> str:
    """A mean over seeds, its relative difference from the baseline and its mark."""
    d = row.versus[metric]
    return f"{row.seeds.metrics[metric]:.4f}" + ("" if d is None else f" ({d.relative.value:+.1%}) {d.mark()}".rstrip())


def plot(found: Mapping[float, Comparison], path: Path) -> None:
    """A line a method: how far its main metric is above the baseline's, by share."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    lines: dict[str, list[tuple[float, Difference]]] = {}
    for share, comparison in found.items():
        for row in comparison.rows:
            if (d := row.versus[comparison.main]) is not None:
                lines.setdefault(row.label, []).append((100 * share, d))
    main, whom = next((c.main, c.reference[c.main]) for c in found.values())
    with rc_context({"svg.hashsalt": "views"}):
        figure = Figure(figsize=(6, 4), layout="constrained")
        axes = figure.add_subplot(xlabel="% of training interactions", ylabel=f"{main} above {whom}'s, %")
        for label, points in sorted(lines.items()):
            x, y = zip(*points, strict=True)
            value = [100 * d.relative.value for d in y]
            below = [100 * (d.relative.value - d.relative.low) for d in y]
            above = [100 * (d.relative.high - d.relative.value) for d in y]
            axes.errorbar(x, value, [below, above], label=label, marker="o", capsize=3)
        axes.axhline(0, color="grey", linewidth=0.8)
        if lines:
            axes.legend()
        figure.savefig(path, metadata={"Date": None, "Creator": None})


if __name__ == "__main__":
    run(main)
