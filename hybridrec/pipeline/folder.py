"""The folder of a saved Recommender: written whole or not at all, and checked file by file before it is read.

``model_index.json`` lists every file with its size and sha256, and ends with a sha256 of itself. The model card alone is
not listed: people edit it on the Hub, and nothing is read from it.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import hybridrec
from hybridrec.errors import ArtifactError
from hybridrec.saving import read_json

FORMAT = 1
INDEX, CARD = "model_index.json", "README.md"
KIND = "Recommender"

_PART = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")  # a path part that cannot climb, hide or name a drive


class Folder:
    """A saved Recommender on disk, every listed file of which is present and as it was written.

    Raises ArtifactError naming the file that is missing, altered, of a newer format or outside the folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.index = _read_index(self.path / INDEX)
        self.check()

    def check(self, within: str = "", whole: bool = False) -> None:
        """Compare every listed file (of the sub-folder ``within``) with its size and sha256; ``whole``: there are no others."""
        root = self.path.resolve()
        # The Hub's cache keeps files as links from snapshots/<commit> to blobs beside it; no other way leads out.
        roots = (root, root.parent.parent / "blobs") if root.parent.name == "snapshots" else (root,)
        there = (path.relative_to(self.path).as_posix() for path in (self.path / within).rglob("*") if not path.is_dir())
        if whole and (extra := sorted(set(there) - self.index["files"].keys())):
            raise ArtifactError(f"{self.path / extra[0]} is not listed in {INDEX}: remove it, or download the artifact again")
        for name, entry in self.index["files"].items():
            if not name.startswith(within):
                continue
            if not any((self.path / name).resolve().is_relative_to(r) for r in roots):
                raise ArtifactError(f"{self.path / name} is a link out of the artifact: only files inside its folder are read")
            try:
                size = (self.path / name).stat().st_size
                digest = _sha256(self.path / name) if size == entry["size"] else ""
            except FileNotFoundError as e:
                raise ArtifactError(f"{self.path / name} is missing: copy or download the artifact again") from e
            except OSError as e:
                raise ArtifactError(f"{self.path / name} cannot be read: {e}") from e
            if digest != entry["sha256"]:
                raise ArtifactError(
                    f"{self.path / name} is not as it was saved (size or sha256 differs from {INDEX}): "
                    "it is damaged or was edited; copy or download the artifact again"
                )

    def __contains__(self, name: str) -> bool:
        return name in self.index["files"]

    def file(self, name: str) -> Path:
        """The path of a listed file. Raises ArtifactError where the artifact has none of that name."""
        if name not in self:
            raise ArtifactError(f"{self.path / INDEX} lists no {name}: not a whole artifact")
        return self.path / name


def write(target: str | Path, fill: Callable[[Path], Mapping[str, Any]], card: Callable[[Mapping[str, Any]], str]) -> Path:
    """Write an artifact to ``target``: ``fill(folder)`` puts its files there and returns entries for the index.

    All is written beside the target and then renamed, so that the target is at any time the old artifact or the new one.
    Raises ArtifactError where the target holds anything but an artifact.
    """
    target = Path(target).resolve()
    _refuse_foreign(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    mark = uuid.uuid4().hex[:8]
    fresh, old = (target.with_name(f".{target.name}.{mark}.{state}") for state in ("new", "old"))
    fresh.mkdir()
    try:
        index = {
            "_class_name": KIND,
            "_hybridrec_version": hybridrec.__version__,
            "format": FORMAT,
            **fill(fresh),
        }
        files = sorted(path for path in fresh.rglob("*") if path.is_file())
        index["files"] = {
            path.relative_to(fresh).as_posix(): {"size": path.stat().st_size, "sha256": _sha256(path)} for path in files
        }
        index["sha256"] = _seal(index)
        (fresh / INDEX).write_text(json.dumps(index, indent=2), encoding="utf-8")
        (fresh / CARD).write_text(card(index), encoding="utf-8")
        mode = (fresh / CARD).stat().st_mode
        for path in files:  # safetensors makes its files readable by their owner alone
            path.chmod(mode)
        if target.exists():
            target.rename(old)
        try:
            fresh.rename(target)
        except OSError:
            if old.exists():
                old.rename(target)
            raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    if old.exists():
        shutil.rmtree(old)
    return target


def _read_index(path: Path) -> dict[str, Any]:
    """``model_index.json``, complete and of a format that this version knows."""
    index = read_json(path)
    if not isinstance(index, dict) or index.get("_class_name") != KIND:
        raise ArtifactError(f"{path}: not the index of a saved hybridrec {KIND}")
    version = index.get("format")
    if not isinstance(version, int) or version < 1:
        raise ArtifactError(f"{path}: format {version!r} is no format of hybridrec; the artifact is damaged")
    if version > FORMAT:
        raise ArtifactError(
            f"{path} has format {version}, written by hybridrec {index.get('_hybridrec_version')}; this is hybridrec "
            f"{hybridrec.__version__}, which reads up to format {FORMAT}: pip install --upgrade hybridrec"
        )
    if index.get("sha256") != _seal(index):
        raise ArtifactError(f"{path} is not as it was saved (its sha256 differs): copy or download the artifact again")
    files = index.get("files")
    if not isinstance(files, dict) or not all(isinstance(x, dict) and {"size", "sha256"} <= x.keys() for x in files.values()):
        raise ArtifactError(f"{path} lists no files with size and sha256: not a whole artifact")
    for name in files:
        if not all(_PART.fullmatch(part) for part in name.split("/")):
            raise ArtifactError(f"{path} names the file {name!r}: only files inside the artifact's folder are read")
    return index


def _refuse_foreign(target: Path) -> None:
    """Raise ArtifactError if replacing ``target`` would delete anything that is not part of a saved Recommender."""
    if not target.exists():
        return
    if not target.is_dir():
        raise ArtifactError(f"{target} is a file; an artifact is saved as a folder: choose another name")
    present = {path.relative_to(target).as_posix() for path in target.rglob("*") if not path.is_dir()}
    if not present:
        return
    try:
        ours = {INDEX, CARD, *_read_index(target / INDEX)["files"]}
    except ArtifactError as e:
        raise ArtifactError(f"{target} is not empty and not a saved {KIND}, so it is not overwritten: {e}") from e
    if foreign := sorted(present - ours):
        shown = ", ".join(foreign[:5]) + (", ..." if len(foreign) > 5 else "")
        raise ArtifactError(f"{target} also holds {shown}, which saving here would delete; choose a new folder or move them")


def _seal(index: Mapping[str, Any]) -> str:
    """The sha256 of an index without its own ``sha256`` entry."""
    rest = {name: value for name, value in index.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
