"""Hostile files: a pickle under every accepted name, paths that climb, archives, links, sizes in headers, templates."""

from __future__ import annotations

import ast
import io
import json
import pickle
import shutil
import struct
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from folders import divided, interactions, write_file
from standin import sealed

import hybridrec as hr
from hybridrec.data import sources
from hybridrec.data.hub import hub_files
from hybridrec.data.links import STEMS
from hybridrec.data.tables import EXTENSIONS
from hybridrec.data.text import render
from hybridrec.errors import ArtifactError, DataError, HybridrecError
from hybridrec.pipeline.folder import INDEX, _seal, _sha256
from hybridrec.pipeline.stored import read_table
from hybridrec.saving import load_method, save_method

pytestmark = pytest.mark.filterwarnings("ignore::hybridrec.errors.DataWarning")

ROOT = Path(__file__).parents[1]


class Bomb:
    """Unpickled, it makes a file."""

    def __init__(self, canary: Path) -> None:
        self.canary = str(canary)

    def __reduce__(self):
        return exec, (f"open({self.canary!r}, 'w').close()",)


def bombs(canary: Path) -> dict[str, bytes]:
    """The same pickle in the wrappings that readers are known to unpack."""
    found = {f"protocol {p}": pickle.dumps(Bomb(canary), protocol=p) for p in (0, 2, 5)}
    buffer = io.BytesIO()
    torch.save(Bomb(canary), buffer)
    found["torch"] = buffer.getvalue()
    buffer = io.BytesIO()
    np.save(buffer, np.array([Bomb(canary)], object), allow_pickle=True)
    found["npy"] = buffer.getvalue()
    buffer = io.BytesIO()
    np.savez(buffer, x=np.array([Bomb(canary)], object))
    found["npz"] = buffer.getvalue()
    kind = {b"ARROW:extension:name": b"arrow.py_extension_type", b"ARROW:extension:metadata": found["protocol 2"]}
    schema = pa.schema([pa.field("user_id", pa.int64(), metadata=kind), pa.field("item_id", pa.int64(), metadata=kind)])
    sink = io.BytesIO()
    pq.write_table(pa.table({"user_id": range(9), "item_id": range(9)}, schema=schema), sink)
    found["parquet"] = sink.getvalue()
    found["yaml"] = f"!!python/object/apply:builtins.exec [\"open('{canary}', 'w').close()\"]\n".encode()
    found["json"] = json.dumps({"class": "builtins.exec", "arguments": {"source": f"open('{canary}', 'w').close()"}}).encode()
    return found


@pytest.fixture
def canary(tmp_path):
    """Where a bomb leaves its mark; a bomb does go off where it is unpickled."""
    trial = tmp_path / "trial"
    for name in ("protocol 0", "protocol 2", "protocol 5"):
        pickle.loads(bombs(trial)[name])  # noqa: S301
        assert trial.exists()
        trial.unlink()
    np.load(io.BytesIO(bombs(trial)["npy"]), allow_pickle=True)
    assert trial.exists()
    return tmp_path / "canary"


def attempt(call) -> str:
    """What became of a call: an error raised on purpose, or success. Anything else fails the test."""
    try:
        call()
    except (HybridrecError, SystemExit) as e:
        return type(e).__name__
    return "read"


def test_no_bomb_goes_off_in_a_data_folder(tmp_path, canary):
    tried = 0
    names = [f"{stem}{e}" for stem in STEMS for e in EXTENSIONS]
    names += [f"d.{s}" for s in ("inter", "train.inter", "item", "user", "kg", "link", "net")]
    names += ["features_x.npy", "features_x_item_ids.npy", "README.md"]
    for name in names:
        for kind, data in bombs(canary).items():
            folder = tmp_path / "data"
            atomic = name.startswith("d.")
            if atomic:
                folder.mkdir()
                (folder / "d.inter").write_text("user_id:token\titem_id:token\n" + "".join(f"{u}\t{u}\n" for u in range(9)))
            elif not name.startswith("interactions"):
                write_file(folder, "interactions", interactions())
            folder.mkdir(exist_ok=True)
            if "item_ids" in name:
                np.save(folder / "features_x.npy", np.zeros((1, 2)))
            (folder / name).write_bytes(data)
            attempt(lambda folder=folder: hr.load(folder))
            tried += 1
            assert not canary.exists(), (name, kind)
            shutil.rmtree(folder)
    assert tried == len(names) * 9


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    """A small Recommender as saved."""
    from conftest import planted

    data = planted(users=12, items=10, each=6)
    folder = tmp_path_factory.mktemp("saved")
    method = hr.LightGCN(data, dim=4, depth=1)
    hr.Recommender(method, data, templates={"item": "{{ title }}"}).save_pretrained(folder / "artifact")
    save_method(method, folder / "method", data.schema)
    prior = hr.DiffusionPrior(data, dim=4, width=4, times=6)
    hr.Recommender(prior, data, templates={"item": "{{ title }}"}).save_pretrained(folder / "prior")
    return folder


