"""A trained method with its items, its users and its text side: saved, loaded, shared and asked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import torch
from torch import Tensor

from hybridrec import hub
from hybridrec.data.batches import Histories, Query
from hybridrec.data.dataset import Ids
from hybridrec.data.text import render
from hybridrec.errors import ArtifactError, DataError, QueryError
from hybridrec.pipeline import components, stored
from hybridrec.pipeline.ask import Request, check_k, check_weights, requests
from hybridrec.pipeline.card import card
from hybridrec.pipeline.denoising import denoising
from hybridrec.pipeline.engine import Engine
from hybridrec.pipeline.folder import Folder, write
from hybridrec.pipeline.items import Items
from hybridrec.pipeline.scoring import Space
from hybridrec.pipeline.search import Search
from hybridrec.pipeline.text import TextSide, TextVectors, placed
from hybridrec.pipeline.users import to_table
from hybridrec.saving import save_method

if TYPE_CHECKING:
    import pyarrow as pa

    from hybridrec.data.dataset import Dataset

SOURCES = ("user", "history", "prompt")


class Recommended(NamedTuple):
    """One item of an answer: its id as it came, its title where the items' table has one, its score."""

    item: Any
    title: str | None
    score: float


class Recommender:
    """A trained method, ready to be asked: ``recommend``, ``add_items``, ``save_pretrained``, ``push_to_hub``.

    What is known of users is their training rows alone; rows held out of training are not in the artifact.

    Args:
        method: a trained method or baseline; it is put into eval mode, and its item vectors are taken as they are now.
        data: the data set it was trained on: ids, the items' table, training rows.
        text: encodes texts, into the space of the method's item vectors too (see ``TextSide``) unless the method places them
            there itself, by ``text_vectors(meaning, texts)``; without it there are no prompts.
        templates: Jinja texts by name. ``item`` renders a row of the items' table (wanted with ``text``); ``query`` renders
            ``prompt``; others are saved beside them.
        text_vectors: the items' texts as ``text`` embeds them, (I, S) and (I, D), where they are at hand.
        metrics: for the model card: what ``evaluate`` found on the test part, or a mapping of names to values.
        search: finds the best items where scoring each takes too long, for example ``Faiss()``; exact without it.
    """

    def __init__(
        self,
        method: Any,
        data: Dataset,
        text: TextSide | None = None,
        *,
        templates: Mapping[str, str] | None = None,
        text_vectors: tuple[Tensor, Tensor] | None = None,
        metrics: Any = None,
        search: Search | None = None,
    ) -> None:
        self.method, self.schema = method.eval(), data.schema
        self.items = Items(data.target, data.ids[data.target], data.tables.get(data.target))
        self.users: tuple[Ids, Histories] | None = (data.ids[data.source], data.histories())
        self.text: TextSide | None = text
        self.templates = _templates(templates, text)
        self.about = stored.about(data, method, metrics)
        vectors: TextVectors | None = None
        if text is not None:
            texts = render(self.templates["item"], self.items.rows())
            vectors = placed(method, texts, *(text_vectors or text.embed(texts)))
        trained = torch.zeros(len(self.items), dtype=torch.bool).index_fill_(0, data.train.index[1], True)
        self._start(trained, vectors, search)

    def _start(self, trained: Tensor, text_vectors: TextVectors | None, search: Search | None) -> None:
        """Set up the engine; ``trained`` says which of the method's items have training rows."""
        for x in text_vectors or ():
            if len(x) != len(self.items):
                raise DataError(f"{len(x)} text vectors for {len(self.items)} {self.items.entity}s: give one for each")
        self.trained, self.text_vectors = trained, text_vectors
        self.engine = Engine(self.method, trained, text_vectors, search)

    def recommend(
        self,
        user: Any = None,
        history: Any = None,
        prompt: str | list[str] | None = None,
        *,
        k: int = 10,
        exclude_seen: bool = True,
        weights: Mapping[str, float] | None = None,
        steps: int | None = None,
        guidance: float | None = None,
    ) -> Any:
        """The ``k`` best items for a known user, a history of item ids, a prompt, or any mix of them: ``list[Recommended]``.

        Each may be a list (of users, of histories, of prompts), and the answer is then a list of answers; None in such a
        list means that this request has no such source. Where a request has several sources their scores are put on one
        scale and added by ``weights`` (``{"prompt": 2.0}``; 1 where not given): see ``hybridrec.pipeline.scoring``.

        ``steps`` and ``guidance`` are for a method that denoises (one with attributes of these names) in place of its own: how
        many reverse steps it takes, and how far a prompt pulls what it makes of the user or the history, all read as one
        query; with ``guidance`` that prompt is not scored beside them a second time. Where such a method reads texts (its
        ``textual``) a prompt alone is its query too, scored beside the prompt's likeness to items' texts, and ``steps`` alone
        makes one query of prompt and history as ``guidance`` does.

        ``exclude_seen`` leaves out the items of the history given and of the user's training rows; an answer is shorter
        than ``k`` only where fewer items are left. Raises QueryError for unknown ids, an empty prompt or history, an
        impossible ``k``, nothing given, a prompt where there is no text side, and steps or guidance where nothing denoises.
        """
        k, weight = check_k(k, len(self.items)), check_weights(weights, SOURCES)
        asked, many = requests(user, history, prompt)
        answers: list[list[Recommended]] = []
        guided = guidance is not None or (steps is not None and self.engine.reads)
        with torch.no_grad(), denoising(self.method, steps=steps, guidance=guidance):
            for start in range(0, len(asked), self.engine.together):
                some = asked[start : start + self.engine.together]
                answers += self._answer(some, k, exclude_seen, weight, guided)
        return answers if many else answers[0]

    def _answer(
        self, asked: list[Request], k: int, exclude_seen: bool, weight: Mapping[str, float], guided: bool = False
    ) -> list[list[Recommended]]:
        engine, parts = self.engine, []
        seen: list[set[int]] = [set() for _ in asked]
        if known := {b: a.user for b, a in enumerate(asked) if a.user is not None}:
            query = self._known(list(known.values()))
            query = self._guided(query, [asked[b].prompt for b in known]) if guided else query
            parts.append(engine.like(torch.tensor(list(known)), query, weight["user"]))
            for n, b in enumerate(known):
                seen[b] |= set(query.history.item[query.history.offset[n] : query.history.offset[n + 1]].tolist())
        if told := {b: a.history for b, a in enumerate(asked) if a.history is not None}:
            chosen = [self.items.ids.find(history, self.items.entity).tolist() for history in told.values()]
            query = Query(torch.full((len(told),), -1), Histories.lists(chosen))
            query = self._guided(query, [asked[b].prompt for b in told]) if guided else query
            parts.append(engine.like(torch.tensor(list(told)), query, weight["history"]))
            for b, items in zip(told, chosen, strict=True):
                seen[b] |= set(items)
        said = {b: a.prompt for b, a in enumerate(asked) if a.prompt is not None}
        alone = {b: prompt for b, prompt in said.items() if b not in known and b not in told}
        if alone and engine.reads:
            nothing = Query(torch.full((len(alone),), -1), Histories.lists([[]] * len(alone)))
            parts.append(engine.like(torch.tensor(list(alone)), self._guided(nothing, [*alone.values()]), weight["prompt"]))
        if said := alone if guided else said:
            parts.append(engine.wish(torch.tensor(list(said)), self._embed(list(said.values())), weight["prompt"]))
        scores, index = engine.find(parts, Histories.lists([sorted(s) if exclude_seen else [] for s in seen]), k)
        return [self._named(*row) for row in zip(scores.tolist(), index.tolist(), strict=True)]

    def _guided(self, query: Query, prompts: list[str | None]) -> Query:
        """``query`` with the places of its prompts in the collaborative space, zero for a row without one."""
        rows = [n for n, prompt in enumerate(prompts) if prompt is not None]
        if not rows:
            return query
        place = self._embed([prompt for prompt in prompts if prompt is not None]).place
        return query._replace(text=place.new_zeros(len(prompts), place.shape[1]).index_copy(0, torch.tensor(rows), place))

    def _known(self, users: list[Any]) -> Query:
        """The training histories of known users."""
        if self.users is None:
            raise QueryError("this artifact was saved without its users; ask by history or prompt")
        ids, histories = self.users
        at = ids.find(users, self.about["source"])
        history = histories.take(at)
        if len(empty := (history.lengths == 0).nonzero().flatten()):
            raise QueryError(f"{self.about['source']} {users[int(empty[0])]!r} has no training rows; ask by history or prompt")
        return Query(at, history)

    def _embed(self, prompts: list[str]) -> TextVectors:
        if self.text is None:
            raise QueryError("this recommender has no text side, so it reads no prompts; ask by user or history")
        place = {prompt: n for n, prompt in enumerate(dict.fromkeys(prompts))}
        texts = render(self.templates["query"], [{"prompt": p} for p in place])
        vectors = placed(self.method, texts, *self.text.embed(texts))
        rows = torch.tensor([place[prompt] for prompt in prompts])
        return TextVectors(*(x[rows] for x in vectors))

    def _named(self, scores: list[float], index: list[int]) -> list[Recommended]:
        found = [(i, s) for i, s in zip(index, scores, strict=True) if s > -torch.inf]
        positions = [i for i, _ in found]
        ids = self.items.ids[positions] if found else []
        return [Recommended(*row) for row in zip(ids, self.items.titles(positions), (s for _, s in found), strict=True)]

    def add_items(self, table: pa.Table | Mapping[str, Iterable[Any]] | Iterable[Mapping[str, Any]]) -> None:
        """Take new items into the catalogue by their text, without training; saved with the rest.

        ``table`` is an Arrow table, a mapping of columns or a list of rows, with the id column of the items' table and any of
        its other columns. Nothing is added where anything is wrong. Raises DataError for ids that are taken or doubled,
        unknown columns and cells of a wrong type; QueryError where there is no text side.
        """
        if self.text is None or self.text_vectors is None:
            raise QueryError("new items are known by their text alone, and this recommender has no text side")
        items, before = self.items.extend(table), len(self.items)
        if len(items) == before:
            return
        texts = render(self.templates["item"], items.rows(before))
        fresh = placed(self.method, texts, *self.text.embed(texts))
        vectors = TextVectors(*(torch.cat([old, new.to(old)]) for old, new in zip(self.text_vectors, fresh, strict=True)))
        self.items = items
        self._start(self.trained, vectors, self.engine.search)

    def save_pretrained(self, folder: str | Path, *, include_users: bool = True) -> Path:
        """Write the artifact to ``folder``, whole or not at all, in place of an older artifact if there is one.

        Without users the ids and histories of users stay out; what the method's own weights hold of them does not: a
        learned vector for each, or the graph of their training rows, under positions in place of ids.
        """
        return self._save(folder, Path(folder).name, include_users)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        token: str | bool | None = None,
        revision: str | None = None,
        include_users: bool = False,
    ) -> str:
        """Upload the artifact to the Hub model ``repo_id``, made if need be; returns the address of the commit.

        Users' ids and histories stay here unless ``include_users``. ``token`` defaults to the one that you are logged in with.
        """
        return hub.push(repo_id, partial(self._save, name=repo_id, include_users=include_users), private, token, revision)

    def _save(self, folder: str | Path, name: str, include_users: bool) -> Path:
        example = self.items.ids[list(range(min(2, len(self.items))))]
        return write(folder, partial(self._fill, include_users), lambda index: card(index, example, name))

    def _fill(self, include_users: bool, folder: Path) -> dict[str, Any]:
        """Put every file into ``folder``; returns the entries of the index."""
        save_method(self.method, folder / stored.METHOD, self.schema)
        stored.write_table(self.items.table, folder / stored.ITEMS)
        if users := self.users if include_users else None:
            stored.write_table(to_table(self.about["source"], *users), folder / stored.USERS)
        vectors: dict[str, Tensor] = {"method": self.engine.taste.items} if isinstance(self.engine.taste, Space) else {}
        if self.text_vectors is not None:
            vectors |= {**self.text_vectors._asdict(), "trained": self.trained}
        if vectors:
            stored.write_vectors(folder / stored.VECTORS, vectors)
        if self.templates:
            stored.write_templates(folder / stored.TEMPLATES, self.templates)
        text = self.text.loaded if isinstance(self.text, stored.StoredText) else self.text
        if text is not None:
            text.save(folder / stored.TEXT)
        return {
            stored.METHOD: stored.component(self.method),
            **components.write(self.method, folder),
            stored.TEXT: stored.component(text),
            "trained": len(self.trained),
            "about": {**self.about, "text": text is not None, "users": users is not None},
        }

    @classmethod
    def from_pretrained(
        cls,
        name_or_folder: str | Path,
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        search: Search | None = None,
    ) -> Self:
        """The artifact in that folder, or of that id on the Hub (at ``revision``, with ``token``, kept in ``cache_dir``).

        Every file is compared with its sha256 first. Raises ArtifactError naming what is missing, altered or too new.
        """
        folder = Folder(hub.fetch(name_or_folder, stored.PATTERNS, revision, token, cache_dir, local_files_only))
        self, parts = cls.__new__(cls), stored.read(folder)
        self.method, self.schema, self.about = parts.method, parts.schema, parts.about
        self.items, self.users, self.text = parts.items, parts.users, parts.text
        try:
            self.templates = _templates(parts.templates, self.text)
            self._start(parts.trained, parts.vectors, search)
        except DataError as e:
            raise ArtifactError(f"{folder.path}: its parts do not belong together: {e}") from e
        return self


def _templates(templates: Mapping[str, str] | None, text: Any) -> dict[str, str]:
    """Templates under names that can be files, with the default for ``query``."""
    named = {**({} if text is None else {"query": "{{ prompt }}"}), **(templates or {})}
    if wrong := [name for name in named if not re.fullmatch(r"[a-z][a-z0-9_]*", name)]:
        raise DataError(f"a template is named by lower-case letters, digits and _, as its file is; found {wrong[0]!r}")
    if text is not None and "item" not in named:
        raise DataError("a text side wants templates={'item': ...}, the Jinja text that renders a row of the items' table")
    return named
