"""What was asked, put in order: one row a request, each with the ids and the prompt it came with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from hybridrec.errors import QueryError


class Request(NamedTuple):
    """One request: any of a known user, a history of items and a prompt, at least one of them."""

    user: Any = None
    history: list[Any] | None = None
    prompt: str | None = None


def requests(user: Any, history: Any, prompt: Any) -> tuple[list[Request], bool]:
    """Requests, and whether a list was asked for. Single values beside a list are repeated.

    Raises QueryError for nothing given, lists of different lengths, an empty history or prompt, ids of an odd type.
    """
    user, history, prompt = (x.tolist() if isinstance(x, np.ndarray | Tensor) else x for x in (user, history, prompt))
    if isinstance(history, str) or (history is not None and not isinstance(history, list | tuple)):
        raise QueryError(f"history wants a list of item ids, or a list of such lists; found {history!r}")
    given: dict[str, Any] = {"user": user, "history": history, "prompt": prompt}
    many = {
        "user": isinstance(user, list | tuple),
        "history": any(_is_list(x) or x is None for x in history or ()),
        "prompt": isinstance(prompt, list | tuple),
    }
    lists = {name: list(value) for name, value in given.items() if many[name]}
    lengths = {name: len(value) for name, value in lists.items()}
    if len(set(lengths.values())) > 1:
        raise QueryError(f"lists of different lengths: {lengths}; row b of each belongs to request b")
    n = next(iter(lengths.values()), 1)
    rows = zip(*(lists.get(name, [x] * n) for name, x in given.items()), strict=True)
    return [_request(f"request {b}: " if lists else "", *row) for b, row in enumerate(rows)], bool(lists)


def _is_list(x: Any) -> bool:
    return isinstance(x, list | tuple | np.ndarray | Tensor)


def _request(where: str, user: Any, history: Any, prompt: Any) -> Request:
    if user is None and history is None and prompt is None:
        raise QueryError(f"{where}nothing to go by: give a user, a history, a prompt, or any mix of them")
    if history is not None:
        if not _is_list(history):
            raise QueryError(f"{where}a history is a list of item ids; found {history!r}")
        history = history.tolist() if isinstance(history, np.ndarray | Tensor) else list(history)
        if not history:
            raise QueryError(f"{where}the history is empty: leave it out and give a user or a prompt")
    if prompt is not None and not isinstance(prompt, str):
        raise QueryError(f"{where}a prompt is a string; found {type(prompt).__name__}")
    if prompt is not None and not prompt.strip():
        raise QueryError(f"{where}the prompt is empty")
    for x in [*([] if user is None else [user]), *(history or [])]:
        if not _is_id(x):
            raise QueryError(f"{where}an id is a string or an integer; found {x!r}")
    return Request(user, history, prompt)


def _is_id(x: Any) -> bool:
    return isinstance(x, str | int | np.integer) and not isinstance(x, bool)


def check_k(k: Any, items: int) -> int:
    """``k`` as an int. Raises QueryError where it is not from 1 to the size of the catalogue."""
    if not isinstance(k, int | np.integer) or isinstance(k, bool) or k < 1:
        raise QueryError(f"k must be a whole number of at least 1, not {k!r}")
    if k > items:
        raise QueryError(f"k = {k} is beyond the catalogue of {items} items")
    return int(k)


def check_weights(weights: Any, sources: Iterable[str]) -> dict[str, float]:
    """A weight for every source, 1 where none is given. Raises QueryError for unknown names and unusable numbers."""
    if not isinstance(weights, Mapping | None):
        raise QueryError(f"weights are a mapping from {list(sources)} to numbers; found {weights!r}")
    given, sources = dict(weights or {}), list(sources)
    if unknown := sorted(map(str, set(given) - set(sources))):
        raise QueryError(f"weights are of {sources}; found {unknown}")
    for name, value in given.items():
        if not isinstance(value, int | float) or not 0 < value < float("inf"):
            raise QueryError(f"the weight of {name!r} must be a positive number, not {value!r}; leave out what is not wanted")
    return {name: float(given.get(name, 1.0)) for name in sources}
