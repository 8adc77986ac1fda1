"""How a denoising method is asked, for the length of one request."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hybridrec.errors import QueryError


@contextmanager
def denoising(method: Any, steps: int | None = None, guidance: float | None = None) -> Iterator[None]:
    """``method`` with these ``steps`` and ``guidance`` in place of its own; None leaves what it has.

    Raises QueryError where the method has no such attribute, or the number is impossible.
    """
    given = {name: value for name, value in (("steps", steps), ("guidance", guidance)) if value is not None}
    for name in given:
        if not hasattr(method, name):
            raise QueryError(f"{type(method).__name__} does not denoise and has no {name!r}: leave it out")
    if steps is not None and (isinstance(steps, bool) or not isinstance(steps, int) or steps < 1):
        raise QueryError(f"steps must be a whole number of at least 1, not {steps!r}")
    if steps is not None and steps > getattr(method, "times", steps):
        raise QueryError(f"steps must be at most {method.times}, the times {type(method).__name__} was trained on, not {steps}")
    if guidance is not None and not (isinstance(guidance, int | float) and 0 <= guidance < float("inf")):
        raise QueryError(f"guidance must be a number of at least 0, not {guidance!r}")
    own = {name: getattr(method, name) for name in given}
    try:
        for name, value in given.items():
            setattr(method, name, value)
        yield
    finally:
        for name, value in own.items():
            setattr(method, name, value)
