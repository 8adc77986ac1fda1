"""The folder of a saved Recommender: what is in it, that it answers as before, and that nothing damaged is read."""

from __future__ import annotations

import json
import random
import shutil
import sys
import types
from dataclasses import replace

import pyarrow.parquet as pq
import pytest
import torch
from conftest import planted
from safetensors.torch import load_file, save_file
from standin import NEW, TEMPLATES, Words, same, titled

import hybridrec as hr
from hybridrec.errors import ArtifactError, QueryError
from hybridrec.pipeline.folder import FORMAT, INDEX, _seal


@pytest.fixture(autouse=True)
def words(monkeypatch):
    """A text side that a saved artifact may name: a module of the package that lives for a test."""
    module = types.ModuleType("hybridrec.standin")
    module.Words = type("Words", (Words,), {"__module__": "hybridrec.standin"})
    monkeypatch.setitem(sys.modules, "hybridrec.standin", module)
    return module.Words


@pytest.fixture(scope="module")
def data():
    return titled(planted())


@pytest.fixture(scope="module")
def dot(data):
    torch.manual_seed(0)
    return hr.LightGCN(data, dim=8).eval()


@pytest.fixture(params=["LightGCN", "EASE"])
def method(request, data, dot):
    """One method with item vectors, one that only scores."""
    if request.param == "LightGCN":
        return dot
    ease = hr.EASE(data, ridge=10.0)
    hr.fit(ease, data)
    return ease


@pytest.fixture
def artifact(dot, data, tmp_path, words):
    metrics = {"ndcg@10": 0.25, "recall@10": 0.5}
    r = hr.Recommender(dot, data, words(8), templates={**TEMPLATES, "user": "{{ titles }}"}, metrics=metrics)
    return r, r.save_pretrained(tmp_path / "artifact")


ASKED = {"user": ["u1", None, "u3"], "history": [None, [101], [102]], "prompt": [None, "robots", "quiet"]}


def test_answers_as_before(method, data, tmp_path, words):
    r = hr.Recommender(method, data, words(8), templates=TEMPLATES)
    again = hr.Recommender.from_pretrained(r.save_pretrained(tmp_path / "a"))
    for one, other in zip(r.recommend(**ASKED, k=9), again.recommend(**ASKED, k=9), strict=True):
        same(one, other)
    bare = hr.Recommender(method, data)
    again = hr.Recommender.from_pretrained(str(bare.save_pretrained(tmp_path / "b")))
    same(again.recommend(user="u5", k=9), bare.recommend(user="u5", k=9))
    assert again.templates == {}


def test_which_items_have_training_rows_is_saved(data, tmp_path, words):
    cold = replace(data, relations={"interact": data.train.keep(data.train.index[1] < 38)})
    r = hr.Recommender(hr.LightGCN(cold, dim=8), cold, words(8), templates=TEMPLATES)
    again = hr.Recommender.from_pretrained(r.save_pretrained(tmp_path / "a"))
    assert again.trained.tolist() == [True] * 38 + [False] * 2
    assert torch.equal(again.engine.taste.items, r.engine.taste.items)


def test_layout(artifact, dot):
    r, folder = artifact
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert files == {
        *("README.md", "model_index.json", "items.parquet", "users.parquet", "item_vectors.safetensors"),
        *("method/config.json", "method/model.safetensors", "text_encoder/words.json"),
        *("templates/item.j2", "templates/query.j2", "templates/user.j2"),
    }
    index = json.loads((folder / INDEX).read_text())
    assert index["method"] == ["hybridrec.methods.lightgcn", "LightGCN"]
    assert index["text_encoder"] == ["hybridrec.standin", "Words"]
    assert set(index["files"]) == files - {"README.md", "model_index.json"}
    assert all((folder / name).stat().st_size == entry["size"] for name, entry in index["files"].items())
    assert len({(folder / name).stat().st_mode for name in files}) == 1
    assert pq.read_table(folder / "items.parquet").column_names == ["item_id", "title", "year"]
    users = pq.read_table(folder / "users.parquet")
    assert users.column_names == ["user_id", "history", "time"]
    assert users["history"][3].as_py() == r.users[1].take(torch.tensor([3])).item.tolist()
    vectors = load_file(folder / "item_vectors.safetensors")
    assert torch.equal(vectors["method"], dot.catalogue().detach())
    assert vectors["meaning"].shape == (40, 12)
    assert vectors["place"].shape == (40, 8)


