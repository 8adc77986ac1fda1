"""Passports say what was done, survive the disk, and hold nothing that JSON cannot."""

import json

import numpy as np
import pytest
import torch
from cases import Table, hand, synthetic

import hybridrec
from hybridrec.errors import ArtifactError
from hybridrec.evaluation import passport as module
from hybridrec.evaluation.protocol import SEQUENTIAL
from hybridrec.evaluation.ranking import evaluate
from hybridrec.evaluation.result import Result
from hybridrec.methods import LightGCN
from hybridrec.training import fit


def test_a_trained_method(planted):
    method = LightGCN(planted, dim=8, depth=1)
    fit(method, planted, epochs=2, batch_size=64, seed=7, progress=False)
    record = evaluate(method, planted, protocol=SEQUENTIAL).passport
    assert record["data"]["name"] == "planted" and record["data"]["fingerprint"] == planted.fingerprint
    assert record["data"]["rows"] == {"train": 600, "valid": 60, "test": 60}
    assert record["data"]["order"] == "time, ties in file order"
    assert record["split"] == {"name": "planted", "arguments": {"seed": 0}}
    assert record["part"] == "test" and record["protocol"]["input"] == ["train", "valid"]
    assert record["method"]["class"] == "hybridrec.methods.lightgcn.LightGCN"
    assert record["method"]["arguments"] == method.arguments and record["method"]["arguments"]["dim"] == 8
    assert record["seed"] == 7 and record["training"]["epochs"] == 2 and record["training"]["seconds"] > 0
    assert record["training"]["settings"]["batch_size"] == 64
    assert record["versions"]["torch"] == torch.__version__ and record["versions"]["hybridrec"] == hybridrec.__version__
    assert record["hardware"]["threads"] == torch.get_num_threads() and record["hardware"]["cpu"]
    assert record["evaluation"]["seconds"] > 0 and record["evaluation"]["peak_memory"] > 1 << 20
    assert record["evaluation"]["processes"] == 1
    assert json.loads(json.dumps(record, allow_nan=False)) == record


def test_a_method_that_fit_never_saw():
    record = evaluate(Table(torch.rand(3, 6)), hand()).passport
    assert record["method"] == {"class": "cases.Table", "arguments": None}
    assert record["seed"] is None and record["training"] is None and record["split"] is None and record["tuning"] is None


def test_the_judged_are_told_apart():
    data, method = synthetic(), Table(torch.rand(200, 150))

    def digest(**how):
        return evaluate(method, data, **how).passport["judged"]["digest"]

    assert digest() == digest(chunk=5)
    assert len({digest(), digest(users=range(100)), digest(candidates=range(100)), digest(candidates=range(50, 150))}) == 4


def test_revision_is_of_the_packages_own_repository(monkeypatch, tmp_path):
    monkeypatch.setattr(module.hybridrec, "__file__", str(tmp_path / "hybridrec" / "__init__.py"))
    (tmp_path / "hybridrec").mkdir()
    assert module.revision.__wrapped__() is None  # installed somewhere that no repository tracks


def test_on_disk_and_back(tmp_path):
    result = evaluate(Table(torch.rand(200, 150)), synthetic())
    result.save(tmp_path / "deep" / "cell")
    again = Result.load(tmp_path / "deep" / "cell")
    assert again.metrics == result.metrics and again.passport == result.passport and again.slices == result.slices
    assert torch.equal(again.users, result.users) and np.array_equal(again.ids, result.ids)
    assert again.per_user.keys() == result.per_user.keys()
    assert all(torch.equal(again.per_user[name], x) for name, x in result.per_user.items())
    assert str(again) == str(result) and "Table on synthetic test, protocol full: 200 users x 150 items" in str(result)


def test_missing_and_damaged_files_are_named(tmp_path):
    with pytest.raises(ArtifactError, match=r"cell\.json is missing"):
        Result.load(tmp_path / "cell")
    evaluate(Table(torch.rand(3, 6)), hand()).save(tmp_path / "cell")
    (tmp_path / "cell.parquet").write_bytes(b"not parquet")
    with pytest.raises(ArtifactError, match=r"cell\.parquet"):
        Result.load(tmp_path / "cell")
    (tmp_path / "cell.json").write_text("{}")
    with pytest.raises(ArtifactError, match="not a saved result"):
        Result.load(tmp_path / "cell")
