"""What noise does to a linear denoiser: shrinkage along the spectrum of co-occurrence, accuracy, popularity of its lists.

    python recipes/spectrum.py FOLDER --plot spectrum.png

For several noise levels the closed forms of docs/denoising.md are solved on the training rows: Gaussian noise and dropout, each
with and without an item's own weight. Every form is judged on the valid rows. `--out` writes the table as JSON.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from arguments import parse, run, write_json
from torch import Tensor

import hybridrec as hr
from hybridrec.data.batches import Query
from hybridrec.errors import DataError
from hybridrec.linear import gram, interactions, without_self_
from hybridrec.rows import multiply

HEAD = ("form", "level", "dim.", "recall@20", "ndcg@20", "popularity")


@dataclass
class Spectrum:
    """Arguments."""

    data: str = field(default="ml-100k", metadata={"help": "name, folder or Hub id of the data set"})
    noise: list[float] = field(
        default_factory=lambda: [0.001, 0.01, 0.1, 0.2, 0.5, 1.0, 2.0, 10.0],
        metadata={"help": "deviations of Gaussian noise on rows of 0 and 1"},
    )
    dropout: list[float] = field(default_factory=lambda: [0.1, 0.5, 0.9], metadata={"help": "chances that an entry is dropped"})
    ridge: float = field(default=1.0, metadata={"help": "ridge beside dropout, which alone leaves rare items free"})
    part: str = field(default="valid", metadata={"help": "the part that judges"})
    out: str = field(default="", metadata={"help": "JSON file of the table"})
    plot: str = field(default="", metadata={"help": "image file of the shrinkage curves"})


class Linear:
    """Scores rows by an item-to-item matrix (I, I)."""

    def __init__(self, weights: Tensor) -> None:
        self.weights = weights

    def score(self, query: Query) -> Tensor:
        """``X B``: (B, I)."""
        return multiply(query.history, self.weights)


def main() -> None:
    """Solve every form, judge it, print a line."""
    args = parse(Spectrum, "Shrinkage, accuracy and popularity of linear denoisers by noise level.", "data")
    data = hr.load(args.data)
    x = interactions(data)
    if not (all(0 <= p < 1 for p in args.dropout) and all(0 <= s < math.inf for s in args.noise) and 0 < args.ridge < math.inf):
        raise DataError("wanted dropout in [0, 1), noise of at least 0 and a ridge above 0, all finite")
    g, users = gram(x).double(), x.shape[0]
    values, vectors = torch.linalg.eigh(g)
    values = values.clamp(min=0)
    count = g.diagonal().clone()
    curves: dict[str, Tensor] = {}
    table: list[dict[str, Any]] = []

    def judge(name: str, level: float, shrink: Tensor, weights: Tensor) -> None:
        result = hr.evaluate(Linear(weights.float()), data, part=args.part, ks=(20,))
        rank = count.argsort(descending=True).argsort().double() / len(count)
        lists = result.lists[:, :20]
        line = {
            "form": name,
            "level": level,
            "dimensions": float(shrink.sum()),
            "recall@20": result.metrics["recall@20"],
            "ndcg@20": result.metrics["ndcg@20"],
            "popularity": float(1 - rank[lists.clamp(min=0)][lists >= 0].mean()),
        }
        table.append(line)
        print("  ".join(f"{v:>12}" if isinstance(v, str) else f"{v:9.4f}" for v in line.values()), flush=True)

    print("  ".join(f"{name:>{12 if i == 0 else 9}}" for i, name in enumerate(HEAD)))
    for sigma in args.noise:
        ridge = users * sigma**2
        shrink = values / (values + ridge)
        curves[f"noise {sigma:g}"] = shrink
        judge("noise", sigma, shrink, (vectors * shrink) @ vectors.T)
        judge("noise, 0 diag", sigma, shrink, without_self_((vectors / (values + ridge)) @ vectors.T))
    for p in args.dropout:
        ridge_of = args.ridge + p / (1 - p) * count
        root = ridge_of.sqrt()
        mu, w = torch.linalg.eigh(g / root / root.unsqueeze(1))
        shrink = mu.clamp(min=0) / (mu.clamp(min=0) + 1)
        curves[f"dropout {p:g}"] = shrink
        judge("dropout", p, shrink, (w * shrink) @ w.T / root.unsqueeze(1) * root)
        inverse = (w / (mu.clamp(min=0) + 1)) @ w.T / root.unsqueeze(1) / root
        judge("dropout, 0 d.", p, shrink, without_self_(inverse))
    if args.out:
        record = {"data": data.name, "fingerprint": data.fingerprint, "part": args.part, "ridge": args.ridge, "table": table}
        write_json(args.out, record)
    if args.plot:
        draw(values, curves, args.plot)


def draw(values: Tensor, curves: dict[str, Tensor], path: str) -> None:
    """The factor that is left of every direction, by its place in the spectrum."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4))
    place = torch.arange(1, len(values) + 1)
    for name, curve in curves.items():
        axes.semilogx(place, curve.sort(descending=True).values, label=name, ls="--" if name.startswith("dropout") else "-")
    axes.set(xlabel="direction, largest eigenvalue first", ylabel="what is left of it", ylim=(0, 1.02))
    axes.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    run(main)
