"""A data set as typed relations between entities: the survey's Input Data, and nothing a model would know."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from hybridrec.errors import DataError, QueryError

if TYPE_CHECKING:
    import pyarrow as pa

    from hybridrec.data.batches import Histories
    from hybridrec.graph import Graph


@dataclass(frozen=True)
class Relation:
    """Typed links between two kinds of entity, with what is known about each link.

    Shapes: ``index`` (2, E) int64, rows (source, target); ``time`` (E,) float64, seconds or any increasing number;
    ``kind`` (E,) int64, positions in ``kinds``; ``value`` (E,) float32, for example a rating.
    """

    source: str
    target: str
    index: Tensor
    time: Tensor | None = None
    kind: Tensor | None = None
    value: Tensor | None = None
    kinds: tuple[str, ...] = ()

    def __len__(self) -> int:
        return self.index.shape[1]

    def keep(self, rows: Tensor) -> Relation:
        """The relation with only ``rows``: a boolean mask (E,), or positions in the order wanted."""

        def take(x: Tensor | None) -> Tensor | None:
            return None if x is None else x[rows]

        return replace(self, index=self.index[:, rows], time=take(self.time), kind=take(self.kind), value=take(self.value))

    @classmethod
    def empty(cls, source: str, target: str) -> Relation:
        """A relation without a link, as a method is given that is loaded without its data."""
        return cls(source, target, torch.empty(2, 0, dtype=torch.int64))


class Ids:
    """The ids of one kind of entity, as they came (strings or integers), and their positions 0 .. n-1."""

    def __init__(self, values: Iterable[Any] | np.ndarray) -> None:
        self._given = values if isinstance(values, np.ndarray | range) else list(values)

    def __len__(self) -> int:
        return len(self._given)

    @cached_property
    def values(self) -> np.ndarray:
        """The ids, by position: (n,). Those of a ``range`` are written out when first asked for."""
        return np.asarray(self._given)

    @cached_property
    def _position(self) -> dict[Any, int]:
        return {value: position for position, value in enumerate(self.values.tolist())}

    def find(self, ids: Iterable[Any], entity: str = "entity") -> Tensor:
        """Positions (B,) int64 of ``ids``. Raises QueryError naming those unknown."""
        ids = [x.item() if isinstance(x, np.generic) else x for x in ids]
        unknown = [x for x in ids if x not in self._position]
        if unknown:
            shown = ", ".join(map(repr, unknown[:5])) + (", ..." if len(unknown) > 5 else "")
            known = ", ".join(repr(x) for x in self.values[:3].tolist())
            raise QueryError(
                f"unknown {entity} id: {shown}; known ids look like {known}. Ids keep the type they were read with"
            )
        return torch.tensor([self._position[x] for x in ids], dtype=torch.int64)

    def __contains__(self, x: Any) -> bool:
        return x in self._position

    def __getitem__(self, positions: Any) -> list[Any]:
        """The ids at ``positions`` (tensor, array or list), as plain Python values."""
        return self.values[np.asarray(positions)].tolist()


class Feature(NamedTuple):
    """What one modality says of each entity: ``values`` (N, D) float32, zero where ``known`` (N,) is False."""

    values: Tensor
    known: Tensor


class Split(NamedTuple):
    """How the goal relation was divided: the name of the rule and its arguments, seed included."""

    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Dataset:
    """Relations, the entities they join, and which relation is to be predicted (the goal).

    ``relations[goal]`` holds the training rows only; ``heldout["valid"]`` and ``heldout["test"]`` hold the rest, so that a
    method which reads relations cannot read what it is judged by.
    """

    ids: dict[str, Ids]
    relations: dict[str, Relation]
    goal: str
    heldout: dict[str, Relation] = field(default_factory=dict)
    tables: dict[str, pa.Table] = field(default_factory=dict)
    features: dict[str, dict[str, Feature]] = field(default_factory=dict)
    name: str = ""
    split: Split | None = None

    def __post_init__(self) -> None:
        if self.goal not in self.relations:
            raise DataError(f"goal relation {self.goal!r} is not among {sorted(self.relations)}; name one of them as goal")

    @cached_property
    def counts(self) -> dict[str, int]:
        """How many entities of each kind there are."""
        return {entity: len(ids) for entity, ids in self.ids.items()}

    @property
    def source(self) -> str:
        """The kind of entity that is recommended to: user, or group."""
        return self.relations[self.goal].source

    @property
    def target(self) -> str:
        """The kind of entity that is ranked: item, or bundle."""
        return self.relations[self.goal].target

    @property
    def sides(self) -> dict[str, int]:
        """Counts of the goal's two ends under the names that collaborative filtering gives them: user and item."""
        return {"user": self.counts[self.source], "item": self.counts[self.target]}

    @property
    def train(self) -> Relation:
        """The training rows of the goal relation."""
        return self.relations[self.goal]

    def with_train(self, rows: Relation) -> Dataset:
        """The same with other training rows of the goal relation."""
        return replace(self, relations={**self.relations, self.goal: rows})

    def part(self, name: str) -> Relation:
        """The rows of the goal relation in ``train``, ``valid`` or ``test``. Raises DataError where there are none."""
        if name == "train":
            return self.train
        if name not in self.heldout or not len(self.heldout[name]):
            raise DataError(
                f"data set {self.name!r} has no {name} rows (it has train and {sorted(self.heldout)}); "
                "split it: hybridrec.load(..., split=RandomSplit())"
            )
        return self.heldout[name]

    def cold(self, name: str) -> Tensor:
        """Items (n,) that have rows in part ``name`` and none in any part before it (train, then valid)."""
        seen = torch.zeros(self.counts[self.target], dtype=torch.bool)
        seen[self.train.index[1]] = True
        if name == "test" and "valid" in self.heldout:
            seen[self.heldout["valid"].index[1]] = True
        items = self.part(name).index[1].unique()
        return items[~seen[items]]

    def histories(self, *parts: str) -> Histories:
        """What each source entity is known to have chosen, oldest first; ties keep file order. Default: train."""
        from hybridrec.data.batches import Histories

        return Histories.of([self.part(p) for p in parts or ("train",)], self.counts[self.source])

    def graph(self, *names: str) -> Graph:
        """The normalised graph over all entities of the named relations (default: the goal's training rows)."""
        from hybridrec.graph import Graph

        relations = [self.relations[name] for name in names or (self.goal,)]
        return Graph.of(relations, {e: self.counts[e] for r in relations for e in (r.source, r.target)})

    @cached_property
    def fingerprint(self) -> str:
        """A hash (32 hex digits) of ids, links, parts and tables: it changes if any row of any of them changes."""
        h = hashlib.blake2b(digest_size=16)
        for entity, ids in sorted(self.ids.items()):
            integers = ids.values.dtype.kind in "iu"
            h.update(f"{entity}:{len(ids)}:{integers}".encode())
            h.update(ids.values.astype(np.int64).data if integers else "\x1f".join(map(repr, ids.values.tolist())).encode())
        heldout = [(f"heldout {part}", relation) for part, relation in sorted(self.heldout.items())]
        for name, relation in [*sorted(self.relations.items()), *heldout]:
            h.update(f"{name}:{relation.source}:{relation.target}:{self.goal}:{relation.kinds}".encode())
            for x in (relation.index, relation.time, relation.kind, relation.value):
                h.update(b"-" if x is None else x.contiguous().numpy().data)
        for entity, table in sorted(self.tables.items()):
            h.update(entity.encode())
            for column in table.column_names:
                h.update(column.encode())
                h.update("\x1f".join(map(repr, table[column].to_pylist())).encode())
        for entity, features in sorted(self.features.items()):
            for modality, feature in sorted(features.items()):
                h.update(f"{entity}:{modality}:{tuple(feature.values.shape)}".encode())
                h.update(feature.values.contiguous().numpy().data)
                h.update(feature.known.contiguous().numpy().data)
        return h.hexdigest()

    @cached_property
    def schema(self) -> dict[str, Any]:
        """What a method needs to be built without the rows: counts, relations' ends, goal (JSON)."""
        return {
            "counts": self.counts,
            "relations": {name: [r.source, r.target, list(r.kinds)] for name, r in self.relations.items()},
            "goal": self.goal,
        }

    @classmethod
    def from_schema(cls, schema: Mapping[str, Any]) -> Dataset:
        """A data set of the right shape without a row: a saved method is built on it, then given its weights."""
        relations = {
            name: replace(Relation.empty(source, target), kinds=tuple(kinds))
            for name, (source, target, kinds) in schema["relations"].items()
        }
        return cls({e: Ids(range(n)) for e, n in schema["counts"].items()}, relations, schema["goal"])

    def __repr__(self) -> str:
        parts = [f"{len(self.train):,} train"] + [f"{len(r):,} {name}" for name, r in self.heldout.items()]
        others = [f"{name} {r.source}->{r.target} {len(r):,}" for name, r in self.relations.items() if name != self.goal]
        entities = ", ".join(f"{n:,} {_plural(entity)}" for entity, n in self.counts.items())
        return (
            f"Dataset({self.name or 'unnamed'}: {entities}; {self.goal}: {', '.join(parts)}"
            + "".join(f"; {o}" for o in others)
            + ")"
        )


def _plural(entity: str) -> str:
    kind, _, domain = entity.partition(":")
    several = f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}s"
    return f"{several} of {domain}" if domain else several
