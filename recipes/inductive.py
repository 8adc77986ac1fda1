"""What the hybrid knows of items and users it was not trained on: cold items, and unseen users who ask with a sentence.

    python recipes/inductive.py FOLDER

A fifth of the items is cold (the split of `recipes/align.py`, so that its rows compare), and `--unseen` users have no row in
training either. Judged: cold items, ranked among themselves for everyone with a history; and the last warm item of every unseen
user, ranked among all items by a prompt alone, which `--template` writes from the texts of their items before it. Vectors, by
frozen text and the hybrid's, are read in two ways: one vector a user, or by what of the history is nearest (`HistoryKernel`).
Its temperature (of `--temperatures`) and what frozen text weighs in a sum (of `--shares`) are chosen on other cold items, the
valid ones.

    python recipes/inductive.py FOLDER --part valid --cold 0.8 --word_dropout 0.2     # only cold items, only the valid ones
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
from hybridrec.data.split import ColdItems
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
    data = hr.load(args.data, split=ColdItems(seed=seed))
    user = data.train.index[0]
    enough = (torch.bincount(user, minlength=data.counts[data.source]) > 2).nonzero().flatten()
    chosen = enough[torch.randperm(len(enough), generator=generator("cpu", seed))[: args.unseen]]
    away = torch.isin(user, chosen)
    known = replace(data, relations={**data.relations, data.goal: data.train.keep(~away)})
    torch.manual_seed(seed)
    given = {"cold": args.cold, "cold_read": args.cold_read, "word_dropout": args.word_dropout}
    method = hr.Hybrid(known, dim=args.dim, view=Anywhere(), **given)
    to_the_end(method, known, args.epochs, args.batch, args.lr, seed)
    text = data.features[data.target]["text"].values
    near, popular = HistoryMean(data, text), hr.Popularity(known)
    hr.fit(popular, known)
    frozen = best({f"{t:g}": HistoryKernel(near.items, t) for t in args.temperatures}, data)
    kernel = best({f"{t:g}": HistoryKernel(method.catalogue().detach(), t) for t in args.temperatures}, data)
    summed = best({f"{share:g}": Sum([kernel, frozen], [1.0, share]) for share in args.shares}, data)
    rows = {"frozen text kNN": near, "frozen text, nearest": frozen, "hybrid": method, "hybrid, nearest": kernel, SUM: summed}
    ranked = {name: cold_items(x, data, args.part) for name, x in rows.items()}
    if args.part != "test":
        return ranked, {}
    # What unseen users chose before their last item is the prompt, and that item what is wanted.
    last = torch.zeros_like(away)
    time = torch.zeros_like(user, dtype=torch.float64) if data.train.time is None else data.train.time
    own = [(user == u).nonzero().flatten() for u in chosen]
    last[[int(rows[time[rows].argsort(stable=True)[-1]]) for rows in own]] = True  # ties in file order
    train, test = data.train.keep(~last), data.train.keep(last)
    asked = replace(data, relations={**data.relations, data.goal: train}, heldout={"test": test})
    told = user_texts(asked, read_text(args.template))
    meaning = torch.zeros(len(told), text.shape[1])
    said = [told[u] for u in chosen.tolist()]
    encoded = TextEncoder(args.encoder, dim=1, rank=0, tokens=args.tokens).embed(said)[0].cpu()
    if encoded.shape[1] != text.shape[1]:
        raise DataError(
            f"--encoder {args.encoder} gives {encoded.shape[1]} numbers a text, the features of {args.data} have "
            f"{text.shape[1]}; name the encoder they were made by"
        )
    meaning[chosen] = encoded
    vectors = torch.zeros(len(told), args.dim)
    vectors[chosen] = method.text_vectors(meaning[chosen], said)
    centre = text[known.train.index[1].unique()].mean(0)
    asks = {
        "popularity": popular,
        "frozen text": Asked(torch.nn.functional.normalize(meaning - centre, dim=1), near.items),
        "hybrid": Asked(vectors, method.catalogue().detach()),
        "hybrid, history instead": method,
    }
    return ranked, {name: hr.evaluate(x, asked, "test", ks=(20,)) for name, x in asks.items()}


def best(tried: dict[str, Any], data: hr.Dataset) -> Any:
    """Of what was tried the one that ranks the valid cold items best."""
    if not tried:
        raise DataError("give at least one of --temperatures and of --shares")
    value = {name: cold_items(x, data, "valid").metrics["ndcg@20"] for name, x in tried.items()}
    print(f"{type(next(iter(tried.values()))).__name__}, valid: {value}", flush=True)
    return tried[max(value, key=lambda name: value[name])]


def cold_items(method: Any, data: hr.Dataset, part: str) -> Result:
    """Cold items of a part ranked among themselves, for everyone with a history who chose one."""
    return hr.evaluate(method, data, part, ks=(20,), candidates=data.cold(part))


if __name__ == "__main__":
    run(main)
