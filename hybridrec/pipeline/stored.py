"""What a Recommender is made of, as files of one folder and back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import save_file
from torch import Tensor

from hybridrec.data.batches import Histories
from hybridrec.data.dataset import Dataset, Ids
from hybridrec.data.tables import plausible
from hybridrec.errors import ArtifactError
from hybridrec.pipeline import components
from hybridrec.pipeline.folder import CARD, INDEX, Folder
from hybridrec.pipeline.items import Items
from hybridrec.pipeline.text import TextSide, TextVectors
from hybridrec.pipeline.users import from_table
from hybridrec.saving import CONFIG, WEIGHTS, describe, find_class, load_method, read_weights

METHOD, TEXT, TEMPLATES = "method", "text_encoder", "templates"
PATTERNS = [INDEX, CARD, "*.parquet", "*.safetensors", *(f"{x}/*" for x in (METHOD, TEXT, TEMPLATES, *components.NAMES))]
ABOUT = {
    "source": str,
    "arguments": dict,
    "training": (dict, type(None)),
    "data": {
        "name": str,
        "counts": {str: int},
        "train": int,
        "split": (type(None), {"name": str, "arguments": dict}),
        "fingerprint": str,
    },
    "metrics": {str: (int, float)},
    "passport": (
        type(None),
        {"part": str, "protocol": {"name": str, "mask": list}, "judged": {"candidates": int, "users": int}},
    ),
    "text": bool,
    "users": bool,
}
ITEMS, USERS, VECTORS = "items.parquet", "users.parquet", "item_vectors.safetensors"


def about(data: Dataset, method: Any, metrics: Any) -> dict[str, Any]:
    """The facts of a model card: the method's arguments, its training, the data and what was measured."""
    fitted = getattr(method, "fitted", None)
    return {
        "arguments": describe(method)["arguments"],
        "training": None if fitted is None else fitted.as_dict(),
        "source": data.source,
        "data": {
            "name": data.name,
            "counts": data.counts,
            "train": len(data.train),
            "split": None if data.split is None else {"name": data.split.name, "arguments": describe(data.split.arguments)},
            "fingerprint": data.fingerprint,
        },
        "metrics": {name: float(value) for name, value in dict(getattr(metrics, "metrics", metrics) or {}).items()},
        "passport": getattr(metrics, "passport", None) or None,
    }


def misshapen(x: Any, shape: Any, at: str = "") -> str | None:
    """Where ``x`` differs from ``shape``, a nest of types; None where it does not.

    A mapping names the entries that must be there, ``{str: T}`` any number of them, a tuple alternatives.
    """
    if isinstance(shape, tuple):
        return None if any(misshapen(x, s, at) is None for s in shape) else at
    if isinstance(shape, dict):
        if not isinstance(x, dict) or not all(key is str or key in x for key in shape):
            return at or "."
        inner = ((key, shape[str]) for key in x) if str in shape else shape.items()
        return next((wrong for key, s in inner if (wrong := misshapen(x[key], s, f"{at}.{key}")) is not None), None)
    fits = isinstance(x, shape) and not (shape in (int, float) and isinstance(x, bool))
    return None if fits and not (isinstance(x, float) and not math.isfinite(x)) else at or "."


def component(x: Any) -> list[str | None]:
    """A component as the index names it: module and class."""
    return [None, None] if x is None else [type(x).__module__, type(x).__qualname__]


def write_table(table: pa.Table, path: Path) -> None:
    """A parquet file."""
    pq.write_table(table, path, compression="zstd")


def read_table(path: Path) -> pa.Table:
    """A parquet file. Raises ArtifactError where it is none."""
    try:
        with pq.ParquetFile(path) as file:
            plausible(file.metadata, path.stat().st_size)
            table = file.read()
            table.validate(full=True)  # text that is no UTF-8
            return table
    except (pa.ArrowException, OSError, ValueError) as e:
        raise ArtifactError(f"{path} is not a whole parquet file ({str(e).splitlines()[0]}): download it again") from e


def write_vectors(path: Path, vectors: Mapping[str, Tensor]) -> None:
    """Item vectors by name, in the order of the items' table."""
    save_file({name: x.cpu().contiguous() for name, x in vectors.items()}, path)


