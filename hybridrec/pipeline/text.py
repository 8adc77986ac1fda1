"""What an artifact asks of its text side, and how its templates are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from hybridrec.errors import DataError


class TextSide(Protocol):
    """Texts as vectors in the collaborative space.

    A saved artifact names its class, which must be a @configured one of hybridrec, and calls its ``load(folder)``.
    """

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Vectors (n, D) of ``texts``."""

    def save(self, folder: str | Path) -> None:
        """Write adapter, projection and what base model they need into ``folder``."""


def render(template: str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """One text a row of the Jinja ``template``, sandboxed; what rows hold is never itself read as a template.

    Raises DataError naming the template's fault, or the column it wants and the rows lack.
    """
    from jinja2 import StrictUndefined, TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    try:
        compiled = environment.from_string(template)
        return [compiled.render(row).strip() for row in rows]
    except TemplateError as e:
        raise DataError(f"the template {template[:80]!r} cannot be used: {e}") from e
