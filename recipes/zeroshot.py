"""Score data sets that were never trained on, by text alone: their catalogues and their users are both new.

    python recipes/zeroshot.py --targets TARGET ... --sources SOURCE ...

All are folders with `features_text.npy` and `features_words.npy`; a target has its own split. On every source a Hybrid is
trained, half of the items known by their text alone in each batch; or a source is a Hybrid saved before. Beside popularity,
frozen text, its sums with `--shares` of the zero-shot scores, and the same Hybrid trained on the target alone. Vectors are read
in two ways: one vector a user, or by what of the history is nearest (`HistoryKernel`), as the sums read frozen text. A share is
to be chosen on the valid rows of another target, and then given alone: `--part valid`, `--own_epochs 0`. The sum with the first
share is what is compared.
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
from hybridrec.baselines.content import HistoryKernel, HistoryMean
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
        default_factory=lambda: [1.0], metadata={"help": "weights of the zero-shot scores beside 1 of frozen text"}
    )
    temperature: float = field(default=0.1, metadata={"help": "how far the nearest of a history counts above the rest"})
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
    return method.cpu()  # beside frozen text


def judge(args: ZeroShot, data: hr.Dataset, known: dict[str, hr.Hybrid]) -> tuple[dict[str, Result], str]:
    """Every row of a target, and the name of the one that is compared with the others."""
    popular, near = hr.Popularity(data), HistoryMean(data, data.features[data.target]["text"].values)
    hr.fit(popular, data)
    nearest = HistoryKernel(near.items, args.temperature)
    asks = {"popularity": popular, "frozen text kNN": near, "frozen text, nearest": nearest}
    there = {name: method.transfer(data) for name, method in known.items()}
    asks |= {f"zero-shot from {name}": method for name, method in there.items()}
    every, both = f"zero-shot from {'+'.join(there)}", Sum([*there.values()])
    asks[every] = both
    asks[f"{every}, nearest"] = Sum([HistoryKernel(m.catalogue().detach(), args.temperature) for m in there.values()])
    sums = {f"frozen text, nearest + {share:g} of it": Sum([nearest, both], [1.0, share]) for share in args.shares}
    judged = next(iter(sums))
    rows = {name: hr.evaluate(method, data, args.part) for name, method in (asks | sums).items()}
    if not args.own_epochs:
        return rows, judged
    torch.manual_seed(args.seed)
    own = hr.Hybrid(data, dim=args.dim)
    hr.fit(own, data, epochs=args.own_epochs, batch_size=80, lr=3e-3, schedule=falling, every=2, patience=3, seed=args.seed)
    return {**rows, "trained on it": hr.evaluate(own, data, args.part)}, judged


if __name__ == "__main__":
    run(main)
