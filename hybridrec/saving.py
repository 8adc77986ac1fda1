"""Saving and loading anything whose constructor's keyword arguments are its configuration.

A saved method is a folder of two files: ``config.json`` (class, arguments, the data's schema) and ``model.safetensors``
(parameters and buffers). It loads without its data set, and nothing in it is ever executed.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from hybridrec.data.dataset import Dataset
from hybridrec.errors import ArtifactError

CONFIG, WEIGHTS = "config.json", "model.safetensors"
LEAST = 1 << 28  # bytes that any configuration may ask for in one tensor, however small its weights

C = TypeVar("C", bound=type)


def configured(cls: C) -> C:
    """Class decorator: remember the constructor's arguments (all but ``data``) as ``self.arguments``, defaults included."""
    construct: Callable[..., None] = cls.__init__  # type: ignore[misc]
    signature = inspect.signature(construct)

    @functools.wraps(construct)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        bound = signature.bind(self, *args, **kwargs)
        bound.apply_defaults()
        given = {name: value for name, value in bound.arguments.items() if name not in ("self", "data")}
        construct(self, *args, **kwargs)
        if type(self).__init__ is init:  # not where a subclass calls it through super()
            self.arguments = given
            if isinstance(data := bound.arguments.get("data"), Dataset):
                self.schema = data.schema

    init.configured = True  # type: ignore[attr-defined]
    cls.__init__ = init  # type: ignore[misc]
    if "data" in signature.parameters and issubclass(cls, nn.Module):
        for function in (save_pretrained, push_to_hub):
            setattr(cls, function.__name__, function)
        cls.from_pretrained = classmethod(from_pretrained)  # type: ignore[attr-defined]
    return cls


def save_pretrained(self: Any, folder: str | Path, *, metrics: Any = None) -> Path:
    """Write the method to ``folder`` with a model card of ``metrics``; it loads without its data. See ``pretrained.save``."""
    from hybridrec.pretrained import save

    return save(self, folder, metrics)


def from_pretrained(cls: Any, name_or_folder: str | Path, **options: Any) -> Any:
    """The method of that folder or Hub id; ``revision``, ``token``, ``cache_dir``, ``local_files_only`` as options."""
    from hybridrec.pretrained import load

    return load(cls, name_or_folder, **options)


def push_to_hub(self: Any, repo_id: str, **options: Any) -> str:
    """Upload the method to the Hub; ``metrics``, ``private``, ``token``, ``revision`` as options. See ``pretrained.push``."""
    from hybridrec.pretrained import push

    return push(self, repo_id, **options)


def describe(x: Any) -> Any:
    """An argument as JSON: plain values as they are, configured objects as their class and arguments."""
    if x is None or isinstance(x, bool | int | float | str):
        return x
    if isinstance(x, list | tuple):
        return [describe(y) for y in x]
    if isinstance(x, dict):
        return {str(k): describe(v) for k, v in x.items()}
    arguments = getattr(x, "arguments", None)
    if isinstance(arguments, dict):
        return {"class": f"{type(x).__module__}.{type(x).__qualname__}", "arguments": describe(arguments)}
    raise TypeError(
        f"{type(x).__name__} cannot be saved as an argument: use plain values or a class decorated with @configured"
    )


def build(description: Any, *args: Any) -> Any:
    """What ``describe`` described. Only classes of hybridrec that are @configured are built; raises ArtifactError."""
    if isinstance(description, list):
        return [build(x) for x in description]
    if not isinstance(description, dict):
        return description
    if set(description) != {"class", "arguments"}:
        return {k: build(v) for k, v in description.items()}
    cls = find_class(description["class"])
    try:
        arguments = build(description["arguments"])
        _check_kinds(cls, arguments)
        return cls(*args, **arguments)
    except TypeError as e:
        raise ArtifactError(f"{description['class']} of this version does not take the saved arguments: {e}") from e


KINDS: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "str": (str,),
    "list": (list, tuple),
    "tuple": (list, tuple),
    "Sequence": (list, tuple),
    "dict": (dict,),
    "None": (type(None),),
}


def _check_kinds(cls: Any, arguments: dict[str, Any]) -> None:
    """Raise TypeError for what fails later, where it is used: an argument of another kind than its annotation names, NaN, an
    integer beyond 64 bits.
    """
    known = inspect.signature(cls).parameters
    for name, value in arguments.items():
        written = str(known[name].annotation) if name in known else ""
        parts = [part.strip() for part in re.sub(r"\[.*\]", "", written).split("|")]
        allowed = tuple(kind for part in parts for kind in KINDS.get(part, ()))
        if any(part in ("", "Any", "object", "Literal") for part in parts):
            continue
        # What is annotated by a class of ours is an object by now, and nothing that JSON itself has.
        made = not isinstance(value, dict | list | str | int | float | None) and any(part not in KINDS for part in parts)
        wrong = not (made or isinstance(value, allowed)) or (isinstance(value, bool) and bool not in allowed)
        vast = isinstance(value, int) and abs(value) >= 2**63  # no tensor's arithmetic takes it
        if wrong or vast or (isinstance(value, float) and math.isnan(value)):
            raise TypeError(f"{name} is {value!r}, wanted {written}")


