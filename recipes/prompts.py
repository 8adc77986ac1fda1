"""What prompts and histories are worth for users never met, answered by an artifact of `recipes/align.py` and by its parts.

    python recipes/prompts.py FOLDER --report recipes/results/prompts/ml-100k.json

Users of the split `ColdUsers` have no row in training. Of each a fifth of the rows, drawn at random, is wanted; the others are
told: as a history, as a prompt that `--template` writes from their items' texts, or as both. Steps and guidance of the denoiser
are chosen on the valid users, prompts alone; the rows of the table are of the test users. Beside the table stand: of the first
ten items for "<genre> films" the share of that genre; and known users, their held-out rows ranked on the data's own split.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import set_seed
from arguments import ConfigError, parse, read_text, run, write_json
from leads import table, write
from priors import fit, trained
from schedules import warm_cosine
from transformers.utils import logging

import hybridrec as hr
from hybridrec.baselines.content import HistoryMean
from hybridrec.data.batches import Histories, Query, generator
from hybridrec.data.split import ColdUsers, joined
from hybridrec.data.text import render, rows_of, user_texts
from hybridrec.encoders.base import DEFAULT
from hybridrec.encoders.text import TextEncoder
from hybridrec.errors import DataError
from hybridrec.evaluation import Result
from hybridrec.methods.align import Align
from hybridrec.pipeline.scoring import Wording
from hybridrec.pipeline.text import TextVectors
from hybridrec.saving import make_folder
from hybridrec.views.text import WordDrop

Rows = list[dict[str, Any]]  # of the items' table
STEPS, GUIDANCE = (1, 2, 5, 10), (1.0, 1.5, 2.0, 3.0)
JUDGED = "prompt: denoiser and wording"


@dataclass
class Prompts:
    """Arguments."""

    data: str = field(default="ml-100k", metadata={"help": "name, folder or Hub id of the data set"})
    seeds: list[int] = field(default_factory=lambda: [0], metadata={"help": "of split, start and batches; a run for each"})
    without: list[str] = field(default_factory=list, metadata={"help": "columns of items that texts are not to name"})
    encoder: str = field(default=DEFAULT, metadata={"help": "a sentence-transformers model, by Hub id or path"})
    aligned: str = field(default="", metadata={"help": "folder of the aligned encoder: read if there, else trained and kept"})
    item_template: str = field(default="prompts/item.j2", metadata={"help": "Jinja file that renders a row of items"})
    template: str = field(default="prompts/user.j2", metadata={"help": "Jinja file that renders a user's items as a prompt"})
    column: str = field(default="genres", metadata={"help": "column of items whose words are asked for"})
    epochs: int = field(default=6, metadata={"help": "passes over the items, of the alignment"})
    report: str = field(default="", metadata={"help": "JSON file for the tables and their passports"})


class Asked:
    """Users known by what they say: scores of one or two parts, each less its mean over its deviation where there are two."""

    def __init__(self, *parts: Any) -> None:
        self.parts = parts

    def score(self, query: Query) -> torch.Tensor:
        """Scores of all items: (B, I)."""
        scores = [part(query) for part in self.parts]
        if len(scores) == 1:
            return scores[0]
        return torch.stack([(x - x.mean(1, keepdim=True)) / x.std(1, keepdim=True) for x in scores]).sum(0)


def main() -> None:
    """Run every seed and print the tables."""
    args = parse(Prompts, __doc__, positional="data")
    logging.disable_progress_bar()
    if wrong := [seed for seed in args.seeds if not 0 <= seed < 2**32] or not args.seeds:
        raise ConfigError(f"--seeds wants numbers from 0 to 2**32 - 1, at least one, not {wrong}")
    if args.aligned:
        make_folder(args.aligned)
    runs, notes = zip(*(one(args, seed) for seed in args.seeds), strict=True)
    print(table(list(runs), JUDGED))
    print(json.dumps(notes, indent=1))
    if args.report:
        path = Path(args.report)
        write(path, list(runs), JUDGED)
        write_json(path.with_suffix(".notes.json"), notes)


def aligned(args: Prompts, data: hr.Dataset, space: hr.IALS, texts: list[str], rows: Rows, seed: int) -> TextEncoder:
    """The encoder of `recipes/align.py`, tuned on the training rows of ``data``; its ridge is not searched for but 10."""
    kept = Path(args.aligned, str(seed))
    if args.aligned and kept.exists():
        return TextEncoder.load(kept)
    template = read_text(args.item_template)
    views = [render(template, WordDrop(seed=seed * 6 + v)(rows)) for v in range(6)]
    set_seed(seed)
    method = Align(data, TextEncoder(args.encoder, space.dim, 16, 32.0), texts, space, views=views, share=0.8, seed=seed)
    method.start(10.0)
    how: dict[str, Any] = {"lr": 3e-3, "weight_decay": 0.01, "clip": 1.0, "average": 0.9, "schedule": warm_cosine}
    hr.fit(method, data, epochs=args.epochs, batch_size=128, seed=seed, **how)
    encoder = method.encoder.cpu()
    if args.aligned:
        encoder.save(kept)
    return encoder


def one(args: Prompts, seed: int) -> tuple[dict[str, Result], dict[str, Any]]:
    """The first table of one seed, and what the others hold."""
    data = hr.load(args.data, split=ColdUsers(seed=seed))
    target = data.target
    if unknown := sorted(set(args.without) - set(data.tables[target].column_names)):
        raise DataError(
            f"{target}s of {data.name!r} have no column {unknown[0]!r}; they have {data.tables[target].column_names}"
        )
    data = replace(data, tables={**data.tables, target: data.tables[target].drop_columns(args.without)})
    rows, space = rows_of(data, target), hr.IALS(data, dim=64, unseen=1.0, ridge=10.0, power=0.0)
    hr.fit(space, data, seed=seed)
    texts = render(read_text(args.item_template), rows)
    encoder = aligned(args, data, space, texts, rows, seed)
    items, plain = TextVectors(*encoder.embed(texts)), TextEncoder(args.encoder, dim=1, rank=0)
    prior = trained(data, space, encoder, items.place, read_text(args.template), seed)
    popular, asked = hr.Popularity(data), told(data, seed)
    hr.fit(popular, data)
    met = torch.zeros(len(rows), dtype=torch.bool).index_fill_(0, data.train.index[1], True)
    wording, raw = Wording.of(items, met), plain.embed(texts)[0]
    frozen = HistoryMean(data, raw)
    unseen = torch.cat([asked.heldout[part].index[0] for part in ("valid", "test")]).unique()
    sentences = user_texts(asked, read_text(args.template))
    said = [sentences[u] for u in unseen.tolist()]
    row = torch.full((data.counts[data.source],), -1).index_copy_(0, unseen, torch.arange(len(unseen)))
    prompts, meaning = TextVectors(*encoder.embed(said)), plain.embed(said)[0] - raw[met].mean(0)

    def wish(found: TextVectors) -> Any:
        return lambda query: wording(TextVectors(*(x[row[query.user]] for x in found))) @ wording(items).T

    def denoised(text: bool, history: bool, share: float = 0.0) -> Any:
        def score(query: Query) -> torch.Tensor:
            prior.share = share
            nothing = Histories.lists([[]] * len(query.user))
            place = prompts.place[row[query.user]] if text else None
            return prior.score(Query(query.user, query.history if history else nothing, place))

        return score

    def judge(method: Any, part: str = "test", on: hr.Dataset = asked, **settings: Any) -> Result:
        for name, value in settings.items():
            setattr(prior, name, value)
        return hr.evaluate(method, on, part, ks=(20,))

    grid: list[dict[str, Any]] = [{"steps": s, "guidance": g} for s in STEPS for g in GUIDANCE]
    valid = [judge(Asked(denoised(True, False)), "valid", **point).metrics["ndcg@20"] for point in grid]
    best = grid[max(range(len(grid)), key=lambda n: valid[n])]
    notes: dict[str, Any] = {
        "seed": seed,
        "chosen": best,
        "valid": [{**p, "ndcg@20": v} for p, v in zip(grid, valid, strict=True)],
    }
    found = {
        "popularity": judge(popular),
        "prompt: frozen text": judge(Asked(lambda q: meaning[row[q.user]] @ frozen.items.T)),
        "prompt: wording alone": judge(Asked(wish(prompts))),
        "prompt: denoiser, one step": judge(Asked(denoised(True, False)), steps=1, guidance=1.0),
        "prompt: denoiser": judge(Asked(denoised(True, False)), **best),
        JUDGED: judge(Asked(denoised(True, False), wish(prompts)), **best),
        "denoiser of nothing": judge(Asked(denoised(False, False)), **best),
        "history: iALS": judge(space),
        "history: denoiser, one step": judge(Asked(denoised(False, True, 1.0)), steps=1),
        "history: denoiser": judge(Asked(denoised(False, True, 1.0)), **best),
        "history and prompt: mixed scores": judge(Asked(space.score, wish(prompts))),
        "history and prompt: one query": judge(Asked(denoised(True, True)), **best),
    }
    notes["genres"] = genres(args.column, rows, encoder, prior, wording, items)
    notes["known users"] = known(args, seed)
    return found, notes


def told(data: hr.Dataset, seed: int) -> hr.Dataset:
    """The same with four fifths of the rows of unseen users, at least one not, in what is told."""
    heldout, parts = dict(data.heldout), [data.train]
    for part in ("valid", "test"):
        rows = data.part(part)
        order = torch.randperm(len(rows), generator=generator("cpu", seed, 7))
        order = order[rows.index[0, order].argsort(stable=True)]
        user = rows.index[0, order]
        count = torch.bincount(user, minlength=data.counts[data.source])
        place = torch.arange(len(user)) - (count.cumsum(0) - count)[user]
        wanted = torch.zeros(len(rows), dtype=torch.bool)
        wanted[order] = place < (count[user] / 5).round().clamp(min=1)
        heldout[part] = rows.keep(wanted)
        parts.append(rows.keep(~wanted))
    return replace(data.with_train(joined(parts)), heldout=heldout)


def genres(column: str, rows: Rows, encoder: Any, prior: Any, wording: Wording, items: TextVectors) -> dict[str, float]:
    """Of the ten first items for "<word> films" the share that has the word in ``column``, by who is asked."""
    own = [set(str(row.get(column) or "").split()) for row in rows]
    words = sorted({w for some in own for w in some if sum(w in other for other in own) >= 10})
    has = torch.tensor([[word in some for some in own] for word in words]).float()
    prompts = TextVectors(*encoder.embed([f"{word.lower()} films" for word in words]))
    query = Query(torch.full((len(words),), -1), Histories.lists([[]] * len(words)), prompts.place)

    def wish(_: Query) -> torch.Tensor:
        return wording(prompts) @ wording(items).T

    with torch.no_grad():
        shares = {"wording alone": wish(query)}
        for guidance in (1.0, 2.0, 5.0):
            prior.steps, prior.guidance = 5, guidance
            shares[f"denoiser, guidance {guidance:g}"] = prior.score(query)
            shares[f"denoiser and wording, guidance {guidance:g}"] = Asked(prior.score, wish).score(query)
    return {name: has.gather(1, x.topk(10).indices).mean().item() for name, x in shares.items()}


def known(args: Prompts, seed: int) -> dict[str, float]:
    """NDCG@20 of known users' held-out rows on the data's own split: the history's own vector, and what is rebuilt of it."""
    data = hr.load(args.data)
    space = hr.IALS(data, dim=64, unseen=1.0, ridge=10.0, power=0.0)
    hr.fit(space, data, seed=seed)
    length = space.items.square().sum(1).mean().item()
    torch.manual_seed(seed)
    prior = hr.DiffusionPrior(data, unseen=space.unseen, ridge=space.ridge / length, share=1.0)
    prior.adopt(data, space.catalogue())
    fit(prior, data, seed)
    found = {"iALS": hr.evaluate(space, data, ks=(20,)).metrics["ndcg@20"]}
    for prior.steps in (1, 5):
        for prior.share in (0.5, 1.0):
            name = f"denoiser, {prior.steps} step(s), share {prior.share:g}"
            found[name] = hr.evaluate(prior, data, ks=(20,)).metrics["ndcg@20"]
    return found


if __name__ == "__main__":
    run(main)
