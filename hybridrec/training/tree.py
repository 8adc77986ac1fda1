"""Nested Python values as JSON and named tensors, and back: what a checkpoint is made of. Nothing in it is ever executed."""

from __future__ import annotations

import importlib
from collections import OrderedDict, defaultdict, namedtuple
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hybridrec.errors import ArtifactError
from hybridrec.graph import Graph

PLAIN = (bool, int, float, str)


def flatten(x: Any, tensors: dict[str, Tensor], path: str = "") -> Any:
    """``x`` as JSON; the tensors in it go to ``tensors`` under the path where they stood.

    Numbers, strings, None, tensors, arrays, lists, tuples, named tuples, dicts and sets of these, and graphs.
    Raises TypeError naming the path of anything else.
    """
    if x is None or type(x) in PLAIN:
        return x
    if isinstance(x, Tensor | np.ndarray):
        whole = torch.from_numpy(x) if isinstance(x, np.ndarray) else x.detach()
        whole = whole.to_local() if hasattr(whole, "to_local") else whole  # of a sharded one, the share of this process
        tensors[path] = whole.cpu().contiguous().clone()
        return {"array" if isinstance(x, np.ndarray) else "tensor": path}
    if isinstance(x, Graph):
        parts = {name: getattr(x, name) for name in ("crow", "col", "edge", "value", "start")}
        return {"graph": flatten(parts, tensors, path)}
    if isinstance(x, set | frozenset):
        return {"set": flatten(sorted(x), tensors, path)}
    if isinstance(x, tuple | list):
        inner = [flatten(y, tensors, f"{path}.{i}") for i, y in enumerate(x)]
        if isinstance(x, list):
            return inner
        if hasattr(x, "_fields"):
            return {"named": f"{type(x).__module__}.{type(x).__qualname__}", "fields": list(x._fields), "values": inner}
        return {"tuple": inner}
    if type(x) in (dict, OrderedDict, defaultdict):
        return {"dict": [[flatten(k, tensors, path), flatten(v, tensors, f"{path}.{k}")] for k, v in x.items()]}
    raise TypeError(f"{path.lstrip('.') or 'the value'} is a {type(x).__name__}")


def unflatten(x: Any, tensors: dict[str, Tensor]) -> Any:
    """What ``flatten`` made ``x`` and ``tensors`` of. Raises ArtifactError where a tensor is missing."""
    if not isinstance(x, dict | list):
        return x
    if isinstance(x, list):
        return [unflatten(y, tensors) for y in x]
    if "named" in x:
        return _named(x["named"], x["fields"], [unflatten(y, tensors) for y in x["values"]])
    ((kind, inner),) = x.items()
    if kind in ("tensor", "array"):
        if inner not in tensors:
            raise ArtifactError(f"tensor {inner!r} is missing: the file is not whole")
        return tensors[inner] if kind == "tensor" else tensors[inner].numpy()
    if kind == "dict":
        return {_key(unflatten(k, tensors)): unflatten(v, tensors) for k, v in inner}
    value = unflatten(inner, tensors)
    if kind == "graph":
        return Graph(**value)
    return {"tuple": tuple, "set": set}[kind](value)


def _key(x: Any) -> Any:
    return tuple(x) if isinstance(x, list) else x


def _named(path: str, fields: list[str], values: list[Any]) -> Any:
    """A named tuple: of its own class where that is one of hybridrec's, else of a class made for the purpose."""
    module, _, name = path.rpartition(".")
    if module.split(".")[0] == "hybridrec":
        cls = getattr(importlib.import_module(module), name, None)
        if isinstance(cls, type) and issubclass(cls, tuple) and getattr(cls, "_fields", None) == tuple(fields):
            return cls(*values)
    return namedtuple(name.rpartition(".")[2], fields)(*values)
