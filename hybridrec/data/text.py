"""Entities as texts: rendered from tables by Jinja templates, and as ragged lists of tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from hybridrec.data.batches import Histories
from hybridrec.errors import DataError

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset


class Texts(NamedTuple):
    """Tokenised texts: text b is ``token[offset[b] : offset[b + 1]]``.

    Shapes: ``offset`` (B + 1,) int64, ``token`` (n,) int64.
    """

    offset: Tensor
    token: Tensor

    @classmethod
    def of(cls, tokens: Sequence[Sequence[int]]) -> Texts:
        """From one list of tokens a text."""
        return cls(*Histories.lists(tokens)[:2])

    def __len__(self) -> int:
        return len(self.offset) - 1

    @property
    def lengths(self) -> Tensor:
        """Tokens of each text: (B,)."""
        return self.offset[1:] - self.offset[:-1]

    def take(self, rows: Tensor) -> Texts:
        """The texts of ``rows`` (B,), in that order."""
        return Texts(*Histories(self.offset, self.token).take(rows)[:2])

    def padded(self, pad: int) -> tuple[Tensor, Tensor]:
        """Tokens and the mask of what is no padding, each (B, T) int64, padded on the right with ``pad``."""
        step = torch.arange(int(self.lengths.max()), device=self.token.device)
        mask = step < self.lengths.unsqueeze(1)
        tokens = torch.full_like(mask, pad, dtype=torch.int64)
        tokens[mask] = self.token
        return tokens, mask.long()


def render(template: str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """One text a row of the Jinja ``template``, sandboxed; what rows hold is never itself read as a template.

    Raises DataError naming the template's fault, or the column that rows lack.
    """
    from hybridrec.data.sandbox import FAULTS, Sandbox

    environment = Sandbox()
    try:
        compiled = environment.from_string(template)
        return [environment.text(compiled, row) for row in rows]
    except FAULTS as e:
        columns = f"; rows have {sorted(map(str, rows[0]))}" if rows else ""
        raise DataError(f"the template {template[:80]!r} cannot be used: {e or type(e).__name__}{columns}") from e


def rows_of(data: Dataset, entity: str) -> list[dict[str, Any]]:
    """What the tables say of every entity of that kind, in the order of positions. Raises DataError where there is no table."""
    if entity not in data.tables:
        raise DataError(
            f"data set {data.name!r} has no table of {entity}s (it has {sorted(data.tables)}), so nothing can be rendered; "
            f"add {entity}s.parquet with one row each"
        )
    return data.tables[entity].to_pylist()


def item_texts(data: Dataset, template: str) -> list[str]:
    """The text of every item; ``template`` sees the columns of its row."""
    return render(template, rows_of(data, data.target))


def user_texts(data: Dataset, template: str, most: int = 20) -> list[str]:
    """The text of every user, of training rows alone: nothing held out is read.

    ``template`` sees ``user``, the user's row (empty where there is no table), and ``items``, the rows of the last ``most``
    items of the training history, oldest first.
    """
    items, history = rows_of(data, data.target), data.histories()
    users = data.tables[data.source].to_pylist() if data.source in data.tables else [{}] * data.counts[data.source]
    bounds = zip(history.offset[:-1].tolist(), history.offset[1:].tolist(), strict=True)
    chosen = [history.item[max(start, stop - most) : stop].tolist() for start, stop in bounds]
    return render(template, [{"user": u, "items": [items[i] for i in c]} for u, c in zip(users, chosen, strict=True)])
