"""Does a masked-reconstruction branch beside a causal sequence model improve what it foretells, above all of the long tail?

    python recipes/branch.py ml-100k --epochs 60 --stride 25
    python recipes/branch.py path/to/amazon-beauty --epochs 20 --seeds 0 1 2 --weights 0.1 0.3

The same transformer is trained with and without the branch, from the same seeds, leaving one out: the last item of each user
is tested, the one before it chooses the epoch and the branch's weight, and is read when test is judged. Differences are of
users' means over the seeds: paired bootstrap, Holm over the bands of popularity. Popularity bands hold about equally many
training rows each. Nothing of test is looked at but for the weight that valid chose.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

import arguments
import torch
from schedules import falling

import hybridrec as hr
from hybridrec.data.split import LeaveOneOut
from hybridrec.evaluation import Result
from hybridrec.evaluation.protocol import SEQUENTIAL
from hybridrec.evaluation.significance import differences, holm, over_seeds
from hybridrec.evaluation.slices import BANDS, bands

METRICS = ("recall@10", "ndcg@10", "ndcg@20")


def trained(data: hr.Dataset, weight: float, seed: int, args: argparse.Namespace) -> tuple[float, Result]:
    """The model with a branch of ``weight``: its metric on valid, and its result on test."""
    torch.manual_seed(seed)
    method = hr.MaskedBranch(data, dim=args.dim, dropout=args.dropout, stride=args.stride, weight=weight)
    # As many epochs for all: patience would end some before they have begun to learn. The best on valid is kept.
    how = {"epochs": args.epochs, "batch_size": 128, "lr": 2e-3, "schedule": falling, "patience": None}
    fitted = hr.fit(method, data, metric="ndcg@10", every=5, seed=seed, progress=False, **how)
    valid = max(line["valid"] for line in fitted.history if "valid" in line)
    result = hr.evaluate(method, data, protocol=SEQUENTIAL, ks=(10, 20))
    print(f"weight {weight}, seed {seed}: valid {valid:.4f}, {fitted.epochs} epochs, {fitted.seconds:.0f} s", flush=True)
    return valid, result


def compared(data: hr.Dataset, without: list[Result], branched: list[Result]) -> dict[str, Any]:
    """Both models' means over seeds and their difference: over all users, and by the popularity of what they chose."""
    one, two = over_seeds(without), over_seeds(branched)
    chosen = torch.bincount(data.train.index[1], minlength=data.counts["item"])
    labels, band = bands(chosen, chosen, BANDS["popularity"])
    target = torch.full((data.counts["user"],), -1).index_put_((data.part("test").index[0],), data.part("test").index[1])
    own = band[target[without[0].users]]
    groups = {"all": torch.ones_like(own, dtype=torch.bool)}
    groups |= {f"{label} training rows": own == b for b, label in enumerate(labels) if bool((own == b).any())}
    table: dict[str, Any] = {}
    for metric in METRICS:
        values = torch.stack([one.per_user[metric], two.per_user[metric]], 1)
        found = {name: differences(values[rows], 0)[1] for name, rows in groups.items()}
        adjusted = holm([d.p for name, d in found.items() if d is not None and name != "all"])
        for (name, difference), p in zip(found.items(), [None, *adjusted], strict=True):
            rows = groups[name]
            assert difference is not None
            table.setdefault(name, {"users": int(rows.sum())})[metric] = {
                "without": values[rows, 0].mean().item(),
                "branch": values[rows, 1].mean().item(),
                "difference": asdict(difference.mean),
                "p": difference.p if p is None else p,
            }
    return table


def main() -> None:
    """Train, choose, judge, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="a data set folder, or a known name")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--weights", type=float, nargs="+", default=[0.1, 0.3, 1.0], help="of the branch; valid chooses")
    parser.add_argument("--epochs", type=int, default=120, help="the best of which on valid is kept")
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--dropout", type=float, default=0.5)
    parser.add_argument("--stride", type=int, help="steps between the windows of a long history; only its last if none")
    parser.add_argument("--out", type=Path, default=Path("recipes/results/sequential"), help="folder of results")
    args = parser.parse_args()
    data = hr.load(args.data, split=LeaveOneOut())
    runs = {w: [trained(data, w, seed, args) for seed in args.seeds] for w in (0.0, *args.weights)}
    valid = {w: sum(v for v, _ in found) / len(found) for w, found in runs.items()}
    best = max(args.weights, key=valid.__getitem__)
    without, branched = ([result for _, result in runs[w]] for w in (0.0, best))
    table = compared(data, without, branched)
    for name, row in table.items():
        cell = row["ndcg@10"]
        low, high = cell["difference"]["low"], cell["difference"]["high"]
        print(
            f"{name} ({row['users']} users): NDCG@10 {cell['without']:.4f} without, {cell['branch']:.4f} with the branch, "
            f"difference [{low:+.4f}, {high:+.4f}], p {cell['p']:.4f}"
        )
    passports = {"without": [r.passport for r in without], "branch": [r.passport for r in branched]}
    record = {"weight": best, "valid ndcg@10": {str(w): v for w, v in valid.items()}, "test": table, **passports}
    arguments.write_json(args.out / f"branch-{data.name}.json", record)


if __name__ == "__main__":
    arguments.run(main)
