"""The hybrid's competitors: each is tried at its points on the valid rows, and its best is judged on test.

    python recipes/opponents.py FOLDER EASE EDLAE IALS --last                       # last item out; valid: second-last
    python recipes/opponents.py OTHER EASE EDLAE IALS --last --as FOLDER            # the points found best there, as they are
    python recipes/opponents.py RATINGS EASE EDLAE IALS                             # the split of the data, or a random one

Where the split has no valid rows one in ten training pairs is held out to choose by, and what was chosen is trained on all.

Points are data: opponents.yaml. With `--last` everything before the last item trains and is read on test. `--recencies` are
tried besides at every point of a closed form, whose solution they leave alone. What ended is in OUT and is not run again.

    python recipes/opponents.py FOLDER EASE EDLAE IALS --last --beside runs/denoise/cells/NAME-test-0-hybrid

tells how far a result saved by another recipe is ahead of each, and writes that table to OUT as well.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from arguments import read_yaml, run, write_json
from leads import table, write
from schedules import falling, solved

import hybridrec as hr
from hybridrec.data.split import LeaveOneOut, with_valid
from hybridrec.evaluation import Result
from hybridrec.rows import Recency
from hybridrec.saving import build, make_folder

METRIC = "ndcg@20"


def main() -> None:
    """Try, judge, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="a data set folder; with features_text.npy where a method reads text (recipes/embed.py)")
    parser.add_argument("labels", nargs="+", help="of --points")
    parser.add_argument("--last", action="store_true", help="the last item of every user is tested, the one before it valid")
    parser.add_argument("--as", dest="like", help="name of a data set whose best points are taken as they are")
    parser.add_argument("--recencies", type=float, nargs="+", default=[0.6, 0.7], help="with --last: decays of the row scored")
    parser.add_argument("--points", default=str(Path(__file__).with_name("opponents.yaml")), help="YAML file of points")
    parser.add_argument("--beside", type=Path, nargs="+", default=[], help="saved results, the last of which is judged")
    parser.add_argument("--seed", type=int, default=0, help="of weights, order and negatives")
    parser.add_argument("--out", type=Path, default=Path("recipes/results/hybrid/opponents"), help="folder of results")
    parser.add_argument("--cells", type=Path, default=Path("runs/opponents"), help="folder for users' values")
    args = parser.parse_args()
    known = read_yaml(args.points)
    if unknown := sorted(set(args.labels) - set(known)):
        parser.error(f"no points for {unknown}; {args.points} has {sorted(known)}")
    final = hr.load(args.data, split=LeaveOneOut(valid=False) if args.last else None)
    first = hr.load(args.data, split=LeaveOneOut()) if args.last else with_valid(final)
    make_folder(args.out)
    for label in args.labels:
        path = args.out / f"{first.name}-{label}-{args.seed}.json"
        if path.exists():
            print(f"{path} is there; delete it to run again")
            continue
        found = json.loads((args.out / f"{args.like}-{label}-{args.seed}.json").read_text()) if args.like else None
        tried = found["tried"] if found else search(known[label], label, first, args)
        best = max(tried, key=lambda point: point["valid"])
        method = fitted(known[label].get("method", label), best, final, args.seed)
        result = judged(method, final, "test", best.get("recency"))
        result.passport["tuning"] = {"points": len(tried), "on": args.like or first.name, "metric": METRIC}
        result.save(args.cells / path.stem)
        write_json(path, {"tried": tried, "test": result.passport})
        print(f"{first.name}, {label}, test: {result.metrics['recall@20']:.4f} {result.metrics[METRIC]:.4f} {best}", flush=True)
    if args.beside:
        cells = [args.cells / f"{first.name}-{label}-{args.seed}" for label in args.labels] + args.beside
        rows = {cell.name.removeprefix(f"{first.name}-"): Result.load(cell) for cell in cells}
        print(table([rows], args.beside[-1].name.removeprefix(f"{first.name}-")))
        write(args.out / f"{first.name}.json", [rows], args.beside[-1].name.removeprefix(f"{first.name}-"))


def search(spec: dict[str, Any], label: str, data: hr.Dataset, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Every point with what it reached on the valid rows."""
    tried: list[dict[str, Any]] = []
    for point in spec["points"]:
        method = fitted(spec.get("method", label), point, data, args.seed)
        decays = args.recencies if args.last and hasattr(method, "recency") else [None]
        for decay in decays:
            value = judged(method, data, "valid", decay).metrics[METRIC]
            tried.append({**point, "recency": decay, "valid": value})
            print(f"{data.name}, {label}, valid: {value:.4f} {tried[-1]}", flush=True)
    return tried


def fitted(name: str, point: dict[str, Any], data: hr.Dataset, seed: int) -> Any:
    """A method at a point, after all its epochs: nothing is validated on the way."""
    torch.manual_seed(seed)
    method = getattr(hr, name)(data, **build(point.get("arguments") or {}))
    fit = point.get("fit") or {}
    if not fit:
        return solved(method, data, seed)
    how = {"every": fit["epochs"], "patience": None, "validate": lambda _: 0.0, "schedule": falling}
    hr.fit(method, data, seed=seed, progress=False, **fit, **how)
    return method


def judged(method: Any, data: hr.Dataset, part: str, decay: float | None) -> Result:
    """The rows of ``part`` ranked, those scored weighted by recency where there is a decay."""
    if decay is not None:
        method.recency = method.arguments["recency"] = Recency(decay)
    return hr.evaluate(method, data, part)


if __name__ == "__main__":
    run(main)
