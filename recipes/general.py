"""Train general collaborative filtering methods side by side and write what they reach, passports included.

Width, batch, learning rate and early stopping are those of RLMRec's Table 1 (Ren et al. 2024, arXiv 2310.15950): Adam at 1e-3,
batches of 4,096, stopping on valid recall@20. Test is judged twice: by this package's protocol (train and valid items masked)
and by RLMRec's (train items masked alone), so that the second can be laid beside the published figures. What a method is built
and trained with is in a YAML file of ``label: {method, arguments, fit}``, recipes/general.yaml unless another is named.

    python recipes/general.py path/to/yelp-rlm SGL --seed 0 1 2
    python recipes/general.py ml-100k MultVAE --arguments recipes/general_ml-100k.yaml
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from arguments import read_yaml, run, write_json

import hybridrec as hr
from hybridrec.evaluation.protocol import FULL, TRAIN_MASK
from hybridrec.saving import build, make_folder

HERE = Path(__file__)


def main() -> None:
    """Train, judge, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="a data set folder with train, valid and test rows, or a known name")
    parser.add_argument("methods", nargs="+", help="labels of the file of arguments")
    parser.add_argument("--arguments", default=str(HERE.with_suffix(".yaml")), help="the file of arguments")
    parser.add_argument("--seed", type=int, nargs="+", default=[0], help="one run each")
    parser.add_argument("--epochs", type=int, default=300, help="at most")
    parser.add_argument("--every", type=int, default=5, help="epochs between validations")
    parser.add_argument("--patience", type=int, default=5, help="validations without improvement before it stops")
    parser.add_argument("--out", type=Path, default=HERE.parent / "results/general", help="folder of results")
    parser.add_argument("--checkpoint", type=Path, help="folder: an interrupted run goes on from what it finds there")
    parser.add_argument("--valid", action="store_true", help="judge by valid alone, and write nothing")
    args = parser.parse_args()
    known = read_yaml(args.arguments)
    unknown = sorted(set(args.methods) - set(known))
    if unknown:
        parser.error(f"{args.arguments} has no {unknown}; choose from {', '.join(known)}")
    data = hr.load(args.data)
    fit = {"lr": 1e-3, "batch_size": 4096, "epochs": args.epochs, "every": args.every, "patience": args.patience}
    make_folder(args.out)
    for label in args.methods:
        for seed in args.seed:
            path = args.out / f"{data.name}-{label}-{seed}.json"
            if path.exists() and not args.valid:
                print(f"{path} is there; delete it to run again")
                continue
            kept = args.checkpoint and args.checkpoint / path.stem
            method = train(data, label, known[label], fit | {"seed": seed, "checkpoint": kept})
            if args.valid:
                tell(label, seed, "valid", hr.evaluate(method, data, part="valid"))
                continue
            judged = {protocol.name: hr.evaluate(method, data, protocol=protocol) for protocol in (FULL, TRAIN_MASK)}
            for protocol, result in judged.items():
                tell(label, seed, protocol, result)
            write_json(path, {name: result.passport for name, result in judged.items()})


def train(data: hr.Dataset, label: str, spec: dict[str, Any], fit: dict[str, Any]) -> Any:
    """The method of one entry of the file, trained; what the entry says of training goes before ``fit``."""
    torch.manual_seed(fit["seed"])
    method = getattr(hr, spec.get("method", label))(data, **build(spec.get("arguments") or {}))
    hr.fit(method, data, **({"metric": "recall@20"} | fit | (spec.get("fit") or {})))
    return method


def tell(label: str, seed: int, how: str, result: Any) -> None:
    """One line of what was reached."""
    found = ", ".join(f"{k} {result.metrics[k]:.4f}" for k in ("recall@20", "ndcg@20"))
    print(f"{label}, seed {seed}, {how}: {found}", flush=True)


if __name__ == "__main__":
    run(main)
