"""What the hybrid knows of items and users it was not trained on: cold items, and unseen users who ask with a sentence.

    python recipes/inductive.py FOLDER

A fifth of the items is cold (the split of `recipes/align.py`, so that its rows compare), and `--unseen` users have no row in
training either. Judged: cold items, ranked among themselves for everyone with a history; and the last warm item of every unseen
user, ranked among all items by a prompt alone, which `--template` writes from the texts of their items before it. Vectors, by
frozen text and the hybrid's, are read in two ways: one vector a user, or by what of the history is nearest (`HistoryKernel`).
Its temperature (of `--temperatures`) and what frozen text weighs in a sum (of `--shares`) are chosen on other cold items, the
valid ones.

    python recipes/inductive.py FOLDER --part valid --cold 0.8 --word_dropout 0.2     # only cold items, only the valid ones
    python recipes/inductive.py FOLDER --part valid --shown 0.5     # what half of their interactions would add to their text
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from arguments import parse, read_text, run
from leads import table, write
from reader import reader
from schedules import to_the_end
from sums import Sum
from unseen import prompted, some_users

import hybridrec as hr
from hybridrec.baselines.content import HistoryKernel, HistoryMean
from hybridrec.data.batches import generator
from hybridrec.data.dataset import Relation
from hybridrec.data.split import ColdItems, joined
from hybridrec.encoders.base import DEFAULT
from hybridrec.errors import DataError
from hybridrec.evaluation import Result
from hybridrec.views.absorb import Anywhere

SUM = "hybrid + frozen, nearest"


@dataclass
class Inductive:
    """Arguments."""

    data: str = field(default="amazon-beauty", metadata={"help": "folder with features_text.npy and features_words.npy"})
    seeds: list[int] = field(default_factory=lambda: [0], metadata={"help": "seeds of split, weights and order"})
    unseen: int = field(default=1000, metadata={"help": "users without a row in training, for the prompts; 0: none"})
    dim: int = field(default=192, metadata={"help": "width of the item vectors"})
    cold: float = field(default=0.5, metadata={"help": "chance that an item is known by its text alone in training"})
    cold_read: float | None = field(default=None, metadata={"help": "that of entries that are read; the same draw if none"})
    word_dropout: float = field(default=0.0, metadata={"help": "share of words left out in training"})
    temperatures: list[float] = field(
        default_factory=lambda: [0.05, 0.1, 0.2], metadata={"help": "how far the nearest of a history counts above the rest"}
    )
    shares: list[float] = field(
        default_factory=lambda: [0.2, 0.5, 1.0], metadata={"help": "weights of frozen text beside 1 of the hybrid"}
    )
    shown: float = field(
        default=0.0, metadata={"help": "share of cold items' rows that a second hybrid trains on; the rest is asked of both"}
    )
    part: str = field(default="test", metadata={"help": "test, or valid to choose by: then no prompts are asked"})
    epochs: int = field(default=3, metadata={"help": "passes over the users"})
    batch: int = field(default=80, metadata={"help": "users of a batch"})
    lr: float = field(default=3e-3, metadata={"help": "largest learning rate"})
    encoder: str = field(default=DEFAULT, metadata={"help": "the encoder that the features were made by"})
    tokens: int = field(default=128, metadata={"help": "longer prompts are cut"})
    template: str = field(default="prompts/user.j2", metadata={"help": "Jinja file that renders a user's items as a prompt"})
    report: str = field(default="", metadata={"help": "stem of two JSON files: STEM-cold.json and STEM-prompts.json"})


def main() -> None:
    """Train, ask, print both tables."""
    args = parse(Inductive, __doc__, positional="data")
    cold, prompts = zip(*(one(args, seed) for seed in args.seeds), strict=True)
    for name, runs, judged in (("cold", cold, SUM), ("prompts", prompts, "hybrid")):
        if not runs[0]:
            continue
        print(f"\n{name}:\n{table(list(runs), judged)}")
        if args.report:
            write(Path(f"{args.report}-{name}.json"), list(runs), judged)


def one(args: Inductive, seed: int) -> tuple[dict[str, Result], dict[str, Result]]:
    """Both tables of one seed."""
    data, shown = divided(args, seed)
    encoder = reader(args.encoder, data, args.tokens) if args.part == "test" and args.unseen else None
    unseen = some_users(data, args.unseen, seed)
    known = data.with_train(data.train.keep(~torch.isin(data.train.index[0], unseen)))
    method, near = trained(args, known, seed), HistoryMean(data, data.features[data.target]["text"].values)
    ranked = cold_rows(args, data, method, near)
    if args.shown:
        more = trained(args, known.with_train(joined([known.train, shown])), seed)
        kernel = nearest(args, "met", more.catalogue().detach(), data)
        ranked[f"hybrid that met {args.shown:g} of their rows, nearest"] = cold_items(kernel, data, args.part)
    if encoder is None:
        return ranked, {}
    return ranked, prompted(data, known, unseen, method, near, encoder, read_text(args.template))


def divided(args: Inductive, seed: int) -> tuple[hr.Dataset, Relation]:
    """Data with a fifth of the items cold, and the ``shown`` of the rows of the part judged, which are not asked for."""
    if not 0 <= args.shown < 1:
        raise DataError(f"--shown must lie in [0, 1), not {args.shown:g}: some rows must be left to ask for")
    data = hr.load(args.data, split=ColdItems(seed=seed))
    rows = data.part(args.part)
    shown = torch.rand(len(rows), generator=generator("cpu", seed)) < args.shown
    return replace(data, heldout={**data.heldout, args.part: rows.keep(~shown)}), rows.keep(shown)


def trained(args: Inductive, data: hr.Dataset, seed: int) -> hr.Hybrid:
    """A hybrid, trained to the end."""
    torch.manual_seed(seed)
    given = {"cold": args.cold, "cold_read": args.cold_read, "word_dropout": args.word_dropout}
    method = hr.Hybrid(data, dim=args.dim, view=Anywhere(), **given)
    to_the_end(method, data, args.epochs, args.batch, args.lr, seed)
    return method.cpu()  # beside frozen text


def cold_rows(args: Inductive, data: hr.Dataset, method: hr.Hybrid, near: HistoryMean) -> dict[str, Result]:
    """Cold items, ranked by frozen text and by the hybrid, in two ways each, and by a sum."""
    frozen = nearest(args, "frozen", near.items, data)
    kernel = nearest(args, "hybrid", method.catalogue().detach(), data)
    summed = best("share of frozen text", {f"{s:g}": Sum([kernel, frozen], [1.0, s]) for s in args.shares}, data)
    rows = {"frozen text kNN": near, "frozen text, nearest": frozen, "hybrid": method, "hybrid, nearest": kernel, SUM: summed}
    return {name: cold_items(x, data, args.part) for name, x in rows.items()}


def nearest(args: Inductive, what: str, vectors: torch.Tensor, data: hr.Dataset) -> HistoryKernel:
    """Item vectors (I, D) read by what of the history is nearest."""
    return best(f"temperature, {what}", {f"{t:g}": HistoryKernel(vectors, t) for t in args.temperatures}, data)


def best(what: str, tried: dict[str, Any], data: hr.Dataset) -> Any:
    """Of what was tried the one that ranks the valid cold items best."""
    if not tried:
        raise DataError("give at least one of --temperatures and of --shares")
    value = {name: cold_items(x, data, "valid").metrics["ndcg@20"] for name, x in tried.items()}
    print(f"{what}, valid: {value}", flush=True)
    return tried[max(value, key=lambda name: value[name])]


def cold_items(method: Any, data: hr.Dataset, part: str) -> Result:
    """Cold items of a part ranked among themselves, for everyone with a history who chose one."""
    return hr.evaluate(method, data, part, ks=(20,), candidates=data.cold(part))


if __name__ == "__main__":
    run(main)