def test_the_text_side_is_loaded_when_first_asked(artifact, words, monkeypatch):
    """Histories are answered where the base model of the encoder is not at hand."""
    monkeypatch.setattr(words, "load", classmethod(lambda cls, folder: pytest.fail("loaded")))
    r = hr.Recommender.from_pretrained(artifact[1])
    assert len(r.recommend(history=[101], k=3)) == 3
    with pytest.raises(pytest.fail.Exception):
        r.recommend(prompt="robots")


def test_new_items_are_saved(artifact, tmp_path):
    r = hr.Recommender.from_pretrained(artifact[1])
    r.add_items(NEW)
    again = hr.Recommender.from_pretrained(r.save_pretrained(tmp_path / "more"))
    assert len(again.items) == 42
    assert len(again.trained) == 40
    for one, other in zip(r.recommend(**ASKED, k=42), again.recommend(**ASKED, k=42), strict=True):
        same(one, other)
    assert again.recommend(prompt="robots return", k=1)[0].item == 900
    again.add_items([{"item_id": 902, "title": "another"}])
    assert len(again.items) == 43


def test_saved_over_itself_and_over_an_older_artifact_but_over_nothing_else(artifact, tmp_path):
    _, folder = artifact
    r = hr.Recommender.from_pretrained(folder)
    before = r.recommend(**ASKED, k=5)
    r.save_pretrained(folder)  # its own text side is still to be loaded from there
    assert hr.Recommender.from_pretrained(folder).recommend(**ASKED, k=5) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["artifact"]  # nothing temporary is left

    (folder / "README.md").write_text("my own words")
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(ArtifactError, match=r"also holds notes\.txt, which saving here would delete"):
        r.save_pretrained(folder)
    assert (folder / "notes.txt").read_text() == "mine"
    (folder / "notes.txt").unlink()
    assert hr.Recommender.from_pretrained(folder).recommend(**ASKED, k=5) == before  # the card may be edited

    other = tmp_path / "other"
    other.mkdir()
    r.save_pretrained(other)  # an empty folder is fine
    for content in ({"x.txt": "mine"}, {INDEX: '{"_class_name": "StableDiffusionPipeline"}'}, {INDEX: "["}):
        shutil.rmtree(other)
        other.mkdir()
        for name, text in content.items():
            (other / name).write_text(text)
        with pytest.raises(ArtifactError, match="not empty and not a saved Recommender"):
            r.save_pretrained(other)
        assert {path.name: path.read_text() for path in other.iterdir()} == content
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(ArtifactError, match="is a file"):
        r.save_pretrained(file)


def test_a_failed_save_leaves_the_old_artifact_and_nothing_else(artifact, tmp_path, words, monkeypatch):
    r, folder = artifact
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    monkeypatch.setattr(words, "save", lambda self, folder: (_ for _ in ()).throw(OSError("disk full")))
    for target in (folder, tmp_path / "fresh"):
        with pytest.raises(OSError, match="disk full"):
            r.save_pretrained(target)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["artifact"]


def test_users_can_be_left_out(artifact, tmp_path):
    r, _ = artifact
    folder = r.save_pretrained(tmp_path / "private", include_users=False)
    assert not (folder / "users.parquet").exists()
    assert "Users' ids and histories were left out" in (folder / "README.md").read_text()
    again = hr.Recommender.from_pretrained(folder)
    with pytest.raises(QueryError, match="saved without its users"):
        again.recommend(user="u1")
    same(again.recommend(history=[101], k=5), r.recommend(history=[101], k=5))


def test_card_is_what_the_hub_renders(artifact):
    from huggingface_hub import ModelCard

    card = ModelCard.load(artifact[1] / "README.md")
    assert card.data.library_name == "hybridrec"
    assert card.data.datasets == ["planted"]
    assert card.data.metrics == ["ndcg", "recall"]
    assert {"text", "lora", "lightgcn"} <= set(card.data.tags)
    (name, results), *others = {card.data.model_name: card.data.eval_results}.items()
    assert not others and name == "LightGCN on planted"
    assert {x.metric_name: x.metric_value for x in results} == {"ndcg@10": 0.25, "recall@10": 0.5}
    for said in ("dim=8", "60 users, 40 items", "600 training rows", "| ndcg@10 | 0.2500 |", 'from_pretrained("artifact")'):
        assert said in card.text
    code = card.text.split("```python")[1].split("```")[0]
    compile(code, "card", "exec")


def test_metrics_of_an_evaluation_go_into_the_card(dot, data, tmp_path):
    result = hr.evaluate(dot, data, ks=(10,))
    folder = hr.Recommender(dot, data, metrics=result).save_pretrained(tmp_path / "a")
    assert json.loads((folder / INDEX).read_text())["about"]["metrics"] == result.metrics
    card = (folder / "README.md").read_text()
    assert f"| ndcg@10 | {result.metrics['ndcg@10']:.4f} |" in card
    assert "Protocol `full`: 40 items ranked for 60 users, train and valid masked." in card
    assert json.loads((folder / INDEX).read_text())["about"]["passport"]["data"]["fingerprint"] == data.fingerprint
    again = hr.Recommender.from_pretrained(folder)
    assert (again.save_pretrained(tmp_path / "b") / "README.md").read_text().replace('("b")', '("a")') == card


