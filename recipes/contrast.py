"""The survey's first experiment: does agreement between two thinned graphs help a recommender that only learns to rank?

    python recipes/contrast.py --data ml-100k ml-1m-diffrec
    python recipes/contrast.py --methods LightGCN SGL MultVAE CFGAN --title "Three paradigms" --out runs/paradigms

SGL (edges dropped, InfoNCE) beside LightGCN, the same without its contrast; any other methods beside them with --methods.
Each is tuned on valid with the same budget, where --tuned does not have it yet, then judged on test over seeds by
recipes/compare.py. OUT has its report, and passports.json of every run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from arguments import parse, run, write_json
from compare import Compare, report
from tune import Tune, search

import hybridrec as hr
from hybridrec.evaluation import Comparison

RECIPES = Path(__file__).parent
TUNED = "runs/experiments/tuned"  # what we found: recipes/results/experiments/tuned


@dataclass
class Contrast:
    """What is compared, and what its tuning may cost."""

    data: list[str] = field(default_factory=lambda: ["ml-100k"], metadata={"help": "names, folders or Hub ids of data sets"})
    methods: list[str] = field(default_factory=lambda: ["LightGCN", "SGL"], metadata={"help": "labels of the file of spaces"})
    baseline: str = field(default="LightGCN", metadata={"help": "label all are compared with"})
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2], metadata={"help": "seeds, one run each"})
    trials: int = field(default=4, metadata={"help": "trials of each method's search"})
    spaces: str = field(default=str(RECIPES / "spaces_general.yaml"), metadata={"help": "YAML file of what to search"})
    tuned: str = field(default=TUNED, metadata={"help": "folder of what was found"})
    title: str = field(default="Contrast of thinned graphs against ranking alone", metadata={"help": "title of the report"})
    out: str = field(default="runs/contrast", metadata={"help": "folder for the report, passports and cells"})


def main() -> None:
    """Tune what is not tuned yet, compare, write."""
    args = parse(Contrast, __doc__)
    for name in args.data:
        tune_missing(name, args.methods, args.trials, args.spaces, args.tuned)
    asked = Compare(args.data, args.methods, args.seeds, tuned=args.tuned, title=args.title, out=args.out)
    asked.baseline = args.baseline
    write_passports(args.out, report(asked))


def tune_missing(name: str, methods: Sequence[str], trials: int, spaces: str, tuned: str) -> None:
    """Search for the arguments of ``methods`` on data set ``name`` that the folder ``tuned`` does not hold."""
    folder = Path(tuned) / hr.load(name).name
    missing = [method for method in methods if not (folder / f"{method}.json").exists()]
    if missing:
        search(Tune(data=name, methods=missing, trials=trials, spaces=spaces, out=tuned))


def write_passports(out: str, comparisons: Sequence[Comparison]) -> None:
    """The passport of every run, as ``passports.json`` in ``out``."""
    found = [result.passport for c in comparisons for row in c.rows for result in row.runs]
    write_json(Path(out) / "passports.json", found)


if __name__ == "__main__":
    run(main)
