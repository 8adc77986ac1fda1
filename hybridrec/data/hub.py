"""Data sets of the Hugging Face Hub as columns, through ``datasets``.

A repository with our files has one configuration a file (``interactions``, ``items``, ...), as the card says that
``save_folder`` writes. One with a single configuration holds interactions, its splits being train, validation and test.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from hybridrec.data.links import STEMS
from hybridrec.data.tables import Columns, held
from hybridrec.errors import DataError

if TYPE_CHECKING:
    from datasets import DatasetDict

FORMATS = ("parquet", "csv", "json", "arrow", "text")
SPLITS = {"train": "train", "validation": "valid", "valid": "valid", "dev": "valid", "test": "test"}


def hub_files(name: str) -> dict[str, Columns]:
    """The tables of Hub data set ``name``, by what they hold. Raises DataError where it cannot be reached or read."""
    import datasets

    configurations = _reach(name, datasets.get_dataset_config_names, name)
    known = [c for c in configurations if c in STEMS]
    if not known and len(configurations) == 1:
        return {"interactions": held(name, _joined(_divided(name, configurations[0]), name))}
    if not known:
        raise DataError(
            f"{name}: its configurations are {', '.join(configurations)}; wanted 'interactions', 'items', ... "
            "(hybridrec.data.writing.save_folder writes a folder that can be uploaded as it is), or only one"
        )
    return {c: held(f"{name}/{c}", _joined(_divided(name, c), name)) for c in known}


def _divided(name: str, configuration: str) -> DatasetDict:
    """One configuration by splits. Raises DataError where its card names files outside the repository, or of other formats.

    A card may name any path, and a format that is unpickled.
    """
    import datasets

    builder = _reach(name, datasets.load_dataset_builder, name, configuration)
    if builder.name not in FORMATS:
        raise DataError(f"{name}/{configuration}: its files are read by {builder.name!r}; wanted {', '.join(FORMATS)}")
    root = f"{Path(name).resolve()}/" if Path(name).is_dir() else f"hf://datasets/{name}@"
    for files in (builder.config.data_files or {}).values():
        for file in map(str, files):
            if not file.startswith(root) or ".." in PurePosixPath(file).parts:
                raise DataError(
                    f"{name}/{configuration}: its card names the file {file!r}, which lies outside the repository; "
                    "only files of its own are read"
                )
    return _reach(name, datasets.load_dataset, name, configuration)


def hub_features(name: str) -> dict[str, Path]:
    """``features_<modality>.npy`` of Hub data set ``name``, downloaded, by modality."""
    from huggingface_hub import hf_hub_download, list_repo_files

    from hybridrec.data.features import find_features

    wanted = [
        f for f in _reach(name, list_repo_files, name, repo_type="dataset") if f.startswith("features_") and f.endswith(".npy")
    ]
    fetched = [Path(_reach(name, hf_hub_download, name, f, repo_type="dataset")) for f in wanted]
    return find_features(fetched[0].parent) if fetched else {}


def _reach(name: str, call: Any, *args: Any, **kwargs: Any) -> Any:
    from datasets.exceptions import DatasetsError
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return call(*args, **kwargs)
    except (OSError, ValueError, DatasetsError, HfHubHTTPError) as e:
        reason = str(e).strip().splitlines()[0] if str(e).strip() else type(e).__name__
        raise DataError(
            f"{name!r}: no such folder here, and the Hugging Face Hub gave no data set of that id ({reason}); check the id and "
            "the network (a private one needs `hf auth login`), or download the repository and load its folder"
        ) from e


def _joined(divided: DatasetDict, name: str) -> pa.Table:
    """All splits in one table; with more than one, or a test part, they become the ``split`` column."""
    tables = {part: d.with_format("arrow")[:] for part, d in divided.items()}
    if len(tables) > 1 and all("split" not in t.column_names for t in tables.values()):
        if unknown := [p for p in tables if p not in SPLITS]:
            raise DataError(f"{name}: split {unknown[0]!r} is none of {', '.join(SPLITS)}; rename it in the repository")
        tables = {p: t.append_column("split", pa.array([SPLITS[str(p)]] * len(t), pa.string())) for p, t in tables.items()}
    return pa.concat_tables(tables.values(), promote_options="default")