BINARIES = ("pytorch_model.bin", "method/pytorch_model.bin", "denoiser/diffusion_pytorch_model.bin")


@pytest.mark.parametrize("which", ["artifact", "prior"])  # of the second only what it has beside the first
def test_no_bomb_goes_off_in_an_artifact(artifact, tmp_path, canary, which):
    files = [p.relative_to(artifact / which).as_posix() for p in (artifact / which).rglob("*") if p.is_file()]
    names = [name for name in files if which == "artifact" or name.split("/")[0] in ("denoiser", "scheduler")]
    assert len(names) == (3 if which == "prior" else len(files))
    for name in (*names, "text_encoder/config.json", *BINARIES):
        for kind, data in bombs(canary).items():
            folder = Path(shutil.copytree(artifact / which, tmp_path / "a"))
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(data)
            if name != INDEX:
                sealed(folder)
            attempt(lambda folder=folder: hr.Recommender.from_pretrained(folder).recommend(history=[101], k=2))
            assert not canary.exists(), (name, kind)
            shutil.rmtree(folder)


def test_no_bomb_goes_off_in_a_method_or_a_base_model(artifact, tmp_path, canary):
    from hybridrec.encoders.base import load_base

    for kind, data in bombs(canary).items():
        for name in ("config.json", "model.safetensors", "pytorch_model.bin"):
            folder = Path(shutil.copytree(artifact / "method", tmp_path / "m"))
            (folder / name).write_bytes(data)
            attempt(lambda folder=folder: load_method(folder))
            shutil.rmtree(folder)
        base = tmp_path / "base"
        base.mkdir()
        (base / "config.json").write_text('{"model_type": "bert", "hidden_size": 4, "num_attention_heads": 1, "vocab_size": 9}')
        (base / "pytorch_model.bin").write_bytes(data)
        with pytest.raises((HybridrecError, OSError, ValueError)):
            load_base(str(base))
        # A module of its own, as only trusted code may bring.
        (base / "modules.json").write_text('[{"idx": 0, "name": "0", "path": "", "type": "evil.Module"}]')
        (base / "evil.py").write_text(f"open({str(canary)!r}, 'w').close()\nclass Module: pass\n")
        with pytest.raises((HybridrecError, OSError, ValueError)):
            load_base(str(base))
        shutil.rmtree(base)
        assert not canary.exists(), kind


# What the tree may not hold: calls by name, wherever they stand.
CALLS = ("eval", "exec", "compile", "__import__", "pickle.load", "pickle.loads", "torch.load", "torch.save", "joblib.load")
CALLS += ("yaml.load", "yaml.unsafe_load", "yaml.full_load", "os.system", "os.popen", "marshal.loads", "shelve.open")
MODULES = ("pickle", "cPickle", "dill", "joblib", "shelve", "marshal", "cloudpickle")
ROOMS = ("hybridrec", "recipes", "tests/benchmarks", "tests/workers")
UNPACK = ("extractall", "extract", "unpack_archive")


