"""To the Hub and back, against a small Hub on this machine: revisions, tokens, private models, cache, no network."""

from __future__ import annotations

import pytest
from hub import Hub, python

PUSH = """
from conftest import planted
data = planted()
method = hr.Popularity(data)
hr.fit(method, data)
r = hr.Recommender(method, data)
said["url"] = r.push_to_hub("me/model", private=True)
said["answer"] = r.recommend(history=[100], k=3)
said["again"] = r.push_to_hub("me/model", include_users=True)  # the model is there already
ease = hr.EASE(data, ridge=5.0)
hr.fit(ease, data)
said["branch"] = hr.Recommender(ease, data).push_to_hub("me/model", revision="ease")
said["no token"] = error(lambda: r.push_to_hub("me/other", token="hf_wrong"))
"""

LOAD = """
load = hr.Recommender.from_pretrained
r = load("me/model")
said["answer"] = r.recommend(history=[100], k=3)
said["user"] = len(r.recommend(user="u1", k=3))
said["first"] = load("me/model", revision=sys.argv[1]).users is None
said["branch"] = type(load("me/model", revision="ease").method).__name__
said["elsewhere"] = type(load("me/model", cache_dir=sys.argv[2], token="hf_secret").method).__name__
said["stranger"] = error(lambda: load("me/model", cache_dir=sys.argv[3], token="hf_wrong"))
said["revision"] = error(lambda: load("me/model", revision="nowhere"))
said["nobody"] = error(lambda: load("me/nothing"))
said["not ours"] = error(lambda: load("me/bare"))
said["damaged"] = error(lambda: load("me/damaged"))
said["cached"] = load("me/model", local_files_only=True).recommend(history=[100], k=3)
said["not cached"] = error(lambda: load("me/other", local_files_only=True))
"""

OFFLINE = """
load = hr.Recommender.from_pretrained
said["answer"] = load("me/model").recommend(history=[100], k=3)
said["branch"] = type(load("me/model", revision="ease").method).__name__
said["not here"] = error(lambda: load("me/other"))
"""


@pytest.fixture(scope="module")
def pushed(tmp_path_factory):
    with Hub() as hub:
        said = python(PUSH, tmp_path_factory.mktemp("pusher"), HF_ENDPOINT=hub.url, HF_TOKEN=hub.token)
        yield hub, said


def test_push(pushed):
    hub, said = pushed
    model = hub.repositories["me/model"]
    assert model.private
    first, second = (said[name].rpartition("/")[2] for name in ("url", "again"))
    assert said["url"] == f"{hub.url}/me/model/commit/{first}"
    assert model.branches["main"] == second
    assert "users.parquet" not in model.commits[first]  # left out unless asked for
    assert {"users.parquet", "README.md", "model_index.json", "method/model.safetensors"} <= model.commits[second].keys()
    assert b'from_pretrained("me/model")' in model.commits[second]["README.md"]
    assert said["no token"].startswith("cannot push to 'me/other'")
    assert "me/other" not in hub.repositories


def test_load_then_go_offline(pushed, tmp_path):
    hub, told = pushed
    model = hub.repositories["me/model"]
    files = dict(model.commits[model.branches["main"]])
    for name, change in (("bare", {"README.md": b"# Bare"}), ("damaged", {**files, "items.parquet": b"PAR1"})):
        hub.repositories[f"me/{name}"] = type(model)()
        hub.repositories[f"me/{name}"].commit("main", change)
    model.commits[model.branches["main"]]["pytorch_model.bin"] = b"\x80\x04\x95 never to be fetched"

    home, first = tmp_path / "home", told["url"].rpartition("/")[2]
    arguments = (first, str(tmp_path / "cache"), str(tmp_path / "stranger"))
    said = python(LOAD, home, *arguments, HF_ENDPOINT=hub.url, HF_TOKEN=hub.token)
    assert said["answer"] == told["answer"]
    assert said["user"] == 3
    assert said["first"]
    assert said["branch"] == "EASE"
    assert said["elsewhere"] == "Popularity"
    assert list((tmp_path / "cache").glob("models--me--model/snapshots/*/model_index.json"))
    assert "no model 'me/model' from the Hub" in said["stranger"]
    assert not list((tmp_path / "stranger").rglob("*.parquet"))
    assert "at revision 'nowhere'" in said["revision"]
    assert "no model 'me/nothing' from the Hub" in said["nobody"]
    assert "model_index.json is missing" in said["not ours"]
    assert "items.parquet is not as it was saved" in said["damaged"]
    assert said["cached"] == told["answer"]
    assert "no model 'me/other' from the Hub" in said["not cached"]
    assert not any("pytorch_model.bin" in call for call in hub.calls)

    calls = len(hub.calls)
    said = python(OFFLINE, home, HF_HUB_OFFLINE="1", HF_ENDPOINT=hub.url)
    assert said["answer"] == told["answer"]
    assert said["branch"] == "EASE"
    assert "no model 'me/other' from the Hub" in said["not here"]
    assert len(hub.calls) == calls
