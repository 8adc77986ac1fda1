"""Score a data set that was never trained on, by text alone: its catalogue and its users are both new.

    python recipes/denoise.py SOURCE --final ...                       # leaves a Hybrid in runs/denoise/SOURCE-test
    python recipes/zeroshot.py TARGET --sources runs/denoise/SOURCE-test

TARGET has its own split and `features_text.npy`, `features_words.npy`. Beside popularity, the nearest items by frozen text,
and the same Hybrid trained on TARGET alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
from arguments import parse, run
from denoise import falling
from leads import table, write

import hybridrec as hr
from hybridrec.baselines.content import HistoryMean
from hybridrec.evaluation import Result
from hybridrec.saving import load_method


@dataclass
class ZeroShot:
    """Arguments."""

    data: str = field(default="amazon-office", metadata={"help": "folder of the data set to score"})
    sources: list[str] = field(default_factory=list, metadata={"help": "folders of Hybrids trained on other data sets"})
    seeds: list[int] = field(default_factory=lambda: [0], metadata={"help": "seeds of the one trained on the data set itself"})
    epochs: int = field(default=20, metadata={"help": "its passes over the users, at most; the best by the valid rows is kept"})
    dim: int = field(default=192, metadata={"help": "its width"})
    report: str = field(default="", metadata={"help": "JSON file for every row with its passport"})


def main() -> None:
    """Judge all rows on the test part."""
    args = parse(ZeroShot, __doc__, positional="data")
    data = hr.load(args.data)
    there = {Path(s).name: load_method(s)[0].transfer(data) for s in args.sources}
    rows = {f"zero-shot from {name}": method for name, method in there.items()}
    if len(there) > 1:
        rows["zero-shot, their sum"] = hr.Blend.of(data, list(there.values()), [1.0] * len(there))
    popular = hr.Popularity(data)
    hr.fit(popular, data)
    rows = {"popularity": popular, "frozen text kNN": HistoryMean(data, data.features[data.target]["text"].values), **rows}
    fixed = {name: hr.evaluate(method, data) for name, method in rows.items()}
    runs: list[dict[str, Result]] = []
    for seed in args.seeds:
        torch.manual_seed(seed)
        own = hr.Hybrid(data, dim=args.dim)
        hr.fit(own, data, epochs=args.epochs, batch_size=80, lr=3e-3, schedule=falling, every=2, patience=3, seed=seed)
        runs.append({**fixed, "trained on it": hr.evaluate(own, data)})
    judged = next(name for name in reversed(fixed))
    print(table(runs, judged))
    if args.report:
        write(Path(args.report), runs, judged)


if __name__ == "__main__":
    run(main)