def test_the_tree_has_no_call_that_executes_or_unpacks():
    wrong = []
    for path in [p for room in ROOMS for p in (ROOT / room).rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            at = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [getattr(node, "module", None) or "", *(a.name for a in node.names)]
                wrong += [f"{at} imports {n}" for n in names if n.split(".")[0] in MODULES]
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            given = {k.arg: k.value for k in node.keywords}
            if called in CALLS or called.rpartition(".")[2] in UNPACK:
                wrong.append(f"{at} calls {called}")
            for name in ("allow_pickle", "trust_remote_code", "shell"):
                value = given.get(name)
                if value is not None and not (isinstance(value, ast.Constant) and value.value is False):
                    wrong.append(f"{at} {name}={ast.unparse(value)}")
            if called in ("np.load", "numpy.load") and "allow_pickle" not in given:
                wrong.append(f"{at} np.load without allow_pickle=False")
    assert not wrong, wrong


OUTSIDE = ["../outside.json", "/etc/hostname", "a/../../x", "..", "method\\..\\x", "C:x", "", "a//b", ".x"]


@pytest.mark.parametrize("name", OUTSIDE)
def test_an_index_that_names_a_file_outside_is_refused(artifact, tmp_path, name):
    folder = Path(shutil.copytree(artifact / "artifact", tmp_path / "a"))
    (tmp_path / "outside.json").write_text("{}")
    index = json.loads((folder / INDEX).read_text())
    index["files"][name] = {"size": 2, "sha256": "0"}
    index["sha256"] = _seal(index)
    (folder / INDEX).write_text(json.dumps(index))
    with pytest.raises(ArtifactError, match="only files inside the artifact's folder are read"):
        hr.Recommender.from_pretrained(folder)


def test_a_link_out_of_an_artifact_is_refused_and_the_hubs_cache_is_not(artifact, tmp_path):
    shutil.copytree(artifact / "artifact", tmp_path / "a")
    secret = tmp_path / "secret.parquet"
    (tmp_path / "a" / "users.parquet").rename(secret)
    (tmp_path / "a" / "users.parquet").symlink_to(secret)
    with pytest.raises(ArtifactError, match=r"users\.parquet is a link out of the artifact"):
        hr.Recommender.from_pretrained(tmp_path / "a")
    snapshot = tmp_path / "cache" / "snapshots" / "c0ffee"
    shutil.copytree(artifact / "artifact", snapshot)
    (tmp_path / "cache" / "blobs").mkdir()
    (snapshot / "users.parquet").rename(tmp_path / "cache" / "blobs" / "abc")
    (snapshot / "users.parquet").symlink_to("../../blobs/abc")
    assert hr.Recommender.from_pretrained(snapshot).users is not None


def test_archives_are_read_by_name_and_never_unpacked(tmp_path, monkeypatch):
    evil = tmp_path / "evil.zip"
    with zipfile.ZipFile(evil, "w") as archive:
        for name in ("../../escaped", "/tmp/hybridrec-escaped", "ml-100k/../../escaped"):
            archive.writestr(name, "out")
        link = zipfile.ZipInfo("ml-100k/u.data")
        link.external_attr = 0o120777 << 16  # a symbolic link
        archive.writestr(link, "/etc/passwd")
    digest = _sha256(evil)
    origin = sources.Origin("a test", digest, lambda folder: evil, sources.movielens_archive)
    monkeypatch.setitem(sources.SOURCES, "evil", sources.Source("Evil", "", (origin,)))
    with pytest.raises(DataError, match="evil: no origin answered"):
        hr.load("evil", cache=tmp_path / "cache")
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["evil.zip"]
    assert not Path("/tmp/hybridrec-escaped").exists()
    tampered = sources.Origin("a test", "0" * 64, lambda folder: evil, sources.movielens_archive)
    with pytest.raises(DataError, match="sha256 is"):
        tampered.tables()
    monkeypatch.setattr(sources, "LARGEST", 10)
    with pytest.raises(DataError, match="more than 10 bytes"):
        sources.download(evil.as_uri())(tmp_path)


@pytest.mark.parametrize("files", ["/etc/hostname", "../secret.csv", "{secret}", "data/../../secret.csv"])
def test_a_dataset_card_cannot_name_files_outside(tmp_path, monkeypatch, files):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hub")
    secret = tmp_path / "secret.csv"
    secret.write_text("user_id,item_id\n1,2\n")
    repository = tmp_path / "repository"
    (repository / "data").mkdir(parents=True)
    (repository / "data" / "a.csv").write_text("user_id,item_id\n3,4\n")
    named = files.format(secret=secret)
    (repository / "README.md").write_text(f"---\nconfigs:\n- config_name: interactions\n  data_files: {named}\n---\n")
    with pytest.raises(DataError, match=r"lies outside the repository|gave no data set"):
        hub_files(str(repository))


def header(**entries) -> bytes:
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text)) + text


SAFETENSORS = {
    "length of the header": struct.pack("<Q", 1 << 62) + b"{}",
    "shape": header(x={"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}) + bytes(8),
    "offsets": header(x={"dtype": "F32", "shape": [2], "data_offsets": [0, 1 << 60]}) + bytes(8),
    "product": header(x={"dtype": "F32", "shape": [1 << 40, 1 << 40], "data_offsets": [0, 8]}) + bytes(8),
}


@pytest.mark.parametrize("case", SAFETENSORS)
def test_sizes_in_a_safetensors_header_are_bounded(artifact, tmp_path, case):
    folder = Path(shutil.copytree(artifact / "method", tmp_path / "m"))
    (folder / "model.safetensors").write_bytes(SAFETENSORS[case])
    with pytest.raises(ArtifactError, match=r"model\.safetensors"):
        load_method(folder)


@pytest.mark.parametrize("shape", [(1 << 40, 4), (1 << 62, 1 << 62), (-1, 4), (3,) * 40])
@pytest.mark.parametrize("name", ["features_x.npy", "features_x_item_ids.npy"])
def test_sizes_in_an_npy_header_are_bounded(tmp_path, shape, name):
    folder = tmp_path / "d"
    write_file(folder, "interactions", interactions(split=divided()))
    np.save(folder / "features_x.npy", np.zeros((8, 2)))
    np.save(folder / "features_x_item_ids.npy", np.arange(10, 18))
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    (folder / name).write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + bytes(64))
    with pytest.raises(DataError, match=name):
        hr.load(folder)


def test_a_parquet_file_that_claims_more_than_it_can_hold_is_refused(tmp_path, monkeypatch):
    folder = tmp_path / "d"
    folder.mkdir()
    ones = pa.array(np.ones(500_000, np.int64))
    pq.write_table(pa.table({"user_id": ones, "item_id": ones}), folder / "interactions.parquet")
    path = folder / "interactions.parquet"
    monkeypatch.setattr("hybridrec.data.tables.FOLD", 500_000 // path.stat().st_size)
    for call in (lambda: hr.load(folder), lambda: read_table(path)):
        with pytest.raises(HybridrecError, match="bytes claim to hold 500,000 rows"):
            call()


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("schema", "counts", "user"), 1 << 33),
        (("schema", "counts", "item"), 1 << 33),
        (("schema", "counts", "user"), 1 << 70),
        (("arguments", "dim"), 1 << 33),
        (("arguments", "dim"), 1 << 62),
        (("schema", "counts", "user"), -5),
    ],
)
def test_numbers_of_a_configuration_are_bounded_before_anything_is_allocated(artifact, tmp_path, place, value):
    folder = Path(shutil.copytree(artifact / "method", tmp_path / "m"))
    config = json.loads((folder / "config.json").read_text())
    inner = config
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ArtifactError, match=r"config\.json|model\.safetensors|asks for a tensor"):
        load_method(folder)


