"""recipes/evaluate.py: a saved method or artifact, judged as in memory."""

import json
import sys
from pathlib import Path

import pytest
import torch
from cases import hand, synthetic

import hybridrec as hr
from hybridrec.data.split import ColdItems
from hybridrec.errors import ArtifactError, DataError
from hybridrec.saving import save_method

RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.fixture
def run(planted, monkeypatch, tmp_path, capsys):
    monkeypatch.syspath_prepend(str(RECIPES))
    sys.modules.pop("evaluate", None)
    import evaluate

    def call(*argv, data=planted):
        monkeypatch.setattr(hr, "load", lambda name: data, raising=False)
        monkeypatch.setattr(sys, "argv", ["evaluate.py", "--out", str(tmp_path / "out"), *map(str, argv)])
        evaluate.main()
        return capsys.readouterr().out

    return call


@pytest.fixture
def method(planted):
    torch.manual_seed(0)
    method = hr.LightGCN(planted, dim=8)
    hr.fit(method, planted, epochs=2, seed=5, progress=False)
    return method


def test_a_saved_method(run, method, planted, tmp_path):
    save_method(method, tmp_path / "saved", planted.schema)
    out = run(tmp_path / "saved", "--ks", "5", "20")
    expected = hr.evaluate(method, planted, ks=(5, 20))
    record = json.loads((tmp_path / "out" / "LightGCN-planted-test-full-all.json").read_text())
    assert record["metrics"] == expected.metrics and record["training"] is None
    assert (tmp_path / "out" / "LightGCN-planted-test-full-all.parquet").exists()
    assert f"{expected.metrics['ndcg@20']:.4f}" in out and "passport: " in out


def test_an_artifact_brings_the_record_of_its_training(run, method, planted, tmp_path):
    hr.Recommender(method, planted).save_pretrained(tmp_path / "artifact")
    run(tmp_path / "artifact", "--part", "valid", "--protocol", "train-mask")
    record = json.loads((tmp_path / "out" / "LightGCN-planted-valid-train-mask-all.json").read_text())
    assert record["seed"] == 5 and record["training"]["epochs"] == 2 and record["part"] == "valid"
    assert record["metrics"] == hr.evaluate(method, planted, "valid").metrics


def test_cold_items_among_themselves(run, tmp_path):
    data = ColdItems(valid=0.1, test=0.2)(synthetic())
    save_method(hr.LightGCN(data, dim=8), tmp_path / "saved", data.schema)
    run(tmp_path / "saved", "--candidates", "cold", data=data)
    record = json.loads((tmp_path / "out" / "LightGCN-synthetic-test-full-cold.json").read_text())
    assert record["judged"]["candidates"] == len(data.cold("test")) == 30


def test_other_data_is_refused(run, method, planted, tmp_path):
    save_method(method, tmp_path / "saved", planted.schema)
    hr.Recommender(method, planted).save_pretrained(tmp_path / "artifact")
    with pytest.raises(ArtifactError, match="was made for"):
        run(tmp_path / "saved", data=hand())
    with pytest.raises(ArtifactError, match="other rows or another split"):
        run(tmp_path / "artifact", data=synthetic(users=60, items=40))
    with pytest.raises(DataError, match="--protocol 'fuller' is not one of full, train-mask"):
        run(tmp_path / "saved", "--protocol", "fuller")
