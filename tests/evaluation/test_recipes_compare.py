"""recipes/compare.py and recipes/plans.py: one report, nothing made twice, failures told and tried again."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
import torch

import hybridrec as hr
from hybridrec.data.dataset import Feature
from hybridrec.errors import DataError
from hybridrec.evaluation import Result, shuffled_text

RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.fixture
def recipe(monkeypatch):
    monkeypatch.syspath_prepend(str(RECIPES))
    for name in ("compare", "plans"):
        sys.modules.pop(name, None)
    import compare

    return compare


@pytest.fixture
def told(planted):
    """The planted data with texts that tell an item's kind."""
    kind = (torch.arange(40) % 2).float()
    values = torch.stack([kind, 1 - kind], 1) + 0.01 * torch.rand(40, 2, generator=torch.Generator().manual_seed(0))
    table = pa.table({"item_id": planted.ids["item"].values, "title": [f"kind {int(k)}" for k in kind]})
    return replace(planted, tables={"item": table}, features={"item": {"text": Feature(values, torch.ones(40).bool())}})


@pytest.fixture
def run(recipe, told, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(hr, "load", lambda name: told, raising=False)

    def call(*argv):
        monkeypatch.setattr(sys, "argv", ["compare.py", "--data", "planted", "--out", str(tmp_path / "out"), *argv])
        recipe.main()
        return capsys.readouterr()

    return call


def cells(folder: Path) -> dict[tuple[str, int], dict]:
    records = [json.loads(p.read_text()) for p in sorted((folder / "out" / "cells").glob("*.json"))]
    return {(r["label"], r["seed"]): r for r in records}


FAST = ("--plan", str(Path(__file__).with_name("plan.yaml")))


def test_a_report_whose_runs_are_made_once(run, tmp_path, monkeypatch):
    methods = ("--methods", "Popularity", "EASE {ridge: 5.0}", "Small", "--seeds", "0", "1", *FAST)
    first = run(*methods)
    found = cells(tmp_path)
    # EASE and Popularity draw nothing, and are made for one seed.
    assert set(found) == {("Popularity", 0), ("EASE {ridge: 5.0}", 0), ("Small", 0), ("Small", 1)}
    assert found["EASE {ridge: 5.0}", 0]["method"]["arguments"]["ridge"] == 5.0
    assert found["Small", 1]["method"]["arguments"]["dim"] == 8 and found["Small", 1]["training"]["epochs"] == 2
    text = (tmp_path / "out" / "report.md").read_text()
    assert (
        text.startswith("# Comparison")
        and text.count("| Small |") == 2
        and "±" in text
        and text.split("\n\n", 1)[1] in first.out
    )
    assert "<svg" in (tmp_path / "out" / "report.html").read_text()

    def never(*args, **kwargs):
        raise AssertionError("a finished run was made again")

    monkeypatch.setattr(hr, "fit", never)
    again = run(*methods)
    assert "seed 0 ..." in first.out and "..." not in again.out and "Failed" not in again.out
    assert (tmp_path / "out" / "report.md").read_text() == text


def test_a_failing_run_is_told_and_tried_again(run, tmp_path, monkeypatch):
    from hybridrec.baselines import EASE

    whole = EASE.solve

    def fail(self, data):
        raise RuntimeError("out of patience")

    monkeypatch.setattr(EASE, "solve", fail)
    methods = ("--methods", "Popularity", "EASE", "--seeds", "0", "--baseline", "EASE")
    run(*methods)
    assert "- planted, EASE, seed 0: RuntimeError: out of patience" in (tmp_path / "out" / "report.md").read_text()
    assert "out of patience" in (tmp_path / "out" / "report.html").read_text()
    assert set(cells(tmp_path)) == {("Popularity", 0)}
    monkeypatch.setattr(EASE, "solve", whole)
    run(*methods)
    text = (tmp_path / "out" / "report.md").read_text()
    assert "Failed" not in text and "against EASE, with" in text and set(cells(tmp_path)) == {("Popularity", 0), ("EASE", 0)}


def test_another_question_is_another_run(run, tmp_path):
    for more in ((), ("--seeds", "3"), ("--part", "valid"), ("--protocol", "train-mask"), ("--metrics", "hit@5")):
        run("--methods", "Small", "--seeds", "0", *FAST, *more)
    assert len(list((tmp_path / "out" / "cells").glob("*.json"))) == 5


def test_tuned_arguments_carry_their_budget(run, told, tmp_path, recipe):
    file = tmp_path / "tuned" / told.name / "EASE.json"
    file.parent.mkdir(parents=True)
    rows = replace(told, tables={}, features={})
    found = {"method": "EASE", "arguments": {"ridge": 2.5}, "fit": {}, "trials": 20, "minutes": 1.25, "metric": "ndcg@20"}
    file.write_text(json.dumps({**found, "data": told.name, "fingerprint": rows.fingerprint}))
    run("--methods", "EASE", "Popularity", "--seeds", "0", "--tuned", str(tmp_path / "tuned"))
    record = cells(tmp_path)["EASE", 0]
    assert record["method"]["arguments"]["ridge"] == 2.5
    assert record["tuning"] == {"trials": 20, "minutes": 1.25, "metric": "ndcg@20"}
    text = (tmp_path / "out" / "report.md").read_text()
    assert "| 20 trials, 1.25 min |" in text and "| none |" in text
    file.write_text(json.dumps({**found, "fingerprint": "of other rows"}))
    with pytest.raises(recipe.PlanError, match="was found on other rows than those of planted; tune again"):
        run("--methods", "EASE", "--tuned", str(tmp_path / "tuned"))


def test_a_plan_may_be_for_one_data_set_alone(run, tmp_path):
    plan = tmp_path / "plan.yaml"
    plan.write_text("planted/Ridge: {method: EASE, arguments: {ridge: 7.0}}\nRidge: {method: EASE, arguments: {ridge: 1.0}}\n")
    run("--methods", "Ridge", "--seeds", "0", "--plan", str(plan))
    assert cells(tmp_path)["Ridge", 0]["method"]["arguments"]["ridge"] == 7.0


def test_a_text_method_beside_its_control(run, tmp_path):
    run("--methods", "CEASE {ridge: 1.0, weight: 50.0}", "--shuffled", "CEASE", "--seeds", "0", "1", "--metrics", "ndcg@10")
    found = cells(tmp_path)
    label = "CEASE {ridge: 1.0, weight: 50.0}"
    assert set(found) == {(label, 0), (f"{label}, shuffled text", 0), (f"{label}, shuffled text", 1)}
    control = found[f"{label}, shuffled text", 0]
    assert control["shuffled_text"] and control["data"]["fingerprint"] == found[label, 0]["data"]["fingerprint"]
    assert control["metrics"]["ndcg@10"] < found[label, 0]["metrics"]["ndcg@10"]


def test_what_cannot_be_asked(run, recipe, tmp_path):
    for argv, words in {
        ("--methods", "NoSuch"): "hybridrec has no method 'NoSuch'",
        ("--methods", "load"): "hybridrec has no method 'load'",
        ("--methods", "EASE {ridge"): "not YAML",
        ("--protocol", "fullest"): "no protocol is called 'fullest'",
        ("--plan", str(tmp_path / "none.yaml")): "cannot be read as YAML",
    }.items():
        with pytest.raises(recipe.PlanError, match=words):
            run("--seeds", "0", *argv)


def test_shuffled_texts_are_the_same_texts_of_other_items(told, planted):
    mixed = shuffled_text(told, seed=1)
    assert mixed.tables["item"]["item_id"].to_pylist() == told.tables["item"]["item_id"].to_pylist()
    titles = mixed.tables["item"]["title"].to_pylist()
    assert (
        sorted(titles) == sorted(told.tables["item"]["title"].to_pylist())
        and titles != told.tables["item"]["title"].to_pylist()
    )
    before, after = told.features["item"]["text"].values, mixed.features["item"]["text"].values
    assert torch.equal(before.sort(0).values, after.sort(0).values) and not torch.equal(before, after)
    # A text and its embedding go to the same item.
    assert [t == "kind 1" for t in titles] == (after[:, 0] > 0.5).tolist()
    assert torch.equal(mixed.train.index, told.train.index)
    with pytest.raises(DataError, match="no text or features of items"):
        shuffled_text(planted)


def test_cells_are_results(run, tmp_path):
    run("--methods", "Popularity", "--seeds", "0")
    path = next((tmp_path / "out" / "cells").glob("*.json"))
    result = Result.load(path.with_suffix(""))
    assert result.per_user["ndcg@20"].mean().item() == pytest.approx(result.metrics["ndcg@20"])
