"""From what a request names to positions of items: the method's scores, the prompts' scores, their mix and the search."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hybridrec.data.batches import Histories, Query
from hybridrec.errors import DataError, QueryError
from hybridrec.evaluation.topk import best
from hybridrec.foldin import least_squares
from hybridrec.pipeline.scoring import Neighbours, Part, Space, Whole, Wording, blocks, mix
from hybridrec.pipeline.search import SCORES, Index, Search
from hybridrec.pipeline.text import TextVectors

SAMPLE = 256  # queries on which an approximate search is measured


class Engine:
    """Ranks a catalogue of I items; ``trained`` (<= I,) says which of those that the method knows have training rows.

    ``text`` holds the items' text vectors, their ``place`` in the space of the method's item vectors; None without texts.
    An item without training rows, or added after training, has the place of its text for the item vector that the
    method could not learn; where the method has no item vectors, the mean score of its ten nearest items by text.

    With a ``search`` each space of item vectors has an index, built when first asked in, and measured with items of the
    catalogue as queries. Requests that mix a prompt with a user or a history are scored exactly.
    """

    def __init__(self, method: Any, trained: Tensor, text: TextVectors | None, search: Search | None) -> None:
        self.method, self.search = method, search
        self.name = type(method).__name__
        self.reads = bool(getattr(method, "textual", False))  # a prompt alone is a query of the method itself
        self.device = next((x.device for x in (*method.parameters(), *method.buffers())), torch.device("cpu"))
        self.prompts: Space | None = None
        self.taste: Space | Whole = Whole()
        self.neighbours: Neighbours | None = None
        self.known = len(trained)  # items that the method has a place for
        self.items = self.known if text is None else len(text.place)
        # Without texts there is nothing better than what the method has.
        self.trained = self.readable = torch.ones(self.items, dtype=torch.bool, device=self.device)
        if text is not None:
            text = TextVectors(*(x.to(self.device) for x in text))
            self.trained = torch.nn.functional.pad(trained, (0, self.items - self.known)).to(self.device)
            self.wording = Wording.of(text, self.trained)
            if hasattr(method, "text_vectors"):  # it reads the texts of its own items
                self.readable = torch.arange(self.items, device=self.device) < self.known
            else:
                self.readable = self.trained
            self.prompts = Space(self.wording(text))
        if hasattr(method, "catalogue") and hasattr(method, "represent"):
            with torch.no_grad():
                self.taste = Space(self._vectors(method.catalogue().detach().float(), text and text.place))
        elif search is not None:
            raise QueryError(f"{self.name} has no item vectors to search among: leave out search, every item is scored")
        elif self.prompts is not None and bool(trained.any()):
            self.neighbours = Neighbours.of(self.prompts.items, self.trained)
        # Scores of a whole catalogue are held for as many requests as there is room for.
        self.together = 256 if isinstance(self.taste, Space) else max(1, min(256, SCORES // self.items))
        self._indexes: dict[int, Index] = {}

    def _vectors(self, learned: Tensor, text: Tensor | None) -> Tensor:
        """Item vectors (I, D): ``learned`` (<= I, D) where there was something to learn from, else the text's."""
        if text is None:
            return learned
        if learned.shape[1] != text.shape[1]:
            raise DataError(
                f"texts are encoded to {text.shape[1]} dimensions and the item vectors of {self.name} have "
                f"{learned.shape[1]}: a text side maps into their space"
            )
        learned = torch.nn.functional.pad(learned, (0, 0, 0, self.items - len(learned)))
        return torch.where(self.trained.unsqueeze(1), learned, text)

    def like(self, rows: Tensor, query: Query, weight: float) -> Part:
        """What the method says for the users and histories of ``query``."""
        query = query.to(self.device)
        if isinstance(self.taste, Space):
            return Part(self.taste, rows, self._represent(query, self.taste), weight)
        if bool((query.history.item >= self.known).any()):
            raise QueryError(
                f"a history names an item that was added after training, and {self.name} reads only the items it was trained "
                "on; leave it out of the history"
            )
        scores = self.method.score(query).float()
        return Part(self.taste, rows, self.neighbours.fill(scores, self.items) if self.neighbours else scores, weight)

    def _represent(self, query: Query, space: Space) -> Tensor:
        """User vectors (B, D): the method's own; by least squares where the history has items that it cannot read."""
        new = torch.zeros(len(query.user), dtype=torch.bool, device=self.device)
        new[query.history.rows[~self.readable[query.history.item]]] = True
        vectors = space.items.new_zeros(len(new), space.items.shape[1])
        if len(old := (~new).nonzero().flatten()):
            text = None if query.text is None else query.text[old]
            vectors[old] = self.method.represent(
                query._replace(user=query.user[old], history=query.history.take(old), text=text)
            ).float()
        if len(rows := new.nonzero().flatten()):
            vectors[rows] = least_squares(query.history.take(rows), space.items)
        return vectors

    def wish(self, rows: Tensor, prompts: TextVectors, weight: float) -> Part:
        """What ``prompts`` (B) ask for."""
        assert self.prompts is not None
        return Part(self.prompts, rows, self.wording(TextVectors(*(x.to(self.device) for x in prompts))), weight)

    def find(self, parts: list[Part], seen: Histories, k: int) -> tuple[Tensor, Tensor]:
        """The ``k`` best items of each request that are not ``seen``: scores and positions (B, k), -inf where none is left."""
        requests, seen = len(seen.offset) - 1, seen.to(self.device)
        mixed = mix(parts, requests)
        sides = {id(part.side): part.side for part in parts}.values()
        told = torch.zeros(requests, dtype=torch.int64)
        for side in sides:
            told[torch.cat([part.rows for part in parts if part.side is side])] += 1
        if self.search is None or int(told.max()) > 1:
            size = max(1, SCORES // requests)
            scores, index = best(blocks(mixed, requests, self.items, size), seen, k)
        else:
            scores, index = self._search(self.search, mixed, [s for s in sides if isinstance(s, Space)], seen, k)
        if bool(scores.isnan().any()):
            raise QueryError(f"{self.name} scores NaN, which has no rank: was its training finite?")
        return scores, index

    def _search(
        self, search: Search, mixed: list[tuple[Part, Tensor]], spaces: list[Space], seen: Histories, k: int
    ) -> tuple[Tensor, Tensor]:
        """The same by the index of the space that each request is scored in."""
        requests = len(seen.offset) - 1
        scores = torch.full((requests, k), -torch.inf, device=self.device)
        index = torch.zeros(requests, k, dtype=torch.int64, device=self.device)
        for space in spaces:
            query = space.items.new_zeros(requests, space.items.shape[1])
            shift = query.new_zeros(requests)
            mine = [(part, off) for part, off in mixed if part.side is space]
            for part, off in mine:
                query.index_add_(0, part.rows.to(self.device), part.query)
                shift.index_add_(0, part.rows.to(self.device), off)
            rows = torch.cat([part.rows for part, _ in mine]).unique().to(self.device)
            if id(space) not in self._indexes:
                sample = torch.randperm(self.items, generator=torch.Generator().manual_seed(0))[:SAMPLE]
                self._indexes[id(space)] = search.build(space.items, space.items[sample.to(self.device)])
            found, at = self._indexes[id(space)](query[rows], seen.take(rows), k)
            scores[rows], index[rows] = found - shift[rows].unsqueeze(1), at
        return scores, index
