"""Every method and baseline to the Hub and back, by itself and in a Recommender: no data, private, by revision, offline."""

from __future__ import annotations

import pytest
from hub import Hub, python
from huggingface_hub import ModelCard

import hybridrec as hr
import hybridrec.baselines
import hybridrec.methods
from hybridrec.errors import ArtifactError

NAMES = sorted([*hybridrec.methods.__all__, *hybridrec.baselines.__all__])
FEW = ["EASE", "IALS", "LightGCN", "MultVAE"]

WORLD = """
import inspect
import hybridrec.methods, hybridrec.baselines, torch
from conftest import planted, worded
from test_methods import query, small
NAMES = sys.argv[1].split(",")
data = worded(planted(users=24, items=20, each=8))

def made(name):
    if name in hybridrec.methods.__all__:
        method = small(name, data)
    else:
        known = inspect.signature(getattr(hr, name)).parameters
        method = getattr(hr, name)(data, **({"dim": 4} if "dim" in known else {}))
    if hasattr(method, "solve"):
        hr.fit(method, data)
    elif hasattr(method, "refresh"):
        with torch.no_grad():
            method.refresh()
    return method.eval()

def scores(method):
    with torch.no_grad():
        return method.score(query(data, (0, 7, 3)))[:3].double()

def digest(x):
    return [float(x.sum()), float(x[0, 0]), float((x * torch.arange(x.numel()).view_as(x)).sum())]
"""

PUSH = (
    WORLD
    + """
for name in NAMES:
    method = made(name)
    result = hr.evaluate(method, data, ks=(5,))
    before = digest(scores(method))
    commit = method.push_to_hub(f"me/{name}", metrics=result, private=True).rpartition("/")[2]
    with torch.no_grad():
        for x in (*method.parameters(), *method.buffers()):
            x.mul_(0) if x.is_floating_point() else None
    method.push_to_hub(f"me/{name}")  # a later commit, of another state
    r = hr.Recommender(made(name), data, metrics=result)
    r.push_to_hub(f"me/{name}-recommender", private=True)
    said[name] = [before, commit, [x.item for x in r.recommend(history=[101, 104], k=5)], result.metrics["ndcg@5"]]
"""
)

LOAD = (
    WORLD
    + """
for name, commit in zip(NAMES, sys.argv[2].split(",")):
    cls = getattr(hr, name)
    method = cls.from_pretrained(f"me/{name}", revision=commit)
    r = hr.Recommender.from_pretrained(f"me/{name}-recommender")
    said[name] = [digest(scores(method)), [x.item for x in r.recommend(history=[101, 104], k=5)]]
    assert type(r.method) is cls
said["none"] = error(lambda: hr.EASE.from_pretrained("me/LightGCN", revision=sys.argv[2].split(",")[NAMES.index("LightGCN")]))
"""
)

STRANGER = """
said["stranger"] = error(lambda: hr.EASE.from_pretrained("me/EASE", cache_dir=sys.argv[1]))
"""


@pytest.fixture(scope="module", params=[pytest.param(FEW, id="few"), pytest.param(NAMES, id="all", marks=pytest.mark.slow)])
def pushed(tmp_path_factory, request):
    with Hub() as hub:
        names = ",".join(request.param)
        told = python(PUSH, tmp_path_factory.mktemp("pusher"), names, HF_ENDPOINT=hub.url, HF_TOKEN=hub.token)
        assert sorted(told) == sorted(request.param)
        yield hub, told


def test_every_method_comes_back_as_it_went(pushed, tmp_path):
    hub, told = pushed
    names, commits = ",".join(told), ",".join(x[1] for x in told.values())
    said = python(LOAD, tmp_path / "home", names, commits, HF_ENDPOINT=hub.url, HF_TOKEN=hub.token)
    for name in told:
        assert said[name][0] == pytest.approx(told[name][0], rel=1e-6, abs=1e-9), name
        assert said[name][1] == told[name][2], name
    assert "holds a LightGCN, no EASE" in said["none"]
    calls = len(hub.calls)
    assert python(LOAD, tmp_path / "home", names, commits, HF_HUB_OFFLINE="1", HF_ENDPOINT=hub.url) == said
    assert len(hub.calls) == calls
    refused = python(STRANGER, tmp_path / "other", str(tmp_path / "cache"), HF_ENDPOINT=hub.url)
    assert "no model 'me/EASE' from the Hub" in refused["stranger"]


def test_every_card_has_its_metrics_as_the_hub_renders_them(pushed):
    hub, told = pushed
    for name in told:
        model = hub.repositories[f"me/{name}"]
        assert model.private and hub.repositories[f"me/{name}-recommender"].private
        for repository, sha in ((f"me/{name}", told[name][1]), (f"me/{name}-recommender", None)):
            found = hub.repositories[repository]
            files = found.commits[sha or found.branches["main"]]
            card = ModelCard(files["README.md"].decode())
            assert card.data.library_name == "hybridrec" and card.data.model_name == f"{name} on planted"
            metrics = {x.metric_name: x for x in card.data.eval_results}
            assert metrics["ndcg@5"].metric_value == pytest.approx(told[name][3])
            assert metrics["ndcg@5"].dataset_split == "test" and metrics["ndcg@5"].task_type == "recommendation"
            assert "model-index" in card.data.to_dict()
            assert not [f for f in files if f.endswith((".bin", ".pt", ".pkl"))]


def test_saved_to_a_folder_and_over_it(planted, tmp_path):
    method = hr.LightGCN(planted, dim=4).eval()
    folder = method.save_pretrained(tmp_path / "m", metrics={"ndcg@10": 0.25})
    assert sorted(p.name for p in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    assert "| ndcg@10 | 0.2500 |" in (folder / "README.md").read_text()
    again = hr.LightGCN.from_pretrained(folder)
    assert again.arguments == method.arguments
    again.save_pretrained(folder)  # a method that was loaded can be saved again, and in place of the old one
    assert [p.name for p in tmp_path.iterdir()] == ["m"]
    with pytest.raises(ArtifactError, match="holds a LightGCN, no EASE"):
        hr.EASE.from_pretrained(folder)
    with pytest.raises(ArtifactError, match="no folder"):
        hr.EASE.from_pretrained("./none/such")


def test_nothing_else_is_overwritten_and_a_failed_save_leaves_the_old(planted, tmp_path, monkeypatch):
    method = hr.LightGCN(planted, dim=4).eval()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name in ("mine", "file"):
        with pytest.raises(ArtifactError, match="holds something else than a saved method"):
            method.save_pretrained(tmp_path / name)
    folder = method.save_pretrained(tmp_path / "m")
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    monkeypatch.setattr("hybridrec.pretrained._card", lambda *a: (_ for _ in ()).throw(OSError("disk full")))
    for name in ("m", "fresh"):
        with pytest.raises(OSError, match="disk full"):
            method.save_pretrained(tmp_path / name)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "m", "mine"]
