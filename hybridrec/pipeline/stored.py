"""What a Recommender is made of, as files of one folder and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.torch import save_file
from torch import Tensor

from hybridrec.data.dataset import Dataset
from hybridrec.errors import ArtifactError
from hybridrec.pipeline.folder import Folder
from hybridrec.saving import describe, find_class, read_weights

METHOD, TEXT, TEMPLATES = "method", "text_encoder", "templates"
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
            "split": None if data.split is None else data.split._asdict(),
            "fingerprint": data.fingerprint,
        },
        "metrics": {name: float(value) for name, value in dict(getattr(metrics, "metrics", metrics) or {}).items()},
    }


def component(x: Any) -> list[str | None]:
    """A component as the index names it: module and class."""
    return [None, None] if x is None else [type(x).__module__, type(x).__qualname__]


def write_table(table: pa.Table, path: Path) -> None:
    """A parquet file."""
    pq.write_table(table, path, compression="zstd")


def read_table(path: Path) -> pa.Table:
    """A parquet file. Raises ArtifactError where it is none."""
    try:
        return pq.read_table(path, partitioning=None)
    except (pa.ArrowException, OSError) as e:
        raise ArtifactError(f"{path} is not a whole parquet file ({str(e).splitlines()[0]}): download it again") from e


def write_vectors(path: Path, vectors: Mapping[str, Tensor]) -> None:
    """Item vectors by name, in the order of the items' table."""
    save_file({name: x.cpu().contiguous() for name, x in vectors.items()}, path)


def read_vectors(folder: Folder) -> Tensor | None:
    """The items' text vectors, where the artifact has any."""
    return read_weights(folder.file(VECTORS)).get("text") if VECTORS in folder else None


def write_templates(folder: Path, templates: Mapping[str, str]) -> None:
    """One file a template."""
    folder.mkdir()
    for name, text in templates.items():
        (folder / f"{name}.jinja").write_text(text, encoding="utf-8")


def read_templates(folder: Folder) -> dict[str, str]:
    """All templates by name."""
    files = [folder.file(name) for name in folder.index["files"] if name.startswith(f"{TEMPLATES}/")]
    try:
        return {path.stem: path.read_text(encoding="utf-8") for path in files}
    except UnicodeDecodeError as e:
        raise ArtifactError(f"{folder.path / TEMPLATES} holds what is not UTF-8 text: {e}") from e


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
            self.folder.check(TEXT)  # it may have changed since the artifact was opened
            self._loaded = find_class(self.kind).load(self.path)
        return self._loaded

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Vectors (n, D) of ``texts``."""
        return self.loaded.encode(texts)

    def save(self, folder: str | Path) -> None:
        """Write it again, elsewhere."""
        self.loaded.save(folder)