def write_templates(folder: Path, templates: Mapping[str, str]) -> None:
    """One file a template."""
    folder.mkdir()
    for name, text in templates.items():
        (folder / f"{name}.j2").write_text(text, encoding="utf-8")


def read_templates(folder: Folder) -> dict[str, str]:
    """All templates by name."""
    files = [folder.file(name) for name in folder.index["files"] if name.startswith(f"{TEMPLATES}/")]
    try:
        return {path.stem: path.read_text(encoding="utf-8") for path in files}
    except UnicodeDecodeError as e:
        raise ArtifactError(f"{folder.path / TEMPLATES} holds what is not UTF-8 text: {e}") from e


class Parts(NamedTuple):
    """All that a Recommender is made of, as it was saved."""

    method: Any
    schema: dict[str, Any]
    about: dict[str, Any]
    items: Items
    users: tuple[Ids, Histories] | None
    text: TextSide | None
    templates: dict[str, str]
    trained: Tensor
    vectors: TextVectors | None


def read(folder: Folder) -> Parts:
    """The parts in ``folder``. Raises ArtifactError where one is missing, is not what it should be, or fits no other."""
    index, found = folder.index, [folder.file(f"{METHOD}/{name}").parent for name in (CONFIG, WEIGHTS)]
    method, data = load_method(found[0])
    count = data.counts
    for wanted in ("about", "trained", METHOD, TEXT):
        if wanted not in index:
            raise ArtifactError(f"{folder.path / INDEX} has no entry {wanted!r}: not a whole artifact")
    about, text = index["about"], index[TEXT]
    if (wrong := misshapen(about, ABOUT)) is not None or about["source"] != data.source:
        raise ArtifactError(f"{folder.path / INDEX}: about{wrong or '.source'} is not what was saved: not a whole artifact")
    if index[METHOD] != component(method):
        raise ArtifactError(f"{folder.path / INDEX} names another method, {index[METHOD]}, than lies in {METHOD}/")
    components.check(method, folder)
    items = Items.of(data.target, read_table(folder.file(ITEMS)), folder.file(ITEMS))
    if index["trained"] != count[data.target] or len(items) < count[data.target]:
        raise ArtifactError(
            f"{folder.path}: the method was trained on {count[data.target]} {data.target}s; "
            f"{ITEMS} has {len(items)} items, of which {INDEX} says {index['trained']} are old"
        )
    users = None
    if USERS in folder:
        users = from_table(data.source, read_table(folder.file(USERS)), count[data.target], folder.file(USERS))
        if len(users[0]) != count[data.source]:
            raise ArtifactError(f"{folder.file(USERS)} has {len(users[0])} users, the method {count[data.source]}")
    if not (isinstance(text, list) and len(text) == 2):
        raise ArtifactError(f"{folder.path / INDEX}: {TEXT} is {text!r}, wanted module and class: not a whole artifact")
    vectors, trained = None, torch.ones(count[data.target], dtype=torch.bool)
    if text[0]:
        tensors = read_weights(folder.file(VECTORS))
        trained = tensors.get("trained", trained)
        both = [tensors[name] for name in TextVectors._fields if name in tensors and tensors[name].dim() == 2]
        if len(both) < 2 or trained.shape != (count[data.target],) or trained.dtype != torch.bool:
            raise ArtifactError(f"{folder.file(VECTORS)} has no text vectors of all items, or no word on which were trained")
        vectors = TextVectors(*both)
    side = StoredText(folder) if text[0] else None
    return Parts(method, data.schema, about, items, users, side, read_templates(folder), trained, vectors)


class StoredText:
    """The text side of a saved artifact, loaded when first needed: histories are answered without it."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.path = folder.path / TEXT
        self.kind = ".".join(map(str, folder.index[TEXT]))
        find_class(self.kind)
        self._loaded: Any = None

    @property
    def loaded(self) -> Any:
        """The text side itself."""
        if self._loaded is None:
            self.folder.check(TEXT, whole=True)  # it may have changed since the artifact was opened
            self._loaded = find_class(self.kind).load(self.path)
        return self._loaded

    def embed(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Both vectors of each text: (n, S) and (n, D)."""
        return self.loaded.embed(texts)

    def save(self, folder: str | Path) -> None:
        """Write it again, elsewhere."""
        self.loaded.save(folder)
