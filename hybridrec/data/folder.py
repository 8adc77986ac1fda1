"""Loading a data set by name, folder or Hub id. A folder holds one file a relation and one file a kind of entity.

``interactions`` (``user_id``, ``item_id`` and, where known, ``rating``, ``timestamp``, ``behavior``, ``domain``, ``split``),
``items`` and ``users``, ``social`` (``user_id``, ``friend_id``), ``triples`` (``head``, ``relation``, ``tail``), ``bundles``
(``bundle_id``, ``item_id``) with ``user_bundles``, ``groups`` (``group_id``, ``user_id``) with ``group_interactions``, and
``features_<modality>.npy`` in the row order of ``items``, or of ``features_<modality>_item_ids.npy`` beside it. Each file is
parquet, Arrow IPC (mapped, not copied: for what is large), CSV, TSV or JSON lines.
"""

from __future__ import annotations

import logging
import re
from difflib import get_close_matches
from pathlib import Path

from hybridrec.data.assemble import Rule, assemble
from hybridrec.data.atomic import atomic_files, is_atomic
from hybridrec.data.dataset import Dataset
from hybridrec.data.features import find_features
from hybridrec.data.links import STEMS
from hybridrec.data.sources import SOURCES, fetch
from hybridrec.data.tables import EXTENSIONS, Columns, find, open_columns
from hybridrec.errors import DataError

logger = logging.getLogger(__name__)


def load(
    name_or_path: str | Path, *, goal: str | None = None, split: Rule | None = None, cache: str | Path | None = None
) -> Dataset:
    """The data set of that name, in that folder, or with that Hub id.

    ``goal`` names the relation to predict. ``split`` is a rule of ``hybridrec.data.split``; without one the ``split`` column
    counts, and where there is none, ``RandomSplit()``. ``cache`` is where named data sets are kept (``~/.cache/hybridrec``).
    A folder holds CSV, TSV, JSON lines or RecBole's atomic files as well. Raises DataError naming file, column, row, remedy.
    """
    name, path = str(name_or_path), Path(name_or_path).expanduser()
    if name not in SOURCES and not path.is_dir() and re.fullmatch(r"[\w.-]+/[\w.-]+", name) and not path.parent.is_dir():
        from hybridrec.data.hub import hub_features, hub_files

        return assemble(hub_files(name), name, goal, split, hub_features(name))
    path = locate(name_or_path, cache)
    return assemble(read_folder(path), path.resolve().name, goal, split, find_features(path))


def locate(name_or_path: str | Path, cache: str | Path | None = None) -> Path:
    """The folder of that name, fetched into ``cache`` if it is a named data set. Raises DataError where there is none."""
    path = Path(name_or_path).expanduser()
    if str(name_or_path) in SOURCES:
        if path.is_dir():
            logger.warning("%s: the named data set, not the folder of that name here; write ./%s for that", path, path)
        return fetch(str(name_or_path), cache)
    if path.is_dir():
        return path
    raise _unknown(str(name_or_path), path)


def read_folder(path: Path) -> dict[str, Columns]:
    """The files of a folder by what they hold, in our format or RecBole's. Raises DataError where there is none."""
    found = {stem: file for stem in STEMS if (file := find(path, stem)) is not None}
    if found:
        others = [p.name for p in sorted(path.iterdir()) if p.suffix in EXTENSIONS and p not in found.values()]
        if others:
            logger.info("%s: not read, being no file of the format: %s", path, ", ".join(others))
        return {stem: open_columns(file) for stem, file in found.items()}
    if is_atomic(path):
        return atomic_files(path)
    held = ", ".join(sorted(p.name for p in path.iterdir())[:8]) or "nothing"
    raise DataError(f"{path}: no interactions{'/'.join(EXTENSIONS)} or .inter file in the folder (it holds {held})")


def _unknown(name: str, path: Path) -> DataError:
    if path.is_file():
        return DataError(f"{name}: is a file; give the folder it lies in, the file named interactions{path.suffix or '.csv'}")
    beside = [str(path.parent / p.name) for p in path.parent.iterdir() if p.is_dir()] if path.parent.is_dir() else []
    near = get_close_matches(name, [*SOURCES, *beside], 3, 0.5)
    meant = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
    return DataError(f"no data set {name!r}; {meant}Wanted a name ({', '.join(SOURCES)}), a folder, or a Hub id (owner/name)")
