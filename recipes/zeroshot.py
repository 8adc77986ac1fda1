"""Score data sets that were never trained on, by text alone: their catalogues and their users are both new.

    python recipes/zeroshot.py --targets TARGET ... --sources SOURCE ...

All are folders with `features_text.npy` and `features_words.npy`; a target has its own split. On every source a Hybrid is
trained, half of the items known by their text alone in each batch; or a source is a Hybrid saved before. Beside popularity, the
nearest items by frozen text, their sums with `--shares` of the zero-shot scores, and the same Hybrid trained on the target
alone. A share is to be chosen on the valid rows of another target, and then given alone: `--part valid`, `--own_epochs 0`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
from arguments import ConfigError, parse, run
from leads import table, write
from schedules import falling, to_the_end
from sums import Sum

import hybridrec as hr
from hybridrec.baselines.content import HistoryMean
from hybridrec.data.split import LeaveOneOut
from hybridrec.evaluation import Result
from hybridrec.saving import CONFIG, load_method, save_method


@dataclass
class ZeroShot:
    """Arguments."""

    targets: list[str] = field(default_factory=list, metadata={"help": "folders of the data sets to score"})
    sources: list[str] = field(default_factory=list, metadata={"help": "folders of data sets to train on, or of saved Hybrids"})
    seed: int = field(default=0, metadata={"help": "seed of weights and order"})
    part: str = field(default="test", metadata={"help": "rows of the targets to judge by: test or valid"})
    cold: float = field(default=0.5, metadata={"help": "chance that an item is known by its text alone in training"})
    dim: int = field(default=192, metadata={"help": "width of the item vectors"})
    epochs: int = field(default=3, metadata={"help": "passes over the users of a source"})
    own_epochs: int = field(
        default=8, metadata={"help": "passes over the users of a target, at most; the best on valid is kept; 0: not trained"}
    )
    shares: list[float] = field(
        default_factory=lambda: [1.0], metadata={"help": "weights of the zero-shot scores beside 1 of the nearest items"}
    )
    out: str = field(default="runs/zeroshot", metadata={"help": "folder for the Hybrids trained on sources"})
    report: str = field(default="", metadata={"help": "folder for a JSON file a target"})


def main() -> None:
    """Train on every source, judge every target."""
    args = parse(ZeroShot, __doc__)
    if not args.sources:
        raise ConfigError("name at least one of --sources: a data set, or a folder with a Hybrid that was saved")
    known = {Path(source).name: trained(args, source) for source in args.sources}
    for target in args.targets:
        data = hr.load(target)
        rows, judged = judge(args, data, known)
        print(f"\n{data.name}:\n{table([rows], judged)}", flush=True)
        if args.report:
            write(Path(args.report) / f"{data.name}-zeroshot.json", [rows], judged)


def trained(args: ZeroShot, source: str) -> hr.Hybrid:
    """The Hybrid of a source."""
    if (Path(source) / CONFIG).exists():
        return load_method(source)[0]
    data = hr.load(source, split=LeaveOneOut(valid=False))
    torch.manual_seed(args.seed)
    method = hr.Hybrid(data, dim=args.dim, cold=args.cold)
    to_the_end(method, data, args.epochs, 80, 3e-3, args.seed)
    save_method(method, Path(args.out) / data.name, data.schema)
    return method


def judge(args: ZeroShot, data: hr.Dataset, known: dict[str, hr.Hybrid]) -> tuple[dict[str, Result], str]:
    """Every row of a target, and the name of the one that is compared with the others."""
    popular, near = hr.Popularity(data), HistoryMean(data, data.features[data.target]["text"].values)
    hr.fit(popular, data)
    rows = {"popularity": hr.evaluate(popular, data, args.part), "frozen text kNN": hr.evaluate(near, data, args.part)}
    there = {name: method.transfer(data) for name, method in known.items()}
    for name, method in there.items():
        rows[f"zero-shot from {name}"] = hr.evaluate(method, data, args.part)
    judged = f"zero-shot from {'+'.join(there)}"
    both = Sum([*there.values()])
    rows[judged] = hr.evaluate(both, data, args.part)
    for share in args.shares:
        rows[f"frozen text kNN + {share:g} of it"] = hr.evaluate(Sum([near, both], [1.0, share]), data, args.part)
    if not args.own_epochs:
        return rows, judged
    torch.manual_seed(args.seed)
    own = hr.Hybrid(data, dim=args.dim)
    hr.fit(own, data, epochs=args.own_epochs, batch_size=80, lr=3e-3, schedule=falling, every=2, patience=3, seed=args.seed)
    return {**rows, "trained on it": hr.evaluate(own, data, args.part)}, judged


if __name__ == "__main__":
    run(main)
