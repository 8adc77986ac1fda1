"""Named public data sets: where each comes from, what it must hash to, and how it becomes a folder.

Nothing is redistributed: a data set is fetched from where its authors or a public package put it, once, into a cache.
"""

from __future__ import annotations

import csv
import hashlib
import io
import logging
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import pyarrow as pa

from hybridrec.data.writing import save_folder
from hybridrec.errors import DataError

logger = logging.getLogger(__name__)

LARGEST = 1 << 30  # bytes of an archive
CACHE = Path("~/.cache/hybridrec")
GENRES = (
    *("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy"),
    *("Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western"),
)

Tables = Mapping[str, pa.Table]


@dataclass(frozen=True)
class Origin:
    """One place a data set can be had from: ``fetch`` brings an archive, ``read`` makes tables of it."""

    where: str
    sha256: str
    fetch: Callable[[Path], Path]
    read: Callable[[zipfile.ZipFile], Tables]

    def tables(self) -> Tables:
        """The data set from here. Raises DataError, OSError or CalledProcessError where this place does not answer."""
        with tempfile.TemporaryDirectory(prefix="hybridrec-") as folder:
            path = self.fetch(Path(folder))
            found = hashlib.sha256(path.read_bytes()).hexdigest()
            if found != self.sha256:
                raise DataError(f"{self.where}: sha256 is {found}, wanted {self.sha256}")
            with zipfile.ZipFile(path) as archive:  # members are read by name, never unpacked
                return self.read(archive)


@dataclass(frozen=True)
class Source:
    """A named data set: what it is, and the places to try in turn."""

    title: str
    about: str
    origins: tuple[Origin, ...]


def fetch(name: str, cache: str | Path | None = None) -> Path:
    """The folder of the named data set in ``cache``, fetched from the first origin that answers if it is not there yet.

    Raises DataError naming every origin and why it did not answer.
    """
    folder = (Path(cache) if cache is not None else CACHE).expanduser() / name
    if folder.is_dir():
        return folder
    source, failures = SOURCES[name], []
    for origin in source.origins:
        try:
            tables = origin.tables()
        except (DataError, OSError, KeyError, zipfile.BadZipFile, subprocess.SubprocessError) as e:
            failures.append(f"{origin.where} ({type(e).__name__}: {e})")
            logger.info("%s: no answer from %s", name, failures[-1])
            continue
        try:
            save_folder(
                tables, folder, title=source.title, about=f"{source.about}\n\nFetched from {origin.where}.", licence="other"
            )
        except (DataError, OSError):
            if not folder.is_dir():  # unless another process was quicker
                raise
        logger.warning("%s: fetched from %s into %s", name, origin.where, folder)
        return folder
    raise DataError(
        f"{name}: no origin answered: {'; '.join(failures)}. Check the network, or put a folder of this data set at {folder}"
    )


def download(url: str) -> Callable[[Path], Path]:
    """A fetch by HTTP."""

    def get(folder: Path) -> Path:
        target = folder / "archive.zip"
        with urlopen(url, timeout=20) as response, target.open("wb") as file:
            while block := response.read(1 << 20):
                file.write(block)
                if file.tell() > LARGEST:
                    raise DataError(f"{url}: more than {LARGEST:,} bytes; this is not the archive that is meant")
        return target

    return get


def wheel(requirement: str) -> Callable[[Path], Path]:
    """A fetch of a wheel from the package index that pip is set up with; nothing is installed or run."""

    def get(folder: Path) -> Path:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--only-binary", ":all:", "--dest", str(folder), requirement]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode:
            raise DataError(
                f"pip download {requirement}: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else 'failed'}"
            )
        return next(folder.glob("*.whl"))

    return get


def movielens_archive(archive: zipfile.ZipFile) -> Tables:
    """ml-100k from GroupLens's archive: ``u.data``, ``u.item``, ``u.user``."""

    def cells(member: str, separator: str) -> list[list[str]]:
        text = archive.read(f"ml-100k/{member}").decode("latin-1")
        return [line.split(separator) for line in text.split("\n") if line]

    items = [
        (i, title, " ".join(g for g, f in zip(GENRES, flags, strict=True) if f == "1"))
        for i, title, _, _, _, *flags in cells("u.item", "|")
    ]
    return movielens_tables(cells("u.data", "\t"), items, cells("u.user", "|"))


def movielens_atomic(archive: zipfile.ZipFile) -> Tables:
    """ml-100k from the atomic files inside RecBole's wheel, titles and years joined again as they were."""

    def cells(suffix: str) -> list[list[str]]:
        text = archive.read(f"recbole/dataset_example/ml-100k/ml-100k.{suffix}").decode("utf-8")
        return list(csv.reader(io.StringIO(text), delimiter="\t", quoting=csv.QUOTE_NONE))[1:]

    # The wheel writes item 267, called "unknown" and without a year, as "unkonwn", and takes "(V)" for a year.
    items = [(i, "unknown" if title == "unkonwn" else f"{title} ({year})", genres) for i, title, year, genres in cells("item")]
    return movielens_tables(cells("inter"), items, cells("user"))


def movielens_tables(ratings: list[list[str]], items: list[tuple[str, str, str]], users: list[list[str]]) -> Tables:
    """ml-100k as our tables: rows of ``ratings`` in their order, items and users by id."""
    user, item, rating, time = zip(*ratings, strict=True)
    titled = [(int(i), *_title(title), genres) for i, title, genres in items]
    return {
        "interactions": pa.table(
            {
                "user_id": pa.array(map(int, user), pa.int64()),
                "item_id": pa.array(map(int, item), pa.int64()),
                "rating": pa.array(map(float, rating), pa.float32()),
                "timestamp": pa.array(map(int, time), pa.int64()),
            }
        ),
        "items": _table(sorted(titled), item_id=pa.int64(), title=pa.string(), year=pa.int64(), genres=pa.string()),
        "users": _table(
            sorted((int(u), int(age), gender, occupation, zip_code) for u, age, gender, occupation, zip_code in users),
            user_id=pa.int64(),
            age=pa.int64(),
            gender=pa.string(),
            occupation=pa.string(),
            zip_code=pa.string(),
        ),
    }


def _title(written: str) -> tuple[str, int | None]:
    """``Heat (1995)`` as title and year; ``(V)``, for a film made for video, is dropped."""
    found = re.fullmatch(r"(.*\S)\s*\((\d{4})\)(?: \(V\))?\s*", written)
    return (found[1], int(found[2])) if found else (written.strip(), None)


def _table(rows: list[tuple], **columns: pa.DataType) -> pa.Table:
    return pa.table({name: pa.array([row[i] for row in rows], kind) for i, (name, kind) in enumerate(columns.items())})


SOURCES = {
    "ml-100k": Source(
        "MovieLens 100K",
        "100,000 ratings of 1,682 films by 943 users, 1997-98 (Harper & Konstan 2015, The MovieLens Datasets: History and "
        "Context, doi 10.1145/2827872). GroupLens's terms hold: research use, no commercial use, no redistribution without "
        "permission.",
        (
            Origin(
                "files.grouplens.org",
                "50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229",
                download("https://files.grouplens.org/datasets/movielens/ml-100k.zip"),
                movielens_archive,
            ),
            Origin(
                "the recbole 1.2.1 wheel of the package index",
                "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
                wheel("recbole==1.2.1"),
                movielens_atomic,
            ),
        ),
    ),
}