def find_class(path: str) -> Any:
    """The @configured class of hybridrec at dotted ``path``. Raises ArtifactError for anything else."""
    module, _, name = str(path).rpartition(".")
    if module.split(".")[0] != "hybridrec":
        raise ArtifactError(f"refusing to load class {path!r}: only classes of hybridrec are built from a saved artifact")
    try:
        cls = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as e:
        raise ArtifactError(f"this version of hybridrec has no {path!r}") from e
    # Other libraries wrap constructors too, and their classes are attributes of our modules: ours are marked.
    if not (inspect.isclass(cls) and getattr(cls.__init__, "configured", False) and cls.__module__.startswith("hybridrec.")):
        raise ArtifactError(f"refusing to load {path!r}: it is not a @configured class")
    return cls


def make_folder(path: str | Path) -> Path:
    """That folder, made where it is missing. Raises ArtifactError where it cannot be."""
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as e:
        raise ArtifactError(f"{path}: no folder can be made there: {e}") from e
    return Path(path)


def save_method(method: Any, folder: str | Path, schema: dict[str, Any]) -> None:
    """Write ``config.json`` and ``model.safetensors`` of ``method`` into ``folder`` (made if need be; ArtifactError else)."""
    folder = make_folder(folder)
    save_file(state(method), folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps({**describe(method), "schema": schema}, indent=2))


def load_method(folder: str | Path) -> tuple[Any, Dataset]:
    """The method saved in ``folder`` and the row-less data set it was built on. Raises ArtifactError naming the file."""
    folder = Path(folder)
    config = read_json(folder / CONFIG)
    try:
        data = Dataset.from_schema(config["schema"])
        with Bounded(max(LEAST, 8 * _size(folder / WEIGHTS))):
            method = build({"class": config["class"], "arguments": config["arguments"]}, data)
    except ArtifactError:
        raise
    except Exception as e:  # a damaged schema or argument may fail in any way, deep in a constructor
        raise ArtifactError(f"{folder / CONFIG}: not a saved method ({type(e).__name__}: {e})") from e
    load_state(method, read_weights(folder / WEIGHTS), folder / WEIGHTS)
    return method.eval(), data


class Bounded(TorchDispatchMode):
    """Within it no tensor of more than ``most`` bytes is made: numbers in a file may not ask for all of the memory.

    Raises ArtifactError before anything is written to a tensor that is too large.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run ``func`` unless the size it is given, or what it returns, is beyond the bound."""
        asked = args[0] if args else None
        if isinstance(asked, list | tuple) and all(isinstance(n, int) for n in asked):
            self._check(math.prod(asked))
        elif func.overloadpacket._qualified_op_name == "aten::arange" and isinstance(asked, int | float):
            self._check(int(max(x for x in args if isinstance(x, int | float))))
        made = func(*args, **(kwargs or {}))
        if isinstance(made, Tensor) and made.layout is torch.strided:
            self._check(made.untyped_storage().nbytes())
        return made

    def _check(self, n: int) -> None:
        if n > self.most:
            raise ArtifactError(f"its configuration asks for a tensor of {n:,} elements, far beyond the weights saved with it")


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def state(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and persistent buffers, on the CPU, each with storage of its own."""
    return {name: x.detach().cpu().contiguous().clone() for name, x in module.state_dict().items()}


def load_state(module: nn.Module, tensors: dict[str, Tensor], origin: str | Path = "") -> None:
    """Give ``module`` its saved tensors. Buffers take the saved shape (closed forms and graphs learn theirs from data);
    parameters must match. A part with a method ``verify()`` is asked whether its buffers make sense, and raises ValueError.
    Raises ArtifactError naming what is missing, left over, misshapen or damaged.
    """
    own = module.state_dict()
    if own.keys() != tensors.keys():
        missing, extra = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
        raise ArtifactError(f"{origin}: tensors missing {missing[:5]}, unexpected {extra[:5]}; was it saved by this class?")
    parameters = dict(module.named_parameters())
    for name, x in tensors.items():
        owner = module.get_submodule(name.rpartition(".")[0])
        leaf = name.rpartition(".")[2]
        if name in parameters:
            if parameters[name].shape != x.shape:
                raise ArtifactError(f"{origin}: {name} has shape {tuple(x.shape)}, wanted {tuple(parameters[name].shape)}")
            with torch.no_grad():
                parameters[name].copy_(x)
        else:
            owner._buffers[leaf] = x.to(own[name].device)
    for name, part in module.named_modules():
        if hasattr(part, "verify"):
            try:
                part.verify()
            except ValueError as e:
                raise ArtifactError(f"{origin}: {name or 'the method'} is damaged: {e}") from e


def read_json(path: Path) -> Any:
    """A JSON file. Raises ArtifactError where it is missing or broken."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as e:
        raise ArtifactError(f"{path} is missing: the artifact is incomplete, copy or download it again") from e
    except (OSError, ValueError, RecursionError) as e:
        raise ArtifactError(f"{path} is not JSON ({e}): the artifact is damaged, copy or download it again") from e


def read_weights(path: Path) -> dict[str, Tensor]:
    """A safetensors file. Raises ArtifactError where it is missing or broken."""
    try:
        return load_file(path)
    except FileNotFoundError as e:
        raise ArtifactError(f"{path} is missing: the artifact is incomplete, copy or download it again") from e
    except (SafetensorError, OSError, ValueError) as e:
        raise ArtifactError(f"{path} is not a whole safetensors file ({e}): copy or download it again") from e
