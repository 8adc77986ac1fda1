"""Train sequence models on a data set split by leaving one out, with the closed-form opponents beside them, and judge them.

    python recipes/sequential.py FOLDER EASE CEASE SASRec BERT4Rec TiedSASRec --seed 0
    python recipes/sequential.py FOLDER --list

Each user's last item is tested and the one before it validated; the number of epochs is chosen on valid, and the valid item
is read, but not trained on, when test is judged: the protocol of S3-Rec, CL4SRec and DuoRec. With `--final` everything
before the last item trains, for as many epochs as the run before it found best on valid. FOLDER has `features_text.npy`
where a method reads text: `recipes/embed.py` writes it. Results go to `--out` with their passports.
"""

from __future__ import annotations

import argparse
import json
from inspect import signature
from pathlib import Path
from typing import Any, NamedTuple

import arguments
import torch
from schedules import falling

import hybridrec as hr
from hybridrec.data.split import LeaveOneOut
from hybridrec.evaluation.protocol import SEQUENTIAL
from hybridrec.objectives import BinaryCrossEntropy, FullSoftmax, GeneralisedBCE, SampledSoftmax
from hybridrec.rows import Recency
from hybridrec.saving import make_folder, save_method


class Row(NamedTuple):
    """A method, its arguments and how it is trained."""

    method: str
    arguments: dict[str, Any]
    training: dict[str, Any]


RECENCY = Recency(0.7)
SEQUENCE = {"batch_size": 128, "lr": 1e-3, "epochs": 100, "every": 5, "patience": 2}
CONTRASTED = {**SEQUENCE, "epochs": 60, "patience": None}
LONG = {"batch_size": 128, "lr": 2e-3, "epochs": 120, "every": 10, "patience": None, "schedule": falling}
TIED = {"batch_size": 128, "lr": 3e-3, "epochs": 5, "every": 5, "patience": None, "schedule": falling}
# As shallow as Tikhonovich et al. 2025 (eSASRec, arXiv 2508.06450) build SASRec on Amazon's data; "wide" is how they train it.
SHALLOW = {"dim": 128, "depth": 1, "heads": 1, "dropout": 0.5}
SHORT = {**LONG, "lr": 1e-3, "epochs": 60}
WIDE = {**SHALLOW, "dim": 256, "dropout": 0.2}
CATEGORIES = {"attributes": "s3rec_attributes", "separator": ","}
GENRES = {"attributes": "genres", "separator": " "}
DIFFUSION = {**SEQUENCE, "epochs": 50}
PLAYERS = {**SEQUENCE, "epochs": 30, "patience": None}
FACTORS = {"dropout": 0.5, "draws": 2, "warmup": 10}
ROWS: dict[str, Row] = {
    "Popularity": Row("Popularity", {}, {}),
    "EASE": Row("EASE", {"ridge": 100.0}, {}),
    "EASE+recency": Row("EASE", {"ridge": 100.0, "recency": RECENCY}, {}),
    "CEASE": Row("CEASE", {"ridge": 100.0, "weight": 80.0}, {}),
    "CEASE+recency": Row("CEASE", {"ridge": 100.0, "weight": 80.0, "recency": RECENCY}, {}),
    "SASRec-BCE": Row("SASRec", {"objective": BinaryCrossEntropy(), "dropout": 0.5}, SEQUENCE),
    "SASRec-gBCE": Row("SASRec", {"objective": GeneralisedBCE(), "dropout": 0.5}, SEQUENCE),
    "SASRec-sampled": Row("SASRec", {"objective": SampledSoftmax(), "dropout": 0.5}, LONG),
    "SASRec-shallow": Row("SASRec", {**SHALLOW, "objective": SampledSoftmax()}, SHORT),
    "SASRec-wide": Row("SASRec", {**WIDE, "objective": SampledSoftmax(256)}, {**SEQUENCE, "epochs": 200, "patience": 5}),
    "SASRec-full": Row("SASRec", {"objective": FullSoftmax(), "dropout": 0.5}, SEQUENCE),
    "ACVAE": Row("ACVAE", {}, {**SEQUENCE, "epochs": 30}),
    "AsarRec": Row("AsarRec", {"dropout": 0.5}, SEQUENCE),
    "BERT4Rec": Row("BERT4Rec", {"dropout": 0.3}, SEQUENCE),
    "CL4SRec": Row("CL4SRec", {"dropout": 0.5}, LONG),
    "CL4SRec-shallow": Row("CL4SRec", SHALLOW, SHORT),
    "DiffuASR": Row("DiffuASR", {"dropout": 0.5, "length": 5}, SEQUENCE),
    "DiffuRec": Row("DiffuRec", {"each": 5}, DIFFUSION),
    "DiffuRec-one-step": Row("DiffuRec", {"each": 5, "asks": 1}, DIFFUSION),
    "DuoRec": Row("DuoRec", {"dropout": 0.5}, LONG),
    "DuoRec-shallow": Row("DuoRec", SHALLOW, SHORT),
    "ICLRec": Row("ICLRec", {"dropout": 0.5}, CONTRASTED),
    "MAERec": Row("MAERec", {"dropout": 0.5, "edges": 512, "negatives": 8}, SEQUENCE),
    "MFGAN": Row("MFGAN", {**FACTORS, "columns": ["categories"]}, PLAYERS),
    "MFGAN-genres": Row("MFGAN", {**FACTORS, "columns": ["genres"]}, PLAYERS),
    "S3Rec": Row("S3Rec", {**CATEGORIES, "dropout": 0.5, "pretrain": 12}, {**LONG, "epochs": 72}),
    "S3Rec-genres": Row("S3Rec", {**GENRES, "dropout": 0.5, "pretrain": 12}, {**LONG, "epochs": 72}),
    "S3Rec-no-pretraining": Row("S3Rec", {"attributes": None, "dropout": 0.5, "pretrain": 0}, {**SEQUENCE, "lr": 3e-3}),
    "TiedSASRec": Row("TiedSASRec", {"candidates": 2048}, TIED),
    "TiedSASRec-no-text": Row("TiedSASRec", {"modality": None, "candidates": 2048}, TIED),
}


