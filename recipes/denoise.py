"""Train the hybrid on a data set with text, whole or without one of its parts, and judge it.

    python recipes/denoise.py FOLDER                   # train | second-last item | last item of every user: choose on these
    python recipes/denoise.py FOLDER --final           # everything before the last item trains and is read; judged once

FOLDER has `features_text.npy`, as `recipes/embed.py` writes it. `--final` trains for `--epochs` and validates nothing: their
number is what the first form found. Results go to `--out` with their passports, the method beside them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from arguments import parse, run
from torch.optim.lr_scheduler import LambdaLR

import hybridrec as hr
from hybridrec.data.batches import generator
from hybridrec.data.dataset import Feature
from hybridrec.data.split import LeaveOneOut
from hybridrec.errors import DataError
from hybridrec.saving import save_method

VARIANTS: dict[str, dict[str, Any]] = {
    "hybrid": {},
    "no text": {"modality": None, "words": None},
    "no words": {"words": None},
    "no sentences": {"modality": None},
    "nothing dropped": {"drop": 0.0, "cold": 0.0},
    "all candidates": {"candidates": None},
    "noise": {"noise": 0.5},
}


@dataclass
class Denoise:
    """Arguments."""

    data: str = field(default="amazon-beauty", metadata={"help": "name, folder or Hub id of a data set with timestamps"})
    final: bool = field(default=False, metadata={"help": "train on all before the last item, judge by the last, once"})
    variant: str = field(default="hybrid", metadata={"help": f"one of: {', '.join(VARIANTS)}"})
    shuffle: bool = field(default=False, metadata={"help": "control: every item gets another item's text"})
    dim: int = field(default=192, metadata={"help": "width of the item vectors"})
    drop: float = field(default=0.1, metadata={"help": "chance that an entry that is read is dropped"})
    cold: float = field(default=0.0, metadata={"help": "chance that an item is known by its text alone"})
    noise: float = field(default=0.0, metadata={"help": "deviation of the noise on what is read"})
    epochs: int = field(default=3, metadata={"help": "passes over the users"})
    batch: int = field(default=80, metadata={"help": "users of a batch; each entry of theirs is a target"})
    lr: float = field(default=3e-3, metadata={"help": "largest learning rate; it falls to zero over the epochs"})
    every: int = field(default=1, metadata={"help": "epochs between validations"})
    seed: int = field(default=0, metadata={"help": "seed of weights, order and noise"})
    out: str = field(default="runs/denoise", metadata={"help": "folder for the results"})


def main() -> None:
    """Train and judge."""
    args = parse(Denoise, __doc__, "data")
    data = hr.load(args.data, split=LeaveOneOut(valid=not args.final))
    if args.shuffle:
        data = shuffled(data, args.seed)
    torch.manual_seed(args.seed)
    given = {"dim": args.dim, "drop": args.drop, "cold": args.cold, "noise": args.noise, **VARIANTS[args.variant]}
    method = hr.Hybrid(data, **given)
    hr.fit(
        method,
        data,
        epochs=args.epochs,
        batch_size=args.batch,
        lr=args.lr,
        schedule=falling,
        every=args.every,
        patience=None,
        seed=args.seed,
    )
    part = "test" if args.final else "valid"
    result = hr.evaluate(method, data, part=part)
    print(result)
    name = "-".join([data.name, part, args.variant.replace(" ", "_"), *(["shuffled"] if args.shuffle else []), str(args.seed)])
    result.save(Path(args.out) / name)
    save_method(method, Path(args.out) / name, data.schema)


def falling(optimizer: torch.optim.Optimizer, steps: int) -> LambdaLR:
    """Up over the first hundred steps, then down to zero in a straight line."""
    return LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 100) * max(0.0, 1 - step / steps))


def shuffled(data: hr.Dataset, seed: int) -> hr.Dataset:
    """The data with every item's text features given to another item."""
    if "text" not in data.features.get(data.target, {}):
        raise DataError(f"data set {data.name!r} has no text features to shuffle: make a copy with recipes/embed.py")
    feature = data.features[data.target]["text"]
    order = torch.randperm(len(feature.known), generator=generator("cpu", seed))
    swapped = Feature(feature.values[order], feature.known[order])
    return replace(data, features={**data.features, data.target: {**data.features[data.target], "text": swapped}})


if __name__ == "__main__":
    run(main)