def test_json_that_nests_too_deep_is_refused(artifact, tmp_path):
    folder = Path(shutil.copytree(artifact / "method", tmp_path / "m"))
    for text in ("[" * 200_000, '{"a":' * 200_000, "1" * 10_000):
        (folder / "config.json").write_text(text)
        with pytest.raises(ArtifactError, match=r"config\.json"):
            load_method(folder)


def test_text_beside_a_saved_encoder_that_the_index_does_not_list_is_refused(artifact, tmp_path):
    from hybridrec.pipeline.folder import Folder

    folder = Path(shutil.copytree(artifact / "artifact", tmp_path / "a"))
    (folder / "method" / "more.json").write_text("{}")
    Folder(folder).check("method")
    with pytest.raises(ArtifactError, match=r"more\.json is not listed in model_index\.json"):
        Folder(folder).check("method", whole=True)


TEMPLATES = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ title.__init__.__globals__ }}",
    "{{ self._TemplateReference__context }}",
    "{{ cycler.__init__.__globals__.os }}",
    "{{ ''|attr('__class__') }}",
    "{% include '/etc/passwd' %}",
    "{% import 'os' as os %}",
    "{{ 'a' * n }}",
    "{{ 9 ** 9 ** 9 }}",
    "{{ title.ljust(n) }}",
    "{{ title|center(n) }}",
    "{{ '%999999999d'|format(1) }}",
    "{{ '%999999999d' % 1 }}",
    "{{ '{:>999999999}'.format(1) }}",
    "{% set a = title %}" + "{% set a = a ~ a %}" * 60 + "{{ a }}",
    "{% set a = [title] %}" + "{% set a = [a, a] %}" * 60 + "{{ a }}",
    "{% set a %}{% for i in range(90000) %}{{ title }}{% endfor %}{% endset %}{{ a }}",
    "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "{% for a in range(99999) %}{{ title * 99 }}{% endfor %}",
    "{% macro f(n) %}{{ f(n) }}{{ f(n) }}{% endmacro %}{{ f(1) }}",
    "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    "{{ title|replace('H', title * 999)|replace('H', title * 999)|replace('H', title * 999) }}",
    "{{ " + "[" * 100_000,
    "{{ title.x }}",
    "{{ lipsum(100000) }}",
]


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_hostile_template_is_refused(template):
    with pytest.raises(DataError, match="cannot be used"):
        render(template, [{"title": "Heat", "n": 10**12}])


def test_the_text_of_items_is_never_a_template():
    rows = [{"title": "{{ 7 * 7 }} {% raw %} {{ ''.__class__ }}"}]
    assert render("{{ title }}", rows) == [rows[0]["title"]]
    assert render("{{ title | upper }}{{ title ~ '!' }}", rows) == [rows[0]["title"].upper() + rows[0]["title"] + "!"]


def test_recipes_read_yaml_that_executes_nothing(tmp_path, canary):
    import subprocess
    import sys

    for kind in ("yaml", "protocol 0", "protocol 5"):
        file = tmp_path / "c.yaml"
        file.write_bytes(bombs(canary)[kind])
        code = f"import sys; sys.path.insert(0, {str(ROOT / 'recipes')!r}); from arguments import read_yaml, run; "
        done = subprocess.run(
            [sys.executable, "-c", code + f"run(lambda: read_yaml({str(file)!r}))"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 1 and done.stderr.startswith("error: ") and "Traceback" not in done.stderr
        assert not canary.exists()
