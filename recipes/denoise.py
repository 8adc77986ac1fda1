"""Train the hybrid on a data set with text, and judge it beside the closed form it competes with, and their sum.

    python recipes/denoise.py FOLDER                   # train | second-last item | last item of every user: choose on these
    python recipes/denoise.py FOLDER --final           # everything before the last item trains and is read; judged once

FOLDER has `features_text.npy` and `features_words.npy`, as `recipes/embed.py` writes them. The first form tries the closed
form's `--ridges`, `--kernels`, `--word_kernels` and `--recencies`, and `--shares` of it in the sum, and says which were best;
`--final` wants one of each. Results with their passports go to `--report`, the first seed's Hybrid to `--out`.

    python recipes/denoise.py FOLDER --final --kernels 80 --recencies 0.7 --recommender runs/shop
    python recipes/query.py "a soap for dry skin" --artifact runs/shop

saves it as a Recommender besides, which answers users, histories and prompts, and ranks items nobody has met by their text.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import torch
from arguments import parse, read_text, run
from leads import table, write
from reader import reader, recommender
from schedules import solved, to_the_end

import hybridrec as hr
from hybridrec.data.split import LeaveOneOut
from hybridrec.encoders.base import DEFAULT
from hybridrec.errors import DataError
from hybridrec.evaluation import Result, shuffled_text
from hybridrec.rows import Recency
from hybridrec.saving import save_method

VARIANTS: dict[str, dict[str, Any]] = {
    "no text": {"modality": None, "words": None},
    "no words": {"words": None},
    "no sentences": {"modality": None},
    "nothing dropped": {"drop": 0.0},
    "all candidates": {"candidates": None},
    "noise 0.5": {"noise": 0.5},
    "cold 0.2": {"cold": 0.2},
    "width 96": {"dim": 96},
}
SHUFFLED, BOTH = "shuffled text", "hybrid + closed form"


@dataclass
class Denoise:
    """Arguments."""

    data: str = field(default="amazon-beauty", metadata={"help": "name, folder or Hub id of a data set with timestamps"})
    final: bool = field(default=False, metadata={"help": "train on all before the last item, judge by the last, once"})
    seeds: list[int] = field(default_factory=lambda: [0], metadata={"help": "seeds of weights, order and noise"})
    variants: list[str] = field(default_factory=list, metadata={"help": f"of: {', '.join([*VARIANTS, SHUFFLED])}"})
    steps: list[int] = field(default_factory=lambda: [1], metadata={"help": "reverse steps to judge the hybrid with"})
    dim: int = field(default=192, metadata={"help": "width of the item vectors"})
    epochs: int = field(default=3, metadata={"help": "passes over the users"})
    batch: int = field(default=80, metadata={"help": "users of a batch; each entry of theirs is a target"})
    lr: float = field(default=3e-3, metadata={"help": "largest learning rate; it falls to zero over the epochs"})
    ridges: list[float] = field(default_factory=lambda: [100.0], metadata={"help": "of the closed form"})
    kernels: list[float] = field(default_factory=lambda: [80.0, 200.0], metadata={"help": "weights of its text kernel"})
    word_kernels: list[float] = field(default_factory=lambda: [0.0], metadata={"help": "weights of its word kernel; 0: none"})
    recencies: list[float] = field(default_factory=lambda: [0.5, 0.6, 0.7], metadata={"help": "decays of the row it scores"})
    shares: list[float] = field(default_factory=lambda: [0.05], metadata={"help": "weights of the closed form in the sum"})
    report: str = field(default="", metadata={"help": "JSON file for every row and seed with passports"})
    out: str = field(default="runs/denoise", metadata={"help": "folder for the first seed's Hybrid and all users' values"})
    recommender: str = field(default="", metadata={"help": "folder for a Recommender of the first seed's; none if empty"})
    encoder: str = field(default=DEFAULT, metadata={"help": "the encoder that features_text.npy was made by: it reads prompts"})
    item_template: str = field(default="prompts/item.j2", metadata={"help": "Jinja file that rendered a row of items for it"})
    query_template: str = field(default="prompts/query.j2", metadata={"help": "Jinja file that renders a prompt"})


def main() -> None:
    """Train and judge every row for every seed."""
    args = parse(Denoise, __doc__, "data")
    if unknown := sorted(set(args.variants) - {*VARIANTS, SHUFFLED}):
        raise DataError(f"no variant is called {unknown[0]!r}; wanted some of {[*VARIANTS, SHUFFLED]}")
    data = hr.load(args.data, split=LeaveOneOut(valid=not args.final))
    part = "test" if args.final else "valid"
    encoder = reader(args.encoder, data) if args.recommender else None
    core, closed = opponent(args, data, part)
    runs = []
    for seed in args.seeds:
        method = trained(args, data, seed)
        found = {f"closed form {closed.passport['method']['arguments']['recency']['arguments']['decay']:g}": closed}
        for steps in args.steps:
            method.steps = steps
            found["hybrid" if steps == 1 else f"hybrid, {steps} steps"] = hr.evaluate(method, data, part)
        method.steps = 1
        found[BOTH] = summed(args, data, part, method, core)
        for name in args.variants:
            source = shuffled_text(data, seed) if name == SHUFFLED else data
            found[name] = hr.evaluate(trained(args, source, seed, **VARIANTS.get(name, {})), data, part)
        runs.append(found)
        for name, result in found.items():
            result.save(Path(args.out) / "cells" / f"{data.name}-{part}-{seed}-{name.replace(' ', '-')}")
        if seed == args.seeds[0]:
            save_method(method, Path(args.out) / f"{data.name}-{part}", data.schema)
            if encoder is not None:
                templates = {"item": read_text(args.item_template), "query": read_text(args.query_template)}
                recommender(method, data, encoder, templates, found.get("hybrid")).save_pretrained(args.recommender)
    print(table(runs, BOTH))
    if args.report:
        write(Path(args.report), runs, BOTH)


def opponent(args: Denoise, data: hr.Dataset, part: str) -> tuple[Any, Result]:
    """The closed form with the best of the arguments given, on the valid rows; of several there is no choice on test."""
    points = list(product(args.ridges, args.kernels, args.word_kernels, args.recencies, args.shares))
    if args.final and len(points) > 1:
        raise DataError(
            "--final wants one of each --ridges, --kernels, --word_kernels, --recencies and --shares: choose them on the valid "
            "rows first"
        )
    best: tuple[Any, Result] | None = None
    for ridge, kernel, words in product(args.ridges, args.kernels, args.word_kernels):
        weights: torch.Tensor | None = None
        for decay in args.recencies:
            said = {"words": "words", "word_weight": words} if words else {}
            method = hr.CEASE(data, ridge=ridge, weight=kernel, recency=Recency(decay), **said)
            if weights is None:
                weights = solved(method, data).weights
            method.weights = weights
            result = hr.evaluate(method, data, part)
            print(
                f"closed form: ridge {ridge:g}, kernel {kernel:g}, words {words:g}, recency {decay:g}: "
                f"{result.metrics['ndcg@20']:.4f}",
                flush=True,
            )
            if best is None or result.metrics["ndcg@20"] > best[1].metrics["ndcg@20"]:
                best = method, result
    assert best is not None
    return best


def summed(args: Denoise, data: hr.Dataset, part: str, method: hr.Hybrid, core: Any) -> Result:
    """The sum of both with the best of the shares given, on the valid rows."""
    found: list[Result] = []
    for share in args.shares:
        found.append(hr.evaluate(hr.Blend.of(data, [method, core], [1.0, share]), data, part))
        print(f"sum: share {share:g}: {found[-1].metrics['ndcg@20']:.4f}", flush=True)
    return max(found, key=lambda result: result.metrics["ndcg@20"])


def trained(args: Denoise, data: hr.Dataset, seed: int, **given: Any) -> hr.Hybrid:
    """A Hybrid after all its epochs; nothing is validated on the way."""
    torch.manual_seed(seed)
    method = hr.Hybrid(data, **{"dim": args.dim, **given})
    to_the_end(method, data, args.epochs, args.batch, args.lr, seed)
    return method


if __name__ == "__main__":
    run(main)
