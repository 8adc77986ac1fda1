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
from schedules import to_the_end
from sums import Sum

import hybridrec as hr
from hybridrec.baselines.content import HistoryKernel, HistoryMean
from hybridrec.data.batches import Query, generator
from hybridrec.data.dataset import Relation
from hybridrec.data.split import ColdItems, pooled
from hybridrec.data.text import user_texts
from hybridrec.encoders.base import DEFAULT
from hybridrec.encoders.text import TextEncoder
from hybridrec.errors import DataError
from hybridrec.evaluation import Result
from hybridrec.views.absorb import Anywhere

SUM = "hybrid + frozen, nearest"


@dataclass
class Inductive:
    """Arguments."""

    data: str = field(default="amazon-beauty", metadata={"help": "folder with features_text.npy and features_words.npy"})
    seeds: list[int] = field(default_factory=lambda: [0], metadata={"help": "seeds of split, weights and order"})
    unseen: int = field(default=1000, metadata={"help": "users without a row in training"})
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


class Asked:
    """Users known by what they say: a vector each, beside the items' vectors."""

    def __init__(self, users: torch.Tensor, items: torch.Tensor) -> None:
        self.users, self.items = users, items

    def represent(self, query: Query) -> torch.Tensor:
        """User vectors (B, D)."""
        return self.users[query.user]

    def catalogue(self) -> torch.Tensor:
        """Item vectors (I, D)."""
        return self.items

    def score(self, query: Query) -> torch.Tensor:
        """Scores of all items: (B, I)."""
        return self.represent(query) @ self.items.T


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
    user = data.train.index[0]
    enough = (torch.bincount(user, minlength=data.counts[data.source]) > 2).nonzero().flatten()
    unseen = enough[torch.randperm(len(enough), generator=generator("cpu", seed))[: args.unseen]]
    known = without(data, torch.isin(user, unseen))
    method, near = trained(args, known, seed), HistoryMean(data, data.features[data.target]["text"].values)
    ranked = cold_rows(args, data, method, near)
    if args.shown:
        met = replace(known, relations={**known.relations, data.goal: pooled(replace(known, heldout={"valid": shown}))})
        kernel = nearest(args, "met", trained(args, met, seed).catalogue().detach(), data)
        ranked[f"hybrid that met {args.shown:g} of their rows, nearest"] = cold_items(kernel, data, args.part)
    if args.part != "test":
        return ranked, {}
    return ranked, prompted(args, data, known, unseen, method, near)


def divided(args: Inductive, seed: int) -> tuple[hr.Dataset, Relation]:
    """Data with a fifth of the items cold, and the ``shown`` of the rows of the part judged, which are not asked for."""
    if not 0 <= args.shown < 1:
        raise DataError(f"--shown must lie in [0, 1), not {args.shown:g}: some rows must be left to ask for")
    data = hr.load(args.data, split=ColdItems(seed=seed))
    rows = data.part(args.part)
    shown = torch.rand(len(rows), generator=generator("cpu", seed)) < args.shown
    return replace(data, heldout={**data.heldout, args.part: rows.keep(~shown)}), rows.keep(shown)


def without(data: hr.Dataset, away: torch.Tensor) -> hr.Dataset:
    """Data without the training rows that are ``away`` (E,)."""
    return replace(data, relations={**data.relations, data.goal: data.train.keep(~away)})


def trained(args: Inductive, data: hr.Dataset, seed: int) -> hr.Hybrid:
    """A hybrid, trained to the end."""
    torch.manual_seed(seed)
    given = {"cold": args.cold, "cold_read": args.cold_read, "word_dropout": args.word_dropout}
    method = hr.Hybrid(data, dim=args.dim, view=Anywhere(), **given)
    to_the_end(method, data, args.epochs, args.batch, args.lr, seed)
    return method


def cold_rows(args: Inductive, data: hr.Dataset, method: hr.Hybrid, near: HistoryMean) -> dict[str, Result]:
    """Cold items, ranked by frozen text and by the hybrid, in two ways each, and by a sum."""
    frozen = nearest(args, "frozen", near.items, data)
    kernel = nearest(args, "hybrid", method.catalogue().detach(), data)
    summed = best("share of frozen text", {f"{s:g}": Sum([kernel, frozen], [1.0, s]) for s in args.shares}, data)
    rows = {"frozen text kNN": near, "frozen text, nearest": frozen, "hybrid": method, "hybrid, nearest": kernel, SUM: summed}
    return {name: cold_items(x, data, args.part) for name, x in rows.items()}


def prompted(
    args: Inductive, data: hr.Dataset, known: hr.Dataset, unseen: torch.Tensor, method: hr.Hybrid, near: HistoryMean
) -> dict[str, Result]:
    """The last warm item of ``unseen`` users (n,), asked for by a sentence of what they chose before it."""
    user, text = data.train.index[0], data.features[data.target]["text"].values
    last = torch.zeros(len(user), dtype=torch.bool)
    time = torch.zeros(len(user), dtype=torch.float64) if data.train.time is None else data.train.time
    own = [(user == u).nonzero().flatten() for u in unseen]
    last[[int(rows[time[rows].argsort(stable=True)[-1]]) for rows in own]] = True  # ties in file order
    asked = replace(without(data, last), heldout={"test": data.train.keep(last)})
    told = user_texts(asked, read_text(args.template))
    meaning = torch.zeros(len(told), text.shape[1])
    said = [told[u] for u in unseen.tolist()]
    encoded = TextEncoder(args.encoder, dim=1, rank=0, tokens=args.tokens).embed(said)[0].cpu()
    if encoded.shape[1] != text.shape[1]:
        raise DataError(
            f"--encoder {args.encoder} gives {encoded.shape[1]} numbers a text, the features of {args.data} have "
            f"{text.shape[1]}; name the encoder they were made by"
        )
    meaning[unseen] = encoded
    vectors = torch.zeros(len(told), args.dim)
    vectors[unseen] = method.text_vectors(meaning[unseen], said)
    centre = text[known.train.index[1].unique()].mean(0)
    popular = hr.Popularity(known)
    hr.fit(popular, known)
    asks = {
        "popularity": popular,
        "frozen text": Asked(torch.nn.functional.normalize(meaning - centre, dim=1), near.items),
        "hybrid": Asked(vectors, method.catalogue().detach()),
        "hybrid, history instead": method,
    }
    return {name: hr.evaluate(x, asked, "test", ks=(20,)) for name, x in asks.items()}


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