def run(folder: str, row: Row, name: str, seed: int, final: bool, out: Path, save: Path | None) -> dict[str, Any]:
    """Train ``row``, called ``name``, and judge it on valid and test; the passports."""
    data = hr.load(folder, split=LeaveOneOut(valid=not final))
    training = dict(row.training)
    torch.manual_seed(seed)
    method = getattr(hr, row.method)(data, **row.arguments)
    if final and row.training:
        before = json.loads((out / f"{data.name}-{name}-{seed}.json").read_text(encoding="utf-8"))
        training["epochs"] = before["test"]["training"]["best_epoch"]
    hr.fit(method, data, metric="ndcg@10", seed=seed, **training)
    judged = {"test": hr.evaluate(method, data, protocol=SEQUENTIAL, ks=(5, 10, 20))}
    if not final:
        judged["valid"] = hr.evaluate(method, data, part="valid", ks=(5, 10, 20))
    for part, result in judged.items():
        line = ", ".join(f"{k} {result.metrics[k]:.4f}" for k in ("recall@10", "ndcg@10", "recall@20", "ndcg@20"))
        print(f"{name}, seed {seed}, {part}{', final' if final else ''}: {line}", flush=True)
    if save is not None:
        save_method(method, save / f"{data.name}-{name}-{seed}{'-final' if final else ''}", data.schema)
    return {part: result.passport for part, result in judged.items()}


def changed(row: Row, epochs: int | None, batch_size: int | None, stride: int | None) -> Row:
    """``row`` with what was asked for otherwise, as far as it has a say in it: closed forms have no epochs and no windows."""
    asked = {"epochs": epochs, "batch_size": batch_size}
    training = row.training | {k: v for k, v in asked.items() if row.training and v is not None}
    strides = stride is not None and "stride" in signature(getattr(hr, row.method)).parameters
    return Row(row.method, row.arguments | ({"stride": stride} if strides else {}), training)


def main() -> None:
    """Train, judge, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="a data set folder, or a known name")
    parser.add_argument("rows", nargs="*", help=f"any of {', '.join(ROWS)}")
    parser.add_argument("--list", action="store_true", help="print what every row is and stop")
    parser.add_argument("--seed", type=int, nargs="+", default=[0], help="one run each")
    parser.add_argument("--final", action="store_true", help="train on everything before the last item, after a run without")
    parser.add_argument("--epochs", type=int, help="at most; what the row says if none")
    parser.add_argument("--batch_size", type=int, help="windows of a batch; what the row says if none")
    parser.add_argument("--stride", type=int, help="entries between the windows of a long history; only its last if none")
    parser.add_argument("--out", type=Path, default=Path("recipes/results/sequential"), help="folder of results")
    parser.add_argument("--save", type=Path, help="folder for the trained methods; they are not kept if none")
    args = parser.parse_args()
    if args.list:
        for name, row in ROWS.items():
            print(f"{name}: {row.method} {row.arguments} {row.training}")
        return
    if unknown := sorted(set(args.rows) - set(ROWS)):
        parser.error(f"no row {unknown}; choose from {', '.join(ROWS)}")
    make_folder(args.out)
    for name in args.rows:
        for seed in args.seed:
            path = args.out / f"{Path(args.data).name}-{name}-{seed}{'-final' if args.final else ''}.json"
            if path.exists():
                print(f"{path} is there; delete it to run again")
                continue
            row = changed(ROWS[name], args.epochs, args.batch_size, args.stride)
            passports = run(args.data, row, name, seed, args.final, args.out, args.save)
            arguments.write_json(path, passports)


if __name__ == "__main__":
    arguments.run(main)
