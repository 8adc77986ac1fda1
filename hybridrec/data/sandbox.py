"""Jinja for templates that others wrote: no attribute of Python is reached, and no template runs long or grows large."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import wraps
from typing import Any

from jinja2 import StrictUndefined, TemplateError, nodes
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

SIZE = 1 << 22  # characters of a text and elements of a value, and what the sizes of arguments may multiply to
TURNS = 100_000  # turns of all loops of one text together

# What could call itself, bring in another file, or gather a text unseen.
REFUSED = (nodes.Macro, nodes.CallBlock, nodes.Block, nodes.Extends, nodes.Include, nodes.Import, nodes.FromImport)
UNSEEN = (nodes.AssignBlock, nodes.FilterBlock)
UNKNOWN = ("namespace", "lipsum", "cycler", "joiner")  # a namespace carries a value from turn to turn, doubling it
GROWING = ("batch", "center", "format", "indent", "join", "replace", "slice", "wordwrap")
PLACE = r"%(\(\w+\))?[-+ 0#]*\d{0,3}(\.\d{0,3})?[sdifgeEGxXo%]"

# What may go wrong in a template: a fault of its own, a filter or operator on a wrong cell, a bound.
FAULTS = (TemplateError, TypeError, ValueError, LookupError, ArithmeticError, AttributeError, RecursionError, MemoryError)


class Sandbox(ImmutableSandboxedEnvironment):
    """The sandbox of Jinja, with bounds on loops and on the size of every value: raises SecurityError beyond them."""

    intercepted_binops = frozenset(("*", "**", "%", "+"))

    def __init__(self) -> None:
        super().__init__(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=small)
        for name in UNKNOWN:
            self.globals.pop(name, None)
        self.filters = {name: _bounded(name, f) for name, f in self.filters.items()}
        self.filters |= {"_turns": self._turns, "_small": small}
        self.left = TURNS

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        """The tree of a template; loops count their turns, and joined texts are measured."""
        tree = super()._parse(source, name, filename)
        for node in tree.find_all((*REFUSED, *UNSEEN)):
            raise SecurityError(f"line {node.lineno} holds a {type(node).__name__}, which a template here may not")
        for loop in list(tree.find_all(nodes.For)):
            if loop.recursive:
                raise SecurityError(f"line {loop.lineno} holds a recursive loop, which a template here may not")
            loop.iter = nodes.Filter(loop.iter, "_turns", [], [], None, None)
        for join in list(tree.find_all(nodes.Concat)):
            # A joined text stands in another as a filtered one, so that each is measured before the next is made.
            join.nodes = [nodes.Filter(x, "_small", [], [], None, None) for x in join.nodes]
        tree.set_environment(self)
        return tree

    def _turns(self, values: Iterable[Any]) -> Iterator[Any]:
        for value in values:
            self.left -= 1
            if self.left < 0:
                raise SecurityError(f"its loops turn more than {TURNS:,} times")
            yield value

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """``*`` and ``+`` within bounds, ``%`` of numbers, and no power."""
        if operator == "**" or (operator == "%" and isinstance(left, str | bytes)):
            raise SecurityError(f"the operator {operator!r} is not for templates here")
        if operator == "*" and not (_number(left) and _number(right)):
            _multiply(left, right)
        return small(super().call_binop(context, operator, left, right))

    def call(self, context: Any, function: Any, *args: Any, **kwargs: Any) -> Any:
        """A call of a method within bounds."""
        owner = getattr(function, "__self__", None)
        if isinstance(owner, str | bytes | list | tuple):
            _multiply(owner, *args, *kwargs.values())
        return small(super().call(context, function, *args, **kwargs))

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """No ``str.format``: a few characters of it may ask for any width."""
        return _no_format if super().wrap_str_format(value) is not None else None

    def text(self, template: Any, row: Mapping[str, Any]) -> str:
        """``template``, compiled here, of one row. Raises any of FAULTS."""
        self.left, parts, size = TURNS, [], 0
        for part in template.generate(row):
            size += len(part)
            if size > SIZE:
                raise SecurityError(f"its text is longer than {SIZE:,} characters")
            parts.append(part)
        return "".join(parts).strip()


def _no_format(*args: Any, **kwargs: Any) -> str:
    raise SecurityError("str.format is not for templates here; use the filter format, or write the parts one after another")


def small(x: Any) -> Any:
    """``x``; raises SecurityError where it has more than SIZE elements, those within its elements counted."""
    if _weight(x, 0) > SIZE or (isinstance(x, int) and x.bit_length() > 4096):
        raise SecurityError(f"a value has more than {SIZE:,} elements")
    return x


def _weight(x: Any, so_far: int) -> int:
    if isinstance(x, str | bytes | range):
        return so_far + len(x)
    if isinstance(x, dict):
        x = (*x, *x.values())
    if isinstance(x, list | tuple | set | frozenset):
        for y in x:
            so_far = _weight(y, so_far + 1)
            if so_far > SIZE:
                break
    return so_far


def _number(x: Any) -> bool:
    return isinstance(x, int | float)


def _multiply(*values: Any) -> None:
    """Raise SecurityError where the sizes and numbers among ``values`` multiply to more than SIZE."""
    product = 1
    for x in values:
        product *= max(1, min(abs(x), SIZE + 1) if isinstance(x, int) else _weight(x, 0))
        if product > SIZE:
            raise SecurityError(f"a value would have more than {SIZE:,} elements")


def _bounded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter whose arguments and result are measured. What Jinja notes of it is kept."""

    @wraps(function)
    def within(*args: Any, **kwargs: Any) -> Any:
        given = [small(x) for x in (*args, *kwargs.values())]
        if name in GROWING:
            _multiply(*given)
        if name == "format" and "%" in re.sub(PLACE, "", str(args[0])):
            raise SecurityError(f"the format {args[0]!r} is not for templates here: wanted %s, %d, %.2f")
        return small(function(*args, **kwargs))

    return within
