"""Fuzz targets of saved things: damaged bytes and values of artifacts and methods, and what they are asked."""

from __future__ import annotations

import copy
import json
import math
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from conftest import planted
from fuzz import CHANGES, TARGETS, Wrong, mutate, target
from hypothesis import strategies as st
from standin import sealed, titled

import hybridrec as hr
from hybridrec.pipeline.folder import INDEX, _seal
from hybridrec.saving import load_method, save_method

__all__ = ["TARGETS"]

METHODS = {
    "LightGCN": {"dim": 4, "depth": 1},
    "SGL": {"dim": 4, "depth": 1},
    "HCCF": {"dim": 4, "depth": 1, "hyperedges": 3},
    "MultVAE": {"hidden": 8, "dim": 4},
    "DiffRec": {"widths": [8]},
    "EASE": {},
    "IALS": {"dim": 4},
    "ItemKNN": {},
    "Popularity": {},
}
JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-3, 20),
        st.sampled_from([2**31, 2**40, 2**63, 10**30, -1, 0]),
        st.floats(),
        st.text(max_size=6),
        st.sampled_from(
            ["user", "item", "interact", "os.system", "hybridrec.methods.sgl.SGL", "../x", "/etc/passwd", "method/config.json"]
        ),
        st.just({"class": "os.system", "arguments": {}}),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)),
    max_leaves=5,
)


@cache
def data() -> hr.Dataset:
    return titled(planted(users=12, items=10, each=6))


@cache
def saved() -> Path:
    """A folder with every method of METHODS saved, and a Recommender of the first."""
    root = Path(tempfile.mkdtemp(prefix="hybridrec-fuzz-saved-"))
    for name, arguments in METHODS.items():
        torch.manual_seed(0)
        method = getattr(hr, name)(data(), **arguments)
        if hasattr(method, "solve"):
            hr.fit(method, data())
        save_method(method.eval(), root / name, data().schema)
    method = load_method(root / "LightGCN")[0]
    made = hr.Recommender(method, data(), templates={"item": "{{ title }}"}, metrics={"ndcg@10": 0.5})
    made.save_pretrained(root / "artifact")
    return root


def files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def asked(recommender: hr.Recommender) -> None:
    """Answers of items that there are, with scores that are numbers."""
    for answer in (recommender.recommend(history=[101, 102], k=3), recommender.recommend(user="u1", k=3)):
        if any(not math.isfinite(x.score) for x in answer):
            raise Wrong(f"scores are not finite: {answer}")


def judged(method: Any) -> None:
    """An evaluation with numbers."""
    metrics = hr.evaluate(method, data(), ks=(3,)).metrics
    if not all(math.isfinite(x) for x in metrics.values()):
        raise Wrong(f"metrics are not finite: {metrics}")


@target(st.tuples(st.integers(0, 30), CHANGES, st.booleans()))
def artifacts(case: tuple[int, list, bool], folder: Path) -> None:
    """Bytes of one file of a Recommender changed, the checksums put right or not."""
    at, changes, seal = case
    copied = Path(shutil.copytree(saved() / "artifact", folder / "a"))
    names = files(copied)
    path = copied / names[at % len(names)]
    path.write_bytes(mutate(path.read_bytes(), changes))
    if seal and path.name != INDEX:
        sealed(copied)
    asked(hr.Recommender.from_pretrained(copied))


@target(st.tuples(st.sampled_from([*METHODS]), st.integers(0, 1), CHANGES))
def methods(case: tuple[str, int, list], folder: Path) -> None:
    """Bytes of a saved method changed."""
    name, at, changes = case
    copied = Path(shutil.copytree(saved() / name, folder / "m"))
    path = copied / files(copied)[at]
    path.write_bytes(mutate(path.read_bytes(), changes))
    judged(load_method(copied)[0])


def places(x: Any, path: tuple = ()) -> list[tuple]:
    """Every place in a nest of mappings and lists."""
    inner = x.items() if isinstance(x, dict) else enumerate(x) if isinstance(x, list) else ()
    return [path, *(p for key, value in inner for p in places(value, (*path, key)))]


def replaced(x: Any, at: int, value: Any) -> Any:
    """``x`` with another value in one of its places."""
    path = places(x)[at % len(places(x))]
    if not path:
        return value
    changed = copy.deepcopy(x)
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return changed


@target(st.tuples(st.sampled_from([*METHODS]), st.integers(0, 200), JSON))
def configurations(case: tuple[str, int, Any], folder: Path) -> None:
    """One value of a saved method's configuration changed."""
    name, at, value = case
    copied = Path(shutil.copytree(saved() / name, folder / "m"))
    path = copied / "config.json"
    path.write_text(json.dumps(replaced(json.loads(path.read_text()), at, value)))
    judged(load_method(copied)[0])


@target(st.tuples(st.integers(0, 300), JSON))
def indexes(case: tuple[int, Any], folder: Path) -> None:
    """One value of a Recommender's index changed, and its checksum put right."""
    at, value = case
    copied = Path(shutil.copytree(saved() / "artifact", folder / "a"))
    index = replaced(json.loads((copied / INDEX).read_text()), at, value)
    if isinstance(index, dict):
        index["sha256"] = _seal(index)
    (copied / INDEX).write_text(json.dumps(index))
    recommender = hr.Recommender.from_pretrained(copied)
    asked(recommender)
    recommender.save_pretrained(folder / "again")


@cache
def recommender() -> hr.Recommender:
    return hr.Recommender.from_pretrained(saved() / "artifact")


ODD = st.one_of(
    st.none(),
    st.integers(),
    st.integers(98, 112),
    st.floats(),
    st.booleans(),
    st.text(max_size=4),
    st.sampled_from(["u1", "u2", "", " "]),
    st.binary(max_size=2),
    st.just(np.int64(101)),
    st.just(np.array([101, 102])),
    st.just(torch.tensor([101])),
)
FAIR = st.one_of(st.none(), st.lists(st.integers(100, 110), min_size=1, max_size=3), st.just("u1"), st.just(["u1", None]))
ANY = st.one_of(ODD, st.lists(ODD, max_size=3), st.lists(st.one_of(ODD, st.lists(ODD, max_size=3)), max_size=3))
NEST = st.booleans().flatmap(lambda fair: FAIR if fair else ANY)
WEIGHTS = st.one_of(st.none(), st.dictionaries(st.sampled_from(["user", "history", "prompt", "x"]), ODD, max_size=3), ODD)


@target(
    st.fixed_dictionaries(
        {},
        optional={"user": NEST, "history": NEST, "prompt": NEST, "k": st.one_of(st.integers(1, 11), ODD), "weights": WEIGHTS},
    )
)
def requests(case: dict[str, Any], folder: Path) -> None:
    """Anything asked of a Recommender."""
    answers = recommender().recommend(**case)
    for answer in answers if answers and isinstance(answers[0], list) else [answers]:
        if any(not math.isfinite(x.score) for x in answer):
            raise Wrong(f"scores are not finite: {answer}")
