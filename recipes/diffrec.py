"""DiffRec with its authors' settings on their split of ml-1m, beside its one-step control and EASE.

    python recipes/diffrec.py FOLDER --seeds 0 1 2 --report recipes/results/hybrid/ml-1m-diffrec.json

Wang et al. 2023, DiffRec, arXiv 2304.04971: batches of 400 rows, the best epoch by recall@20 of the valid rows. A seed whose
results are in `--cells` is not run again, and one that was stopped goes on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
from arguments import parse, run
from leads import table, write

import hybridrec as hr
from hybridrec.evaluation import Result


@dataclass
class Diffuse:
    """Arguments."""

    data: str = field(default="ml-1m-diffrec", metadata={"help": "folder with the authors' split"})
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2], metadata={"help": "seeds of weights, batches and noise"})
    lr: float = field(default=5e-5, metadata={"help": "learning rate"})
    epochs: int = field(default=400, metadata={"help": "at most"})
    every: int = field(default=10, metadata={"help": "epochs between validations"})
    patience: int = field(default=3, metadata={"help": "validations without improvement before it stops"})
    ridge: float = field(default=1000.0, metadata={"help": "of EASE"})
    report: str = field(default="runs/diffrec.json", metadata={"help": "JSON file for every row and seed with passports"})
    cells: str = field(default="runs/diffrec", metadata={"help": "folder for users' values and checkpoints"})


def main() -> None:
    """Train and judge every seed that has not been."""
    args = parse(Diffuse, __doc__, "data")
    data = hr.load(args.data)
    runs = [one(args, data, seed) for seed in args.seeds]
    print(table(runs, "DiffRec"))
    write(Path(args.report), runs, "DiffRec")


def one(args: Diffuse, data: hr.Dataset, seed: int) -> dict[str, Result]:
    """The rows of a seed, read from disk where they are there."""
    cells = {name: Path(args.cells) / f"{data.name}-{args.lr:g}-{seed}-{name}" for name in ("DiffRec", "one step", "EASE")}
    if not all(Path(f"{cell}.json").exists() for cell in cells.values()):
        closed = hr.EASE(data, ridge=args.ridge)
        hr.fit(closed, data)
        torch.manual_seed(seed)
        method = hr.DiffRec(data)
        hr.fit(
            method,
            data,
            epochs=args.epochs,
            batch_size=400,
            lr=args.lr,
            every=args.every,
            metric="recall@20",
            patience=args.patience,
            seed=seed,
            progress=False,
            checkpoint=Path(args.cells) / f"checkpoints-{args.lr:g}-{seed}",
        )
        found = {"EASE": hr.evaluate(closed, data), "DiffRec": hr.evaluate(method, data)}
        method.asks = 1
        found["one step"] = hr.evaluate(method, data)
        for name, result in found.items():
            result.save(cells[name])
            print(f"seed {seed}, {name}: {result.metrics['recall@20']:.4f} {result.metrics['ndcg@20']:.4f}", flush=True)
    return {name: Result.load(cell) for name, cell in cells.items()}


if __name__ == "__main__":
    run(main)
