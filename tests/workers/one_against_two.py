"""One process against two with the same global batch: every loss of the first fifty steps, and the metrics they end with.

    python tests/workers/one_against_two.py             # a few methods of each kind; --methods all, or names
    python tests/workers/one_against_two.py --fsdp      # the two have their parameters divided (FSDP2), not replicated (DDP)

Prints a table: the largest relative difference of a term of the loss over the steps, the largest difference of a metric, and
what is to be expected: "float" where randomness follows one process, "noise" where it is drawn by each process for itself.
"""

import argparse
import json
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
sys.path.insert(0, str(Path(__file__).parent.parent))
from workers.launch import torchrun

# What a method is built with here, so that nothing in it draws for itself but what follows one process.
EXACT: dict[str, dict[str, Any]] = {
    "LightGCN": {"dim": 8, "depth": 2},
    "SGL": {"dim": 8, "depth": 2},
    "SimGCL": {"dim": 8, "depth": 2},
    "NCL": {"dim": 8, "depth": 2, "clusters": 4, "warmup": 1},
    "HCCF": {"dim": 8, "depth": 2, "hyperedges": 8},
    "AdaGCL": {"dim": 8, "depth": 2},
    "AutoCF": {"dim": 8, "depth": 2, "heads": 2, "seeds": 5},
    "DCCF": {"dim": 8, "depth": 2, "intents": 8},
    "GFormer": {"dim": 8, "depth": 2},
    "LightGCL": {"dim": 8, "depth": 2},
    "XSimGCL": {"dim": 8, "depth": 2},
    "DirectAU": {"dim": 8, "depth": 2},
    "BUIR": {"dim": 8, "depth": 2},
    "SimpleX": {"dim": 8},
    "EGLN": {"dim": 8, "depth": 2, "warmup": 1},
    "RecDCL": {"dim": 8, "depth": 2},
    "MultVAE": {"dim": 8, "hidden": 16},
    "RecVAE": {"dim": 8, "hidden": 16},
    "CDAE": {"dim": 8},
    "DiffRec": {"widths": [16, 8], "dropout": 0.5},
    "SASRec": {"dim": 8, "depth": 1, "heads": 1, "dropout": 0.0},
    "CFGAN": {"hidden": 16},
    "AMF": {"dim": 8, "warmup": 1},
    "Align": {},
}
CHOSEN = ["LightGCN", "SGL", "MultVAE", "DiffRec", "SASRec", "CFGAN", "AMF", "Align"]
STEPS = 50
FSDP = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "FSDP_AUTO_WRAP_POLICY": "NO_WRAP"}


def alignment(data: Any, folder: Path) -> tuple[Any, Any]:
    """The text alignment of a tiny encoder, without dropout, and its data."""
    import pyarrow as pa
    import torch

    import hybridrec as hr
    from hybridrec.encoders.text import TextEncoder
    from hybridrec.methods.align import Align

    titles = [f"{('red', 'green', 'blue')[i % 3]} {('quiet drama', 'space robots')[i % 2]} {i}" for i in range(40)]
    table = pa.table({"item_id": data.ids["item"].values, "title": titles})
    data = replace(data, tables={"item": table})
    space = hr.IALS(data, dim=8)
    hr.fit(space, data)
    torch.manual_seed(0)
    encoder = TextEncoder(str(folder / "sentences"), 8, 2, 4.0, dropout=0.0)
    for module in encoder.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    views = [[t.rpartition(" ")[0] for t in titles]]
    method = Align(data, encoder, titles, space, views=views)
    method.start(1.0)
    return method, data


