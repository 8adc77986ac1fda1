"""Fuzz target of the recipes: any arguments at all, on the command line or in a YAML file, on small data."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import re
import sys
import tempfile
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import yaml
from folders import divided, interactions, write_file
from fuzz import TARGETS, Wrong, target
from hypothesis import strategies as st
from tinytext import tiny_sentences

import hybridrec as hr
from hybridrec.data.words import word_ids
from hybridrec.saving import save_method

__all__ = ["TARGETS"]

RECIPES = Path(__file__).parents[1] / "recipes"
NAMES = sorted(p.stem for p in RECIPES.glob("*.py") if "def main()" in p.read_text())
NUMBERS = ["0", "-1", "1", "2", "3", "1.5", "-0.5", "nan", "inf", "1e400", str(10**30), "x", "", "--", "1,2", "[1]"]
WORDS = [
    "",
    "x",
    "../x",
    "/dev/null",
    "/proc/nope/x",
    "nowhere",
    "{",
    "{{",
    "é",
    "a b",
    "-x",
    "\n",
    "EASE",
    "Popularity",
    "os",
    "none",
    "all",
    "cold",
    "valid",
    "test",
    "ndcg@20",
    "ndcg@",
    "@",
    "ndcg@x",
    "recall@0",
    "EASE {ridge: 1}",
    "EASE {",
    "EASE {x: 1}",
    "u1",
]
# Runs are kept short: what trains does so once, and no text model is fetched.
SPACES = ["--spaces", "@spaces.yaml", "--tuned", "tuned", "--trials", "1", "--seeds", "0"]
SHORT = {
    "align": ["--encoder", "@sentences", "--epochs", "1", "--dim", "4", "--rank", "2", "--views", "1"],
    "branch": ["--epochs", "1", "--dim", "4", "--seeds", "0", "--weights", "0.1"],
    "contrast": ["--methods", "LightGCN", *SPACES],
    "inductive": ["--epochs", "1", "--dim", "4", "--unseen", "2", "--encoder", "@sentences"],
    "sequential": ["EASE+recency", "--epochs", "1"],
    "views": ["--methods", "LightGCN", "--shares", "1.0", *SPACES],
    "zeroshot": ["--epochs", "1", "--own_epochs", "1", "--dim", "4"],
    "compare": ["--methods", "Popularity", "--seeds", "0"],
    "denoise": ["--epochs", "1", "--dim", "4"],
    "embed": ["--encoder", "@sentences"],
    "profiles": ["--model", "/nowhere"],
    "prompts": ["--epochs", "1", "--encoder", "@sentences", "--seeds", "0"],
    "tune": ["--methods", "EASE", "--trials", "1"],
}
LONG = ("epochs", "own_epochs", "trials", "spaces", "encoder", "model", "base", "dim")


@cache
def world() -> Path:
    """A folder with data that loads, data that does not, an artifact, a method and files of settings."""
    root = Path(tempfile.mkdtemp(prefix="hybridrec-fuzz-world-"))
    rows = interactions(users=8, items=9, each=6, split=divided(8, 6))
    items = {"item_id": list(range(10, 19)), "title": [f"film {i}" for i in range(9)], "genres": ["a b", "b", "c"] * 3}
    write_file(root / "data", "interactions", rows)
    write_file(root / "data", "items", items)
    np.save(root / "data/features_text.npy", np.random.default_rng(0).normal(size=(9, 16)).astype(np.float32))
    np.save(root / "data/features_words.npy", word_ids(items["title"]).numpy().astype(np.float32))
    write_file(root / "broken", "interactions", {"user_id": [1], "x": [2]})
    data = hr.load(root / "data")
    method = hr.LightGCN(data, dim=4, depth=1).eval()
    hr.Recommender(method, data).save_pretrained(root / "artifact")
    save_method(method, root / "method", data.schema)
    tiny_sentences(root, items["title"])
    (root / "some.yaml").write_text("EASE: {method: EASE, arguments: {ridge: 3.0}}\n")
    (root / "bad.yaml").write_text("a: [1, {b: 2}]\n*x\n")
    (root / "spaces.yaml").write_text("LightGCN: {arguments: {dim: 4, depth: 1}, fit: {epochs: 1}}\n")
    (root / "marked.md").write_text(f"{recipe('table').BEGIN}\n{recipe('table').END}\n")
    (root / "notes.md").write_text("# Nothing\n")
    return root


@cache
def recipe(name: str) -> Any:
    sys.path.insert(0, str(RECIPES))
    return importlib.import_module(name)


@cache
def options(name: str) -> list[str]:
    """The arguments of a recipe by name."""
    found = [c for c in vars(recipe(name)).values() if is_dataclass(c) and getattr(c, "__module__", "") == name]
    return [f.name for c in found[:1] for f in fields(c)] or arguments(name)


def arguments(name: str) -> list[str]:
    """Those of a recipe that asks argparse itself."""
    return re.findall(r'add_argument\("--(\w+)"', (RECIPES / f"{name}.py").read_text())


def fair(name: str, option: str) -> st.SearchStrategy[list[str]]:
    """A value of the kind that an option has."""
    kinds = [c for c in vars(recipe(name)).values() if is_dataclass(c) and getattr(c, "__module__", "") == name]
    kind = next((str(f.type) for f in fields(kinds[0]) if f.name == option), "") if kinds else ""
    if "bool" in kind:
        return st.just([])
    if "float" in kind:
        return st.sampled_from([["0.1"], ["0.5"], ["1.0"], ["0"]])
    return st.sampled_from([["1"], ["2"], ["3"], ["0"]] if "int" in kind or not kind else [["valid"], ["here"], ["x/y"]])


@st.composite
def calls(draw: Any) -> tuple[str, list[str], dict[str, Any] | None]:
    """A recipe, its command line, and a YAML file of arguments or None."""
    name = draw(st.sampled_from(NAMES))
    places = ["data", "broken", "artifact", "method", "some.yaml", "bad.yaml", "notes.md"]
    value = st.one_of(
        st.sampled_from(NUMBERS), st.sampled_from(WORDS), st.sampled_from([f"@{p}" for p in places]), st.text(max_size=5)
    )
    argv = draw(st.sampled_from([["@data"], ["@data"], ["@data"], ["@broken"], [], ["@artifact"], ["@method"]]))
    argv = [draw(st.sampled_from(["@marked.md", "@notes.md"]))] if name == "table" else argv
    argv = argv or ["@data"] * (name == "prompts")  # its default is a whole data set
    argv = [] if name in ("compare", "contrast", "views", "query", "evaluate", "zeroshot") else list(argv)
    argv += {
        "compare": ["--data", "@data"],
        "contrast": ["--data", "@data"],
        "views": ["--data", "@data"],
        "zeroshot": draw(st.sampled_from([["--targets", "@data", "--sources", "@data"], ["--targets", "@data"], []])),
        "query": ["--artifact", "@artifact"],
        "evaluate": ["@method", "--data", "@data"],
    }.get(name, [])
    argv += SHORT.get(name, [])
    argv += {"general": ["--epochs", "1"]}.get(name, [])
    known = [o for o in options(name) if o not in LONG]
    for _ in range(draw(st.sampled_from([0, 1, 1, 2, 3]))):
        option = draw(st.sampled_from(known))
        argv += [f"--{option}", *draw(st.one_of(fair(name, option), st.lists(value, max_size=2)))]
    config = draw(st.one_of(st.none(), st.none(), st.dictionaries(st.sampled_from(known), JSONISH, max_size=2)))
    return name, argv, config


JSONISH = st.one_of(
    st.integers(-2, 3),
    st.floats(),
    st.text(max_size=4),
    st.booleans(),
    st.none(),
    st.lists(st.integers(0, 3), max_size=2),
    st.just({"a": 1}),
)


@target(calls())
def recipes(case: tuple[str, list[str], dict[str, Any] | None], folder: Path) -> None:
    """``main`` of a recipe in an empty folder: one line of error, an exit of argparse, or success."""
    name, argv, config = case
    main = recipe(name).main
    given = [str(world() / x[1:]) if x.startswith("@") and (world() / x[1:]).exists() else x for x in argv]
    if config is not None and not arguments(name):
        (folder / "c.yaml").write_text(yaml.safe_dump(config))
        given += ["--config", str(folder / "c.yaml")]
    (folder / "prompts").symlink_to(RECIPES.parent / "prompts")
    before, quiet = Path.cwd(), io.StringIO()
    os.chdir(folder)
    try:
        with (
            patch.object(sys, "argv", [name, *given]),
            patch.object(sys, "stdin", io.StringIO("a film\n")),
            contextlib.redirect_stdout(quiet),
            contextlib.redirect_stderr(quiet),
        ):
            main()
    finally:
        os.chdir(before)
    for path in folder.rglob("*.json"):
        json.loads(path.read_text(), parse_constant=refuse)


def refuse(constant: str) -> None:
    """A number that JSON does not have."""
    raise Wrong(f"{constant} in what was written")
