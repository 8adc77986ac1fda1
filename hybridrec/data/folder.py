"""Loading a data set by name, folder or Hub id. A folder holds one file a relation and one file a kind of entity.

``interactions`` (``user_id``, ``item_id`` and, where known, ``rating``, ``timestamp``, ``behavior``, ``domain``, ``split``),
``items`` and ``users``, ``social`` (``user_id``, ``friend_id``), ``triples`` (``head``, ``relation``, ``tail``), ``bundles``
(``bundle_id``, ``item_id``) with ``user_bundles``, ``groups`` (``group_id``, ``user_id``) with ``group_interactions``, and
``features_<modality>.npy`` in the row order of ``items``, or of ``features_<modality>_item_ids.npy`` beside it.
"""

from __future__ import annotations

from pathlib import Path

from hybridrec.data.assemble import Rule, assemble
from hybridrec.data.dataset import Dataset
from hybridrec.data.features import find_features
from hybridrec.data.links import FILES, TABLES
from hybridrec.data.tables import Columns, find, open_columns
from hybridrec.errors import DataError


def load(
    name_or_path: str | Path, *, goal: str | None = None, split: Rule | None = None, cache: str | Path | None = None
) -> Dataset:
    """The data set of that name, in that folder, or with that Hub id.

    ``goal`` names the relation to predict. ``split`` is a rule of ``hybridrec.data.split``; without one the ``split`` column
    counts, and where there is none, ``RandomSplit()``. ``cache`` is where named data sets are kept (``~/.cache/hybridrec``).
    Raises DataError naming file, column, row and remedy.
    """
    path = Path(name_or_path)
    if not path.is_dir():
        raise DataError(f"no data set {str(name_or_path)!r}: wanted a name, a folder or a Hub id")
    return assemble(folder_files(path), path.resolve().name, goal, split, find_features(path))


def folder_files(path: Path) -> dict[str, Columns]:
    """The files of a folder in our format, by what they hold."""
    stems = [*(stem for stem, *_ in FILES), *(stem for stem, _ in TABLES.values()), "triples"]
    found = {stem: find(path, stem) for stem in stems}
    return {stem: open_columns(file) for stem, file in found.items() if file is not None}
