"""The hybrid on rows without order, beside the linear denoiser it competes with (EDLAE, with kernels of text) and their sum.

    python recipes/rows.py FOLDER --report recipes/results/hybrid/NAME.json

The split is the data's own; without one each user's pairs are divided 80/10/10. Where there are no valid rows, one in ten
training pairs is held out to choose by, and what was chosen is trained on all of them. Chosen on the valid rows: the closed
form's `--ridges`, `--dropouts`, `--kernels` and `--word_kernels`, the hybrid's `--variants`, and the `--shares` of the hybrid
in the sum. Test rows are looked at once, at the end.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import torch
from arguments import parse, run
from leads import table, write
from schedules import solved, to_the_end

import hybridrec as hr
from hybridrec.data.split import with_valid
from hybridrec.errors import DataError
from hybridrec.evaluation import Result
from hybridrec.views.absorb import Anywhere

METRIC = "ndcg@20"
HYBRID, CLOSED, BOTH = "hybrid", "closed form", "closed form + hybrid"
# What may be other than usual: D, how sharp the softmax is, how many others of its row a target is rebuilt from.
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "temperature 0.1": {"temperature": 0.1},
    "temperature 0.15": {"temperature": 0.15},
    "drop 0.5": {"drop": 0.5},
    "all words": {"vocabulary": 1 << 16},
    "all words, cold 0.5": {"vocabulary": 1 << 16, "cold": 0.5},
    "temperature 0.15, drop 0.5": {"temperature": 0.15, "drop": 0.5},
}


@dataclass
class Rows:
    """Arguments."""

    data: str = field(default="ml-100k", metadata={"help": "folder, with features_*.npy (recipes/embed.py) where text is read"})
    seeds: list[int] = field(default_factory=lambda: [0], metadata={"help": "seeds of weights, order and noise"})
    modality: str = field(default="", metadata={"help": "name of the sentence features; empty: none are read"})
    words: str = field(default="", metadata={"help": "name of the word features; empty: none are read"})
    ridges: list[float] = field(default_factory=lambda: [100.0, 300.0], metadata={"help": "of the closed form"})
    dropouts: list[float] = field(default_factory=lambda: [0.3, 0.5], metadata={"help": "of its input"})
    kernels: list[float] = field(default_factory=lambda: [0.0], metadata={"help": "weights of its text kernel; 0: none"})
    word_kernels: list[float] = field(default_factory=lambda: [0.0], metadata={"help": "weights of its word kernel; 0: none"})
    variants: list[str] = field(default_factory=lambda: ["plain"], metadata={"help": f"of: {', '.join(VARIANTS)}"})
    shares: list[float] = field(
        default_factory=lambda: [0.1, 0.2, 0.4, 0.8], metadata={"help": "weights of the hybrid beside 1 of the closed form"}
    )
    dim: int = field(default=192, metadata={"help": "width of the hybrid's item vectors"})
    epochs: int = field(default=10, metadata={"help": "passes over the users"})
    batch: int = field(default=80, metadata={"help": "users of a batch"})
    targets: int = field(default=50, metadata={"help": "entries of a long row that are targets in an epoch"})
    lr: float = field(default=3e-3, metadata={"help": "largest learning rate; it falls to zero over the epochs"})
    report: str = field(default="", metadata={"help": "JSON file for every row and seed with passports"})
    cells: str = field(default="runs/rows", metadata={"help": "folder for users' values, for opponents.py --beside"})


def main() -> None:
    """Choose on valid, judge on test."""
    args = parse(Rows, __doc__, "data")
    if unknown := sorted(set(args.variants) - set(VARIANTS)):
        raise DataError(f"no variant is called {unknown[0]!r}; wanted some of {list(VARIANTS)}")
    data = hr.load(args.data)
    inner = with_valid(data)
    points = list(product(args.ridges, args.dropouts, args.kernels, args.word_kernels))
    closed = best([(p, opponent(args, inner, *p)) for p in points], inner)
    hybrids = best([(v, trained(args, inner, v, args.seeds[0])) for v in args.variants], inner)
    sums = [(s, hr.Blend.of(inner, [closed[1], hybrids[1]], [1.0, s])) for s in args.shares]
    share = best(sums, inner)[0]
    core = closed[1] if inner is data else opponent(args, data, *closed[0])
    runs = []
    for seed in args.seeds:
        kept = inner is data and seed == args.seeds[0]
        method = hybrids[1] if kept else trained(args, data, hybrids[0], seed)
        both = hr.Blend.of(data, [core, method], [1.0, share])
        rows = {CLOSED: core, HYBRID: method, BOTH: both}
        runs.append({name: hr.evaluate(x, data, "test") for name, x in rows.items()})
        for name, result in runs[-1].items():
            result.save(Path(args.cells) / f"{data.name}-{seed}-{name.replace(' ', '-')}")
        print(table(runs, BOTH), flush=True)
        if args.report:
            write(Path(args.report), runs, BOTH)


def best(tried: list[tuple[Any, Any]], data: hr.Dataset) -> tuple[Any, Any]:
    """The point and the method that rank the valid rows best."""
    results: list[Result] = [hr.evaluate(method, data, "valid") for _, method in tried]
    for (point, method), result in zip(tried, results, strict=True):
        print(f"valid {type(method).__name__} {point}: {result.metrics[METRIC]:.4f}", flush=True)
    return tried[max(range(len(tried)), key=lambda i: results[i].metrics[METRIC])]


def opponent(args: Rows, data: hr.Dataset, ridge: float, dropout: float, kernel: float, words: float) -> Any:
    """EDLAE, with kernels of what text there is."""
    told: dict[str, Any] = {"modality": args.modality if kernel else None, "words": args.words if words else None}
    return solved(hr.CEASE(data, ridge, kernel, dropout=dropout, word_weight=words, **told), data)


def trained(args: Rows, data: hr.Dataset, variant: str, seed: int) -> hr.Hybrid:
    """A Hybrid after all its epochs; nothing is validated on the way."""
    torch.manual_seed(seed)
    told = {"modality": args.modality or None, "words": args.words or None, "view": Anywhere(targets=args.targets)}
    method = hr.Hybrid(data, dim=args.dim, **told, **VARIANTS[variant])
    to_the_end(method, data, args.epochs, args.batch, args.lr, seed, progress=False)
    return method


if __name__ == "__main__":
    run(main)
