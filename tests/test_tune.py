"""recipes/tune.py: spaces, budget, going on after a stop, what is written."""

import json
import sys
from pathlib import Path

import pytest
import torch
import yaml

import hybridrec as hr
from hybridrec.errors import DataError

RECIPES = Path(__file__).parents[1] / "recipes"
optuna = pytest.importorskip("optuna")


@pytest.fixture
def tune(monkeypatch):
    monkeypatch.syspath_prepend(str(RECIPES))
    sys.modules.pop("tune", None)
    import tune

    return tune


@pytest.fixture
def run(tune, planted, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(hr, "load", lambda name: planted, raising=False)

    def call(*argv):
        monkeypatch.setattr(sys, "argv", ["tune.py", "planted", "--out", str(tmp_path), *argv])
        tune.main()
        return capsys.readouterr().out

    return call


def test_every_space_names_a_class_and_its_arguments(tune, planted):
    """All spaces of the file give arguments that their class takes."""
    from hybridrec.saving import build

    for label, space in yaml.safe_load((RECIPES / "spaces.yaml").read_text()).items():
        trial = optuna.create_study().ask()
        arguments = tune.suggest(trial, space["arguments"])
        method = getattr(hr, space.get("method", label))(planted, **build(arguments))
        for name in arguments:
            assert name in method.arguments, f"{label}: {name}"


def test_a_space_becomes_a_point(tune):
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(0)).ask()
    space = {"a": {"low": 1, "high": 4}, "b": {"low": 0.1, "high": 0.2}, "c": ["x", "y"], "d": {"e": 3, "f": None}, "g": "h"}
    point = tune.suggest(trial, space)
    assert isinstance(point["a"], int)
    assert 0.1 <= point["b"] <= 0.2
    assert point["c"] in ("x", "y")
    assert point["d"] == {"e": 3, "f": None}
    assert point["g"] == "h"
    assert set(trial.params) == {"a", "b", "c"}


def test_the_budget_is_spent_once_and_a_larger_one_goes_on(run, tmp_path, planted):
    said = run("--methods", "EASE", "Popularity", "--trials", "3")
    assert said.count("EASE ") == 3
    assert said.count("Popularity ") == 1  # nothing to search
    found = json.loads((tmp_path / "planted" / "EASE.json").read_text())
    assert (found["data"], found["method"], found["trials"], found["metric"]) == ("planted", "EASE", 3, "ndcg@20")
    method = hr.EASE(planted, **found["arguments"])
    hr.fit(method, planted)
    assert hr.evaluate(method, planted, part="valid").metrics["ndcg@20"] == pytest.approx(found["value"])
    assert run("--methods", "EASE", "Popularity", "--trials", "3").count("/3:") == 0
    assert run("--methods", "EASE", "--trials", "5").count("/5:") == 2
    assert json.loads((tmp_path / "planted" / "EASE.json").read_text())["trials"] == 5


def test_only_valid_rows_are_looked_at(run, planted, monkeypatch):
    from dataclasses import replace

    blind = replace(planted, heldout={"valid": planted.heldout["valid"]})
    monkeypatch.setattr(hr, "load", lambda name: blind, raising=False)
    assert "valid ndcg@20" in run("--methods", "EASE", "--trials", "1")


def test_minutes_end_a_search(run):
    assert run("--methods", "EASE", "--trials", "50", "--minutes", "1e-9").count("/50:") == 1


def test_a_trial_that_fails_counts_and_the_search_goes_on(run, tmp_path):
    file = tmp_path / "spaces.yaml"
    file.write_text("PureSVD: {arguments: {dim: [2, 500]}}\nNone: {method: PureSVD, arguments: {dim: [400, 500]}}\n")
    said = run("--methods", "PureSVD", "--trials", "12", "--spaces", str(file))
    assert said.count("/12: 0.") + said.count("/12: failed (dim = 500") == 12
    assert said.count("failed") > 0
    assert json.loads((tmp_path / "planted" / "PureSVD.json").read_text())["arguments"] == {"dim": 2}
    with pytest.raises(Exception, match="all 2 trials of None on planted failed: dim = "):
        run("--methods", "None", "--trials", "2", "--spaces", str(file))


def test_an_unknown_label_is_named(run):
    with pytest.raises(Exception, match=r"no space for \['EAES'\]"):
        run("--methods", "EAES")


def test_a_learned_method_is_trained_as_its_space_says(run, tmp_path):
    file = tmp_path / "spaces.yaml"
    file.write_text("LightGCN: {arguments: {dim: 4, depth: [1, 2]}, fit: {lr: {low: 0.01, high: 0.1}, epochs: 2, every: 1}}\n")
    run("--methods", "LightGCN", "--trials", "1", "--spaces", str(file))
    found = json.loads((tmp_path / "planted" / "LightGCN.json").read_text())
    assert found["fit"]["epochs"] == 2
    assert 0.01 <= found["fit"]["lr"] <= 0.1


def test_a_sample_of_users_judges(tune, planted):
    args = tune.Tune(users=10)
    users = tune.sample(planted, args)
    assert len(users) == 10
    assert torch.equal(users, tune.sample(planted, args))
    assert tune.sample(planted, tune.Tune(users=60)) is None
    with pytest.raises(DataError):
        tune.sample(hr.Dataset.from_schema(planted.schema), args)
