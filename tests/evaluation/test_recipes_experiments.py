"""recipes/contrast.py and recipes/views.py: tuned once, nested shares, a table and a plot of what was found."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import hybridrec as hr

RECIPES = Path(__file__).parents[2] / "recipes"
SPACES = """
LightGCN:
  arguments: {dim: 4, depth: 1}
  fit: {epochs: 2, batch_size: 512}
SGL:
  arguments: {dim: 4, depth: 1, weight: [0.01, 0.1]}
  fit: {epochs: 2, batch_size: 512}
"""


@pytest.fixture
def recipe(planted, monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(RECIPES))
    for name in ("compare", "plans", "tune", "contrast", "views"):
        sys.modules.pop(name, None)
    monkeypatch.setattr(hr, "load", lambda name: replace(planted, name="planted"), raising=False)
    (tmp_path / "spaces.yaml").write_text(SPACES)

    def call(name, *argv):
        module = __import__(name)
        common = ["--spaces", str(tmp_path / "spaces.yaml"), "--tuned", str(tmp_path / "tuned"), "--trials", "2"]
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *common, "--seeds", "0", "1", "--out", str(tmp_path / name), *argv])
        module.main()
        return tmp_path / name

    return call


def test_thinned_shares_are_nested_and_leave_what_is_held_out(recipe, planted):
    thinned = __import__("views").thinned
    half, fifth = thinned(planted, 0.5), thinned(planted, 0.2)

    def pairs(data):
        return set(map(tuple, data.train.index.T.tolist()))

    assert pairs(fifth) < pairs(half) < pairs(planted)
    assert abs(len(half.train) / len(planted.train) - 0.5) < 0.05
    assert half.heldout is planted.heldout and half.fingerprint != planted.fingerprint
    assert half.split.name == "Thinned" and thinned(planted, 1.0) is planted


def test_experiments_share_what_was_tuned_and_tell_every_run(recipe, tmp_path, capsys):
    out = recipe("contrast")
    found = json.loads((out / "passports.json").read_text())
    assert sorted((p["label"], p["seed"]) for p in found) == [(m, s) for m in ("LightGCN", "SGL") for s in (0, 1)]
    assert all(p["tuning"]["trials"] <= 2 for p in found)
    assert "| SGL |" in (out / "report.md").read_text() and "reference" in (out / "report.md").read_text()
    assert {p.stem for p in (tmp_path / "tuned" / "planted").glob("*.json")} == {"LightGCN", "SGL"}
    capsys.readouterr()

    out = recipe("views", "--methods", "LightGCN", "SGL", "--shares", "0.5", "1.0")
    assert "valid ndcg@20" not in capsys.readouterr().out  # nothing was tuned again
    found = json.loads((out / "passports.json").read_text())
    assert sorted({p["training"]["settings"]["batch_size"] for p in found}) == [256, 512]
    lines = (out / "views.md").read_text().splitlines()
    assert "| ndcg@20 | 50% | 100% |" in lines
    row = next(line for line in lines[lines.index("| ndcg@20 | 50% | 100% |") :] if line.startswith("| SGL"))
    assert row.count("%)") == 2  # how far from LightGCN, at either share
    svg = (out / "views.svg").read_text()
    assert svg.startswith("<?xml") and "<path" in svg
    recipe("views", "--methods", "LightGCN", "SGL", "--shares", "0.5", "1.0")
    assert "seed 0 ..." not in capsys.readouterr().out and (out / "views.svg").read_text() == svg
