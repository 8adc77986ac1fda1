"""Train one general collaborative filtering method as RLMRec's Table 1 does and write its result, passport included.

Ren et al. 2024, RLMRec, arXiv 2310.15950: width 32, batches of 4,096, Adam at 1e-3, early stopping on valid recall@20. Test
is judged twice: by this package's protocol (train and valid items masked) and by RLMRec's (train items masked alone), so that
the second can be laid beside the published figures. Arguments of a method are what its authors, or RLMRec's, give for Yelp;
where this package counts a term differently (L2 over a batch, not over all parameters) the weight is the equivalent one.

    python recipes/general.py path/to/yelp-rlm SGL --seed 0
    python recipes/general.py path/to/yelp-rlm --list
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import arguments
import torch

import hybridrec as hr
from hybridrec.evaluation.protocol import FULL, TRAIN_MASK

# alpha = 1 adds layers up, as RLMRec's code does; decay is per batch where the method counts it so.
SUM = {"dim": 32, "depth": 3, "alpha": 1.0, "decay": 1e-2}
ARGUMENTS: dict[str, dict] = {
    "LightGCN": SUM,
    "SGL": {**SUM, "keep": 0.8, "temperature": 0.1, "weight": 1e-3},
    "SimGCL": {**SUM, "temperature": 0.2, "weight": 0.1, "eps": 0.9},
    "XSimGCL": {"dim": 32, "depth": 3, "decay": 1e-2},
    "HCCF": {"dim": 32, "depth": 2, "keep": 1.0, "temperature": 0.1, "weight": 0.2, "decay": 1e-6},
    "DCCF": {"dim": 32, "depth": 2, "intents": 128, "temperature": 0.1, "weight": 1e-3, "decay": 1e-4},
    "AutoCF": {"dim": 32, "depth": 3, "weight": 2.0, "decay": 1e-7},
    "NCL": {"dim": 32, "depth": 3, "decay": 1e-2},
    "LightGCL": {"dim": 32, "depth": 2, "decay": 1e-7},
    "DirectAU": {"dim": 32, "depth": 2},
    "BUIR": {"dim": 32, "depth": 2},
    "RecDCL": {"dim": 256, "depth": 2},
    "SimpleX": {"dim": 32},
    "AMF": {"dim": 32, "decay": 1e-2},
    "IRGAN": {"dim": 32},
    "MultVAE": {},
    "RecVAE": {},
    "CDAE": {},
    "CFGAN": {},
}
ROWS = ("MultVAE", "RecVAE", "CDAE", "CFGAN")  # fed rows of users, 512 at a time


def run(data: hr.Dataset, name: str, seed: int, epochs: int, every: int, patience: int, checkpoint: Path | None) -> dict:
    """Train ``name`` and judge it by both protocols."""
    torch.manual_seed(seed)
    method = getattr(hr, name)(data, **ARGUMENTS[name])
    hr.fit(
        method,
        data,
        epochs=epochs,
        batch_size=512 if name in ROWS else 4096,
        every=every,
        metric="recall@20",
        patience=patience,
        seed=seed,
        checkpoint=checkpoint,
    )
    judged = {protocol.name: hr.evaluate(method, data, protocol=protocol) for protocol in (FULL, TRAIN_MASK)}
    for protocol, result in judged.items():
        print(
            f"{name}, seed {seed}, {protocol}: " + ", ".join(f"{k} {result.metrics[k]:.4f}" for k in ("recall@20", "ndcg@20"))
        )
    return {protocol: result.passport for protocol, result in judged.items()}


def main() -> None:
    """Train, judge, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="a data set folder with train, valid and test rows, or a known name")
    parser.add_argument("methods", nargs="*", help=f"any of {', '.join(ARGUMENTS)}")
    parser.add_argument("--list", action="store_true", help="print the arguments of every method and stop")
    parser.add_argument("--seed", type=int, nargs="+", default=[0], help="one run each")
    parser.add_argument("--epochs", type=int, default=300, help="at most")
    parser.add_argument("--every", type=int, default=5, help="epochs between validations")
    parser.add_argument("--patience", type=int, default=5, help="validations without improvement before it stops")
    parser.add_argument("--out", type=Path, default=Path("recipes/results/general"), help="folder of results")
    parser.add_argument("--checkpoint", type=Path, help="folder: an interrupted run goes on from what it finds there")
    args = parser.parse_args()
    if args.list:
        print(json.dumps(ARGUMENTS, indent=2))
        return
    unknown = sorted(set(args.methods) - set(ARGUMENTS))
    if unknown:
        parser.error(f"no arguments known for {unknown}; choose from {', '.join(ARGUMENTS)}")
    data = hr.load(args.data)
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.methods:
        for seed in args.seed:
            path = args.out / f"{data.name}-{name}-{seed}.json"
            if path.exists():
                print(f"{path} is there; delete it to run again")
                continue
            kept = args.checkpoint and args.checkpoint / path.stem
            result = run(data, name, seed, args.epochs, args.every, args.patience, kept)
            path.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    arguments.run(main)
