"""A folder of checkpoints: written aside, synced and renamed, told whole from torn by checksums, the old ones removed."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from hybridrec.errors import ArgumentError, ArtifactError
from hybridrec.saving import read_json, read_weights
from hybridrec.training.record import CheckpointError, CheckpointWarning
from hybridrec.training.tree import flatten, unflatten

MANIFEST, ASIDE, NAME = "checksums.json", ".writing", "step-"
NAMED = re.compile(NAME + r"\d{12}\+*")


@dataclass(frozen=True)
class Checkpoints:
    """Where ``fit`` keeps what it needs to go on after an interruption, how often, and how many of them.

    A folder serves one run. With ``resume`` the run goes on from the newest whole checkpoint in it, if there is one; without,
    a folder that holds any is an error. Under several processes all of them must see the folder.

    ``seconds`` and ``steps``: one is written when either has passed since the last. ``keep_last``: the newest that are kept;
    ``keep_best``: besides them, those written after the best validations.
    """

    folder: str | Path
    seconds: float | None = 60.0
    steps: int | None = None
    keep_last: int = 2
    keep_best: int = 0
    resume: bool = True

    def __post_init__(self) -> None:
        if self.keep_last < 1 or self.keep_best < 0:
            raise ArgumentError(f"wanted keep_last >= 1 and keep_best >= 0, not {self.keep_last} and {self.keep_best}")

    @property
    def path(self) -> Path:
        """The folder."""
        return Path(self.folder)

    def found(self) -> list[Path]:
        """The checkpoints in the folder, newest first, whole or not."""
        return sorted((p for p in self.path.glob(f"{NAME}*") if NAMED.fullmatch(p.name) and p.is_dir()), reverse=True)

    def newest(self) -> Path | None:
        """The newest whole checkpoint, None where there is none. A torn one is passed over with a CheckpointWarning."""
        for path in self.found():
            wrong = damage(path)
            if wrong is None:
                return path
            warnings.warn(f"{path} is not whole ({wrong}); the one before it is used", CheckpointWarning, stacklevel=2)
        return None

    def begin(self) -> Path:
        """An empty folder to write the next checkpoint in, beside the others. Whatever an interrupted write left is removed."""
        aside = self.path / ASIDE
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        return aside

    def commit(self, step: int, digests: dict[str, str], valid: float | None) -> Path:
        """Make what was written aside the checkpoint of ``step``, in one move, and remove those no longer to be kept."""
        aside, path = self.path / ASIDE, self.path / f"{NAME}{step:012d}"
        while path.exists():  # the same step again, after a torn one was passed over: the new one sorts behind it
            path = path.with_name(f"{path.name}+")
        _write_json(aside / MANIFEST, {"files": digests, "valid": valid})
        _sync(aside)
        aside.rename(path)
        _sync(self.path)
        for old in self._superfluous(path):
            shutil.rmtree(old)
        return path

    def _superfluous(self, new: Path) -> Iterator[Path]:
        """What need not be kept now that ``new`` is written. One of its step or a later one was not whole and passed over."""
        found, step = self.found(), new.name.rstrip("+")
        before = [p for p in found if p == new or p.name.rstrip("+") < step]
        judged = sorted(((valid, p) for p in before if (valid := _valid(p)) is not None), reverse=True)
        kept = {*before[: self.keep_last], *(p for _, p in judged[: self.keep_best])}
        return (p for p in found if p not in kept)

    def among_best(self, valid: float) -> bool:
        """Whether a checkpoint after a validation of ``valid`` would be kept among the best."""
        known = sorted((v for p in self.found() if (v := _valid(p)) is not None), reverse=True)
        return self.keep_best > 0 and (len(known) < self.keep_best or valid > known[self.keep_best - 1])


def write_part(folder: Path, name: str, tree: Any) -> dict[str, str]:
    """Write ``tree`` as ``name.json`` and ``name.safetensors``, synced to disk; returns the checksum of each file.

    Raises CheckpointError where something in the tree cannot be written, or the disk does not take it.
    """
    tensors: dict[str, torch.Tensor] = {}
    try:
        described = flatten(tree, tensors)
    except TypeError as e:
        raise CheckpointError(
            f"a checkpoint cannot hold this run: {e}; keep numbers, strings, tensors, graphs, or lists, tuples and dicts of "
            "these, or register it as a buffer"
        ) from e
    files = [folder / f"{name}.json", folder / f"{name}.safetensors"]
    try:
        _write_json(files[0], described)
        save_file(tensors, files[1])
        for file in files:
            _sync(file)
        return {file.name: _digest(file) for file in files}
    except (OSError, SafetensorError) as e:
        raise CheckpointError(
            f"{folder}: the disk does not take a checkpoint ({e}); free some space or name another folder"
        ) from e


def read_part(folder: Path, name: str) -> Any:
    """What ``write_part`` wrote. Raises ArtifactError naming the file that is missing or broken."""
    described, tensors = read_json(folder / f"{name}.json"), read_weights(folder / f"{name}.safetensors")
    try:
        return unflatten(described, tensors)
    except ArtifactError:
        raise
    except Exception as e:  # a tree of another shape may fail in any way
        raise ArtifactError(f"{folder / name}.json is not what a checkpoint is made of ({type(e).__name__}: {e!s:.200})") from e


def damage(path: Path) -> str | None:
    """What is wrong with the checkpoint at ``path``; None where every file is as it was written."""
    try:
        files = read_json(_plain(path / MANIFEST))["files"]
        if unlisted := {p.name for p in path.iterdir()} - {MANIFEST, *files}:
            return f"{MANIFEST} does not name {sorted(unlisted)[0]}"
        for name, digest in files.items():
            if Path(name).name != name:
                return f"{MANIFEST} names {name!r}"
            if _digest(_plain(path / name)) != digest:
                return f"{name} does not have the checksum it was written with"
    except (ArtifactError, OSError, KeyError, TypeError, AttributeError, ValueError) as e:
        return f"{e!s:.200}"
    return None


def _plain(path: Path) -> Path:
    """``path``, unless it is something that may never end, a pipe or a device. Raises OSError."""
    if path.exists() and not path.is_file():
        raise OSError(f"{path.name} is not a file")
    return path


def _valid(path: Path) -> float | None:
    try:
        valid = read_json(_plain(path / MANIFEST))["valid"]
    except (ArtifactError, OSError, KeyError, TypeError):
        return None  # torn: kept as long as it is among the newest, never among the best
    return float(valid) if type(valid) in (int, float) and math.isfinite(valid) else None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_json(path: Path, value: Any) -> None:
    with path.open("w", encoding="utf-8") as file:
        json.dump(value, file)
        file.flush()
        os.fsync(file.fileno())


def _sync(path: Path) -> None:
    """Push a file, or the names in a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
