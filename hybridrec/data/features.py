"""What other modalities say of items: ``features_<modality>.npy`` beside the tables of a data set."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from hybridrec.data.dataset import Feature, Ids
from hybridrec.data.links import locate
from hybridrec.data.tables import Columns
from hybridrec.errors import DataError, DataWarning

ROWS = "_item_ids"


def find_features(folder: Path) -> dict[str, Path]:
    """The ``features_<modality>.npy`` of a folder, by modality."""
    found = sorted(folder.glob("features_*.npy"))
    return {p.stem.removeprefix("features_"): p for p in found if not p.stem.endswith(ROWS)}


def read_features(
    modalities: Mapping[str, Path], ids: Mapping[str, Ids], files: Mapping[str, Columns]
) -> dict[str, dict[str, Feature]]:
    """Features of every kind of item by modality, in the order of ``ids``. Raises DataError where rows do not fit."""
    kinds = [kind for kind in ids if kind.split(":")[0] == "item"]
    features: dict[str, dict[str, Feature]] = {kind: {} for kind in kinds}
    for modality, path in modalities.items():
        values = _array(path)
        if values.ndim != 2 or values.dtype.kind not in "fiu":
            raise DataError(f"{path}: {values.dtype} of shape {values.shape}, wanted numbers of shape (items, width)")
        owners, source = _owners(path, files)
        if len(owners) != len(values):
            raise DataError(f"{path}: {len(values)} rows, but {source} has {len(owners)}; they must go row by row")
        finite = np.isfinite(values).all(1)
        if not finite.all():
            raise DataError(f"{path}, row {int(finite.argmin()) + 1}: not finite; correct the row, or leave the item out")
        met = np.zeros(len(owners), bool)
        for kind in kinds:
            at = locate(ids[kind], owners)
            met |= at >= 0
            if (at >= 0).any():
                features[kind][modality] = _aligned(values, at, len(ids[kind]))
        if not met.all():
            example = owners[int(met.argmin())].as_py()
            warnings.warn(
                f"{path}: {(~met).sum()} of {len(met)} rows are of items the data set does not have (as {example!r}); "
                "they are left out",
                DataWarning,
                stacklevel=4,
            )
    return {kind: found for kind, found in features.items() if found}


def _aligned(values: np.ndarray, at: np.ndarray, n: int) -> Feature:
    aligned, known = torch.zeros(n, values.shape[1]), torch.zeros(n, dtype=torch.bool)
    here = torch.from_numpy(at[at >= 0])
    aligned[here] = torch.from_numpy(values[at >= 0].astype(np.float32))
    known[here] = True
    return Feature(aligned, known)


def _array(path: Path) -> np.ndarray:
    try:
        # Mapped: a header that asks for more than the file holds is refused before anything is allocated.
        with np.errstate(over="raise"):
            return np.lib.format.open_memmap(path, mode="r")
    except Exception as e:  # the header is a Python literal, which when damaged fails in as many ways as there are tokens
        raise DataError(
            f"{path}: not a whole array of numbers or strings ({e}); write it with numpy.save(..., allow_pickle=False)"
        ) from e


def _owners(path: Path, files: Mapping[str, Columns]) -> tuple[pa.Array, str]:
    """The item of each row, and the file that says so."""
    beside = path.with_name(path.stem + ROWS + ".npy")
    if beside.is_file():
        owners = _array(beside)
        if owners.ndim != 1 or owners.dtype.kind not in "iuU":
            raise DataError(f"{beside}: {owners.dtype} of shape {owners.shape}, wanted a list of integers or strings")
        values, source = pa.array(owners.astype(np.int64) if owners.dtype.kind in "iu" else owners.tolist()), str(beside)
    elif "items" in files:
        values, source = files["items"].column("item_id").combine_chunks(), files["items"].name
    else:
        raise DataError(f"{path}: nothing says whose rows these are; add items.parquet in the same order, or {beside.name}")
    count = values.value_counts().field("counts").to_numpy()
    if (count > 1).any():
        raise DataError(f"{source}: an item has two rows; keep one")
    return values, source