def test_every_damaged_or_missing_file_is_named(artifact):
    folder = artifact[1]
    source = random.Random(0)
    tried = 0
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "README.md"):
        whole = path.read_bytes()
        damages = [b"", whole[:-1], whole[: len(whole) // 2], whole + b"\n", b"\x80\x04\x95" + whole]
        for _ in range(15):
            at = source.randrange(len(whole))
            damages.append(whole[:at] + bytes([whole[at] ^ (1 << source.randrange(8))]) + whole[at + 1 :])
        for damaged in damages:
            path.write_bytes(damaged)
            if path.name == INDEX and harmless(damaged, whole):
                continue
            tried += 1
            with pytest.raises(ArtifactError, match=path.name):
                hr.Recommender.from_pretrained(folder)
        path.unlink()
        with pytest.raises(ArtifactError, match=f"{path.name} is missing"):
            hr.Recommender.from_pretrained(folder)
        path.write_bytes(whole)
    assert tried > 150
    hr.Recommender.from_pretrained(folder)


def harmless(damaged: bytes, whole: bytes) -> bool:
    """The index is sealed by what it says, not by how it is set."""
    try:
        return json.loads(damaged) == json.loads(whole)
    except ValueError:
        return False


def test_text_files_are_checked_again_when_they_are_read(artifact):
    r = hr.Recommender.from_pretrained(artifact[1])
    (artifact[1] / "text_encoder" / "words.json").write_text('{"dim": 9}')
    with pytest.raises(ArtifactError, match=r"words.json is not as it was saved"):
        r.recommend(prompt="robots")


def reseal(folder, change):
    """The index altered by someone who knows how it is sealed."""
    index = json.loads((folder / INDEX).read_text())
    change(index)
    index["sha256"] = _seal(index)
    (folder / INDEX).write_text(json.dumps(index))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda x: x.update(format=FORMAT + 1, _hybridrec_version="9.9"), r"format 2, written by hybridrec 9.9.*--upgrade"),
        (lambda x: x.update(format="new"), "format 'new' is no format"),
        (lambda x: x.update(_class_name="Other"), "not the index of a saved hybridrec Recommender"),
        (lambda x: x.pop("files"), "lists no files"),
        (lambda x: x.update(files={"a": 3}), "lists no files"),
        (lambda x: x["files"].update({"../../secret": {"size": 1, "sha256": ""}}), "only files inside the artifact's folder"),
        (lambda x: x["files"].update({"/etc/passwd": {"size": 1, "sha256": ""}}), "only files inside"),
        (lambda x: x["files"].update({"a\\..\\b": {"size": 1, "sha256": ""}}), "only files inside"),
        (lambda x: x["files"].update({"C:secret": {"size": 1, "sha256": ""}}), "only files inside"),
        (lambda x: x["files"].update({"a//b": {"size": 1, "sha256": ""}}), "only files inside"),
        (lambda x: x["files"].pop("items.parquet"), "lists no items.parquet"),
        (lambda x: x["files"].pop("method/model.safetensors"), "lists no method/model.safetensors"),
        (lambda x: x["files"].pop("method/config.json"), "lists no method/config.json"),
        (lambda x: x["files"].pop("item_vectors.safetensors"), "lists no item_vectors.safetensors"),
        (lambda x: x["files"].pop("templates/item.j2"), "templates"),
        (lambda x: x.update(text_encoder=["os", "system"]), "only classes of hybridrec"),
        (lambda x: x.update(text_encoder=["hybridrec.saving", "Path"]), "not a @configured class"),
        (lambda x: x.update(text_encoder=7), "not a whole artifact"),
        (lambda x: x.pop("text_encoder"), "not a whole artifact"),
        (lambda x: x.pop("about"), "not a whole artifact"),
        (lambda x: x.update(trained=41), "trained on 40 items"),
        (lambda x: x.update(trained="x"), "trained on 40 items"),
        (lambda x: x.update(method=["hybridrec.baselines.ease", "EASE"]), "names another method"),
    ],
)
def test_an_index_that_is_sealed_anew_is_still_not_trusted(artifact, change, said):
    reseal(artifact[1], change)
    with pytest.raises(ArtifactError, match=said):
        hr.Recommender.from_pretrained(artifact[1])


