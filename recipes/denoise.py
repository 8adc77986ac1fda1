"""Train the hybrid on a data set with text, whole or without one of its parts, and judge it.

    python recipes/denoise.py FOLDER                   # train | second-last item | last item of every user: choose on these
    python recipes/denoise.py FOLDER --final           # everything before the last item trains and is read; judged once

Item texts are columns of the items' table, encoded by a frozen sentence encoder and kept in `--cache`. `--final` trains for
`--epochs` and validates nothing: the number is the one that the first form found. Results go to `--out` with their passports.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from arguments import parse, run
from torch.optim.lr_scheduler import LambdaLR

import hybridrec as hr
from hybridrec.data.batches import generator
from hybridrec.data.dataset import Feature
from hybridrec.data.split import LeaveOneOut
from hybridrec.encoders.text import DEFAULT, TextEncoder
from hybridrec.errors import DataError

VARIANTS: dict[str, dict[str, Any]] = {
    "hybrid": {},
    "no text": {"modality": None},
    "no noise": {"noise": 0.0},
    "nothing dropped": {"drop": 0.0, "cold": 0.0},
}


@dataclass
class Denoise:
    """Arguments."""

    data: str = field(default="amazon-beauty", metadata={"help": "name, folder or Hub id of a data set with timestamps"})
    final: bool = field(default=False, metadata={"help": "train on all before the last item, judge by the last, once"})
    variant: str = field(default="hybrid", metadata={"help": f"one of: {', '.join(VARIANTS)}"})
    columns: list[str] = field(default_factory=lambda: ["title", "categories"], metadata={"help": "what makes an item's text"})
    encoder: str = field(default=DEFAULT, metadata={"help": "sentence-transformers model, by Hub id or path"})
    cache: str = field(default=".cache", metadata={"help": "folder for encoded texts"})
    shuffle: bool = field(default=False, metadata={"help": "control: every item gets another item's text"})
    dim: int = field(default=96, metadata={"help": "width of the item vectors"})
    drop: float = field(default=0.1, metadata={"help": "chance that an entry that is read is dropped"})
    cold: float = field(default=0.0, metadata={"help": "chance that an item is known by its text alone"})
    noise: float = field(default=0.0, metadata={"help": "deviation of the noise on what is read"})
    epochs: int = field(default=10, metadata={"help": "passes over the users"})
    batch: int = field(default=80, metadata={"help": "users of a batch; each entry of theirs is a target"})
    lr: float = field(default=3e-3, metadata={"help": "largest learning rate; it falls to zero over the epochs"})
    every: int = field(default=2, metadata={"help": "epochs between validations"})
    seed: int = field(default=0, metadata={"help": "seed of weights, order and noise"})
    out: str = field(default="runs/denoise", metadata={"help": "folder for the results"})


def main() -> None:
    """Train and judge."""
    args = parse(Denoise, __doc__, "data")
    data = with_text(hr.load(args.data, split=LeaveOneOut(valid=not args.final)), args)
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


def falling(optimizer: torch.optim.Optimizer, steps: int) -> LambdaLR:
    """Up over the first hundred steps, then down to zero in a straight line."""
    return LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 100) * max(0.0, 1 - step / steps))


def with_text(data: hr.Dataset, args: Denoise) -> hr.Dataset:
    """The data with features ``text``: what the frozen encoder makes of every item's columns, from the cache if there."""
    table = data.tables.get(data.target)
    missing = [c for c in args.columns if table is None or c not in table.column_names]
    if missing:
        raise DataError(f"data set {data.name!r} has no item columns {missing}: name those it has by --columns")
    assert table is not None
    texts = [". ".join(str(x) for x in row if x) for row in zip(*(table[c].to_pylist() for c in args.columns), strict=True)]
    path = Path(args.cache) / f"{data.name}-{'-'.join(args.columns)}-{Path(args.encoder).name}.npy"
    if not path.is_file():
        encoder = TextEncoder(args.encoder, rank=0).eval()
        with torch.no_grad():
            values = torch.cat([encoder.sentences(encoder.tokenise(texts[i : i + 1024])) for i in range(0, len(texts), 1024)])
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, torch.nn.functional.normalize(values, dim=1).cpu().numpy())
    values = torch.from_numpy(np.load(path, allow_pickle=False))
    if len(values) != len(texts):
        raise DataError(f"{path} has {len(values)} rows for {len(texts)} items: it is of other data, remove it")
    if args.shuffle:
        values = values[torch.randperm(len(values), generator=generator("cpu", args.seed))]
    known = torch.tensor([bool(t) for t in texts])
    feature = Feature(values * known.unsqueeze(1), known)
    return replace(data, features={**data.features, data.target: {**data.features.get(data.target, {}), "text": feature}})


if __name__ == "__main__":
    run(main)
