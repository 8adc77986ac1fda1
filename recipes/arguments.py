"""Arguments of recipes: a dataclass, a YAML file with the same names, and the command line, the later over the earlier.

A recipe declares a dataclass whose fields have ``field(default=..., metadata={"help": ...})`` and calls ``parse``.
``--config file.yaml`` may hold any of the fields; what is also on the command line wins.
"""

from __future__ import annotations

import argparse
import difflib
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml

from hybridrec.errors import HybridrecError
from hybridrec.saving import make_folder

A = TypeVar("A")


class ConfigError(HybridrecError, ValueError):
    """A file of settings that cannot be read: names it and what was wanted."""


class Help(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Every default is told, and the description stands as it was written."""


def parse(cls: type[A], description: str | None = None, positional: str | None = None, argv: Sequence[str] | None = None) -> A:
    """An instance of the dataclass ``cls`` from the command line (or ``argv``) and the YAML file it may name.

    The field named ``positional`` can also be given without its ``--name``. Anything unknown, of the wrong type or
    unreadable ends the program with a message that names it.
    """
    from transformers import HfArgumentParser

    argv = list(sys.argv[1:] if argv is None else argv)
    parser = HfArgumentParser(cls, description=description, formatter_class=Help)
    parser.add_argument("--config", metavar="FILE", help="YAML file of these arguments; the command line overrides it")
    if positional:
        parser.add_argument(positional, nargs="?", default=argparse.SUPPRESS, help=f"the same as --{positional}")
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--config")
    config = first.parse_known_args(argv)[0].config
    known = [action.dest for action in parser._actions if action.dest not in ("help", "config")]
    # The file's entries go before the command line: argparse checks their types and lets the last one win.
    values = parser.parse_args([*(_tokens(config, known, parser) if config else []), *argv])
    return cls(**{name: value for name, value in vars(values).items() if name != "config"})


def _tokens(path: str, known: Sequence[str], parser: argparse.ArgumentParser) -> list[str]:
    """The YAML file as command-line tokens."""
    try:
        entries = read_yaml(path)
    except HybridrecError as e:
        parser.error(f"--config {e}")
    tokens: list[str] = []
    for name, value in entries.items():
        if name not in known:
            near = difflib.get_close_matches(str(name), known, 1)
            parser.error(
                f"--config {path}: unknown argument {name!r}; " + (f"did you mean {near[0]!r}?" if near else "see --help")
            )
        if any(isinstance(x, dict | list) for x in (value if isinstance(value, list) else [value] * isinstance(value, dict))):
            parser.error(f"--config {path}: {name!r} wants one value or a list of values, not a mapping")
        if isinstance(value, list):
            tokens += [f"--{name}", *map(str, value)]
        elif value is not None:
            tokens.append(f"--{name}={value}")
    return tokens


def read_yaml(path: str | Path) -> dict[str, Any]:
    """A YAML file of ``name: value`` entries, empty if the file is. Raises ConfigError where it is no such file."""
    try:
        entries = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as e:
        raise ConfigError(f"{path}: cannot be read as YAML: {e}") from e
    if not isinstance(entries, dict | None):
        raise ConfigError(f"{path}: wanted 'name: value' lines, found a {type(entries).__name__}")
    return entries or {}


def read_text(path: str | Path) -> str:
    """A file of text. Raises ConfigError where it cannot be read as UTF-8."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as e:
        raise ConfigError(f"{path}: cannot be read as UTF-8 text: {e}") from e


def write_text(path: str | Path, text: str) -> None:
    """Write a file of text, and the folder it is in where that is missing. Raises ConfigError, or ArtifactError, where not."""
    make_folder(Path(path).parent)
    try:
        Path(path).write_text(text, encoding="utf-8")
    except (OSError, ValueError) as e:
        raise ConfigError(f"{path}: cannot be written: {e}") from e


def write_json(path: str | Path, record: Any) -> None:
    """Write ``record`` as JSON, as ``write_text`` does."""
    write_text(path, json.dumps(record, indent=1) + "\n")


def run(main: Callable[[], Any]) -> None:
    """Call ``main``; an error that hybridrec raised on purpose ends the program with its message alone."""
    try:
        main()
    except HybridrecError as e:
        sys.exit(f"error: {e}")
