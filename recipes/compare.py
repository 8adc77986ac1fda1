"""Compare methods on data sets over seeds: one report, in Markdown and as an HTML page.

    python recipes/compare.py --data ml-100k --methods Popularity "EASE {ridge: 300}" LightGCN --tuned runs/tuned

A method is a class of hybridrec, with arguments in braces, or a label of --plan: a YAML file after the form of spaces.yaml,
without ranges; an entry DATA/LABEL is for one data set alone. Arguments found by recipes/tune.py are taken from --tuned. A run
that ended is a passport and a parquet file of users' values in OUT/cells and is never made again; one that failed is told in
the report and tried again the next time.
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from arguments import parse, run
from plans import Plan, PlanError, plans

import hybridrec as hr
from hybridrec.evaluation import PROTOCOLS, Comparison, Failure, Result, compare, shuffled_text, write_report
from hybridrec.evaluation.metrics import cutoff
from hybridrec.evaluation.passport import random_state, reset_peak_memory
from hybridrec.saving import build

METHODS = ["Popularity", "ItemKNN", "EASE", "IALS", "LightGCN"]


@dataclass
class Compare:
    """What to compare, and how."""

    data: list[str] = field(default_factory=lambda: ["ml-100k"], metadata={"help": "names, folders or Hub ids of data sets"})
    methods: list[str] = field(default_factory=lambda: METHODS, metadata={"help": "classes, `Class {name: value}`, or labels"})
    seeds: list[int] = field(
        default_factory=lambda: [0, 1, 2], metadata={"help": "seeds; one is enough where nothing is random"}
    )
    plan: str | None = field(default=None, metadata={"help": "YAML file: for a label `method`, `arguments` and `fit`"})
    tuned: str | None = field(default=None, metadata={"help": "folder that recipes/tune.py wrote its results to"})
    shuffled: list[str] = field(default_factory=list, metadata={"help": "labels shown beside themselves on shuffled texts"})
    metrics: list[str] = field(
        default_factory=lambda: ["recall@10", "ndcg@10", "recall@20", "ndcg@20"],
        metadata={"help": "what the tables show, the main metric last"},
    )
    baseline: str | None = field(
        default=None, metadata={"help": "label all are compared with; the best of each metric if none"}
    )
    part: str = field(default="test", metadata={"help": "rows to judge by: test or valid"})
    protocol: str = field(default="full", metadata={"help": f"conventions: {', '.join(PROTOCOLS)}"})
    title: str = field(default="Comparison", metadata={"help": "title of the report"})
    out: str = field(default="runs/compare", metadata={"help": "folder for report.md, report.html and cells"})


def main() -> None:
    """Compare what the command line names."""
    report(parse(Compare, __doc__))


def report(args: Compare) -> list[Comparison]:
    """Make every run that is missing, and the report."""
    if args.protocol not in PROTOCOLS:
        raise PlanError(f"no protocol is called {args.protocol!r}; wanted one of {', '.join(PROTOCOLS)}")
    if find_spec("matplotlib") is None:
        raise PlanError("the report needs matplotlib: pip install 'hybridrec[report]'")
    comparisons: list[Comparison] = []
    failures: list[Failure] = []
    for name in args.data:
        data = hr.load(name)
        found: dict[str, list[Result]] = {}
        for text in args.methods:
            for plan in plans(text, data, args.plan, args.tuned, args.shuffled):
                found[plan.label] = runs(plan, data, args, failures)
        found = {label: results for label, results in found.items() if results}
        if found:
            baseline = args.baseline if args.baseline in found else None
            comparisons.append(compare(found, args.metrics, baseline=baseline))
            print(comparisons[-1], flush=True)
        write_report(args.out, comparisons, failures, args.title)
    return comparisons


def runs(plan: Plan, data: hr.Dataset, args: Compare, failures: list[Failure]) -> list[Result]:
    """A result for every seed, or one where the seed changes nothing; what fails is noted."""
    results: list[Result] = []
    for seed in args.seeds:
        try:
            path = Path(args.out) / "cells" / plan.key(data, seed, how(args))
            if not Path(f"{path}.json").exists():
                print(f"{data.name}: {plan.label}, seed {seed} ...", flush=True)
                once(plan, data, seed, args).save(path)
            results.append(Result.load(path))
        except Exception as e:
            traceback.print_exc()
            failures.append(Failure(data.name, plan.label, seed, f"{type(e).__name__}: {e}"))
        if results and not results[0].passport["random"]:
            break
    return results


def once(plan: Plan, data: hr.Dataset, seed: int, args: Compare) -> Result:
    """Build, train and judge."""
    from accelerate.utils import set_seed

    reset_peak_memory()
    source = shuffled_text(data, seed) if plan.shuffled else data
    set_seed(seed)
    fresh = random_state()
    method = getattr(hr, plan.method)(source, **build(plan.arguments))
    drew = random_state() != fresh
    hr.fit(method, source, seed=seed, **plan.fit)
    result = hr.evaluate(method, data, args.part, ks=cuts(args), protocol=PROTOCOLS[args.protocol])
    # A closed form is told no seed: it is random only if it draws from the global generators, which fit seeds anew.
    chance = plan.shuffled or not hasattr(method, "solve") or drew or random_state() != fresh
    result.passport |= {"label": plan.label, "tuning": plan.tuning, "random": chance, "shuffled_text": plan.shuffled}
    return result


def how(args: Compare) -> list[Any]:
    """What a result depends on besides data, method and seed."""
    return [args.part, PROTOCOLS[args.protocol].as_dict(), cuts(args)]


def cuts(args: Compare) -> list[int]:
    """The cut-offs that the metrics need."""
    return sorted({cutoff(metric) for metric in args.metrics})


if __name__ == "__main__":
    run(main)