def replaced(folder, name, write):
    """One file replaced and the index made to agree with it."""
    from hybridrec.pipeline.folder import _sha256

    write(folder / name)
    size, digest = (folder / name).stat().st_size, _sha256(folder / name)
    reseal(folder, lambda x: x["files"].update({name: {"size": size, "sha256": digest}}))


def table_writer(columns):
    import pyarrow as pa

    return lambda path: pq.write_table(pa.table(columns), path)


def vectors(meaning, place, trained=40):
    tensors = {"meaning": torch.ones(meaning), "place": torch.ones(place), "trained": torch.ones(trained, dtype=torch.bool)}
    return lambda path: save_file(tensors, path)


@pytest.mark.parametrize(
    ("name", "write", "said"),
    [
        ("items.parquet", lambda path: path.write_bytes(b"PAR1 not"), "items.parquet is not a whole parquet file"),
        ("items.parquet", table_writer({"id": [1]}), "no whole column 'item_id'"),
        ("items.parquet", table_writer({"item_id": [1, 1]}), "wanted distinct"),
        ("items.parquet", table_writer({"item_id": [1.5, 2.5]}), "wanted distinct strings or integers"),
        ("items.parquet", table_writer({"item_id": [1, 2]}), "2 items"),
        ("users.parquet", table_writer({"user_id": [1]}), "no whole columns 'user_id' and 'history'"),
        ("users.parquet", table_writer({"user_id": [1], "history": ["x"]}), "no users with histories"),
        ("users.parquet", table_writer({"user_id": [1], "history": [[40]]}), "names an item beyond the 40"),
        ("users.parquet", table_writer({"user_id": [1], "history": [[-1]]}), "names an item beyond the 40"),
        ("users.parquet", table_writer({"user_id": ["u1"], "history": [[1]]}), "1 users"),
        ("item_vectors.safetensors", vectors((3, 12), (3, 8)), "3 text vectors for 40"),
        ("item_vectors.safetensors", vectors((40, 12), (40, 3)), "3 dimensions"),
        ("item_vectors.safetensors", vectors((40, 12), (40,)), "no text vectors of all items"),
        ("item_vectors.safetensors", vectors((40, 12), (40, 8), 41), "no word on which were trained"),
        ("item_vectors.safetensors", lambda path: path.write_bytes(b"\x80\x04\x95"), "not a whole safetensors file"),
        ("templates/item.j2", lambda path: path.write_bytes(b"\xff\xfe\xff"), "not UTF-8"),
        ("method/config.json", lambda path: path.write_text("[]"), "not a saved method"),
    ],
)
def test_files_that_do_not_belong_together_are_told(artifact, name, write, said):
    replaced(artifact[1], name, write)
    with pytest.raises(ArtifactError, match=said):
        hr.Recommender.from_pretrained(artifact[1])


@pytest.mark.parametrize("name", ["no/such/folder", "../nowhere", "~/x", "/none", "not a name", "", "a" * 300, "http://x/y"])
def test_neither_a_folder_nor_a_model_is_told(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArtifactError, match=r"no folder|model_index.json is missing|is not a"):
        hr.Recommender.from_pretrained(name, local_files_only=True)


def test_a_file_is_no_artifact(tmp_path):
    (tmp_path / "x").write_text("x")
    with pytest.raises(ArtifactError, match="is a file; an artifact is a folder"):
        hr.Recommender.from_pretrained(tmp_path / "x")
    with pytest.raises(ArtifactError, match=r"model_index\.json is missing"):
        hr.Recommender.from_pretrained(tmp_path)


def test_goals_other_than_items(tmp_path):
    """Bundles ranked for users: the words of the schema are the words of answers and errors."""
    from conftest import planted

    from hybridrec.data.dataset import Relation

    base = planted()
    ids = {"user": base.ids["user"], "item": base.ids["item"], "bundle": type(base.ids["user"])([f"b{i}" for i in range(40)])}
    take = replace(base.train, target="bundle")
    contain = Relation("bundle", "item", torch.stack([torch.arange(40), torch.arange(40)]))
    bundles = replace(base, ids=ids, relations={"take": take, "contain": contain}, goal="take", heldout={})
    popular = hr.Popularity(bundles)
    hr.fit(popular, bundles)
    r = hr.Recommender.from_pretrained(hr.Recommender(popular, bundles).save_pretrained(tmp_path / "a"))
    assert r.recommend(user="u1", k=2)[0].item.startswith("b")
    with pytest.raises(QueryError, match="unknown bundle id: 100"):
        r.recommend(history=[100])
    assert pq.read_table(tmp_path / "a" / "items.parquet").column_names == ["bundle_id"]