def train(name: str, folder: Path) -> dict:
    """Fifty steps of one method; every term of every turn over all processes, and the metrics."""
    import torch
    from accelerate.utils import gather_object
    from conftest import planted

    import hybridrec.methods
    from hybridrec.evaluation.ranking import evaluate
    from hybridrec.training import fit, make_accelerator

    data = planted()
    torch.manual_seed(0)
    if name == "Align":
        method, data = alignment(data, folder)
    else:
        method = getattr(hybridrec.methods, name)(data, **EXACT.get(name, {}))
    size = next(n for n in (60, 6, 4) if method.sampler(data, batch_size=n, seed=0).steps >= 5)
    steps = method.sampler(data, batch_size=size, seed=0).steps
    seen, forward = [], method.forward

    def noting(batch: Any) -> dict:
        terms = forward(batch)
        if method.training:
            seen.append((len(batch[0]), {k: v.item() for k, v in terms.items()}))
        return terms

    method.forward = noting
    accelerator = make_accelerator(players=hasattr(method, "players") or hasattr(method, "pretraining"))
    how = {"epochs": -(-STEPS // steps), "batch_size": size, "lr": 0.01, "seed": 1, "patience": None, "progress": False}
    fit(method, data, accelerator=accelerator, validate=lambda m: 0.0, average=0.9, **how)
    metrics = evaluate(method, data).metrics
    everyone = gather_object([seen])
    turns = []
    for parts in zip(*everyone, strict=True):
        rows = sum(n for n, _ in parts)
        turns.append({k: sum(n * t[k] for n, t in parts) / rows for k in parts[0][1]})
    return {"turns": turns, "steps": how["epochs"] * steps, "metrics": metrics, "how": accelerator.distributed_type.value}


def work(names: list[str], out: Path) -> None:
    """What each process does when started by torchrun."""
    from accelerate import PartialState

    state = PartialState(cpu=True)
    found = {name: train(name, out.parent) for name in names}
    if state.is_main_process:
        out.write_text(json.dumps(found))
    state.destroy_process_group()


def launch(processes: int, names: list[str], folder: Path, fsdp: bool = False) -> dict:
    """What so many processes found, by configuration alone under DDP or FSDP2."""
    out = folder / f"{processes}.json"
    how = FSDP if fsdp else None
    torchrun(__file__, "--out", out, "--methods", *names, processes=processes, environment=how, timeout=900)
    return json.loads(out.read_text())


def apart(a: float, b: float) -> float:
    """How far ``b`` is from ``a``, relative to it; absolutely where it is less than 0.01."""
    return abs(a - b) / max(abs(a), 0.01)


def table(names: list[str], fsdp: bool = False) -> list[dict]:
    """One row a method."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if "Align" in names:
            from tinytext import tiny_sentences

            tiny_sentences(folder, ["red green blue quiet drama space robots", *map(str, range(40))])
        one, two = launch(1, names, folder), launch(2, names, folder, fsdp)
    rows = []
    for name in names:
        a, b = one[name], two[name]
        assert len(a["turns"]) == len(b["turns"])
        loss = max(apart(x[k], y[k]) for x, y in zip(a["turns"], b["turns"], strict=True) for k in x)
        metric = max(abs(a["metrics"][k] - b["metrics"][k]) for k in a["metrics"])
        rows.append(
            {
                "method": name,
                "steps": a["steps"],
                "loss": loss,
                "metric": metric,
                "expected": "float" if name in EXACT else "noise",
                "how": b["how"],
            }
        )
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=CHOSEN, help="names, or: all")
    parser.add_argument("--fsdp", action="store_true", help="two processes with FSDP2 in place of DDP")
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the rows there")
    args = parser.parse_args()
    if args.out:
        work(args.methods, args.out)
    else:
        rows = table(list(EXACT) if args.methods == ["all"] else args.methods, args.fsdp)
        print("| method | steps | largest difference of a loss (relative) | of a metric | expected |\n|---|---|---|---|---|")
        for row in rows:
            print(f"| {row['method']} | {row['steps']} | {row['loss']:.1e} | {row['metric']:.1e} | {row['expected']} |")
        if args.json:
            from tallies import keep

            named = " ".join(args.methods)
            keep(args.json, f"tests/workers/one_against_two.py --methods {named}{' --fsdp' * args.fsdp}", rows)
