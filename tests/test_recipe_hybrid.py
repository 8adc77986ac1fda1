"""The recipes around the hybrid, whole, on planted data: its competitors, its sum with the closed form, rows without order."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from conftest import planted
from tinytext import tiny_sentences

import hybridrec as hr
from hybridrec.data.dataset import Feature
from hybridrec.data.words import word_ids
from hybridrec.data.writing import save_folder
from hybridrec.evaluation import Result

sys.path.insert(0, str(Path(__file__).parent.parent / "recipes"))

import denoise
import embed
import inductive
import opponents
import rows
import zeroshot


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    text = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
    known = torch.ones(40, dtype=torch.bool)
    words = word_ids([f"kind{i % 2} size{i % 5}" for i in range(40)]).float()
    features = {"item": {"text": Feature(text, known), "words": Feature(words, known)}}
    path = tmp_path_factory.mktemp("hybrid") / "tiny"
    save_folder(replace(planted(users=80), features=features), path)
    return path


@pytest.fixture
def call(monkeypatch):
    def called(recipe, *arguments):
        monkeypatch.setattr(sys, "argv", [f"{recipe.__name__}.py", *map(str, arguments)])
        recipe.main()

    return called


def test_competitors_are_tried_on_valid_and_the_best_point_is_judged_on_test(folder, tmp_path, call):
    points = tmp_path / "points.yaml"
    points.write_text(
        "EASE: {points: [{arguments: {ridge: 1.0}}, {arguments: {ridge: 30.0}}]}\n"
        "small: {method: LightGCN, points: [{arguments: {dim: 8, depth: 1}, fit: {epochs: 2, batch_size: 64}}]}\n"
    )
    where = ("--points", points, "--out", tmp_path / "out", "--cells", tmp_path / "cells", "--last")
    call(opponents, folder, "EASE", "small", *where)
    found = json.loads((tmp_path / "out" / "tiny-EASE-0.json").read_text())
    assert len(found["tried"]) == 4
    best = max(found["tried"], key=lambda point: point["valid"])
    assert found["test"]["method"]["arguments"]["ridge"] == best["arguments"]["ridge"]
    assert found["test"]["method"]["arguments"]["recency"]["arguments"]["decay"] == best["recency"]
    assert found["test"]["data"]["rows"]["train"] == 80 * 11 and found["test"]["tuning"]["points"] == 4
    assert json.loads((tmp_path / "out" / "tiny-small-0.json").read_text())["test"]["training"]["epochs"] == 2
    call(opponents, folder, "EASE", *where, "--beside", tmp_path / "cells" / "tiny-small-0")
    first, second = json.loads((tmp_path / "out" / "tiny.json").read_text())
    assert (first["row"], second["row"]) == ("EASE-0", "small-0") and not second["lead"]
    ahead = second["metrics"]["ndcg@20"] - first["metrics"]["ndcg@20"]
    assert first["lead"][0]["value"] == pytest.approx(ahead)


def test_columns_of_the_table_are_words_beside_those_of_the_text(tmp_path, call):
    data = planted(users=12)
    told = {"title": ["Red tea"] * 40, "brand": ["Old Barn"] * 40, "kinds": ["1, 7", "", *["7"] * 38]}
    table = pa.table({"item_id": pa.array(list(range(100, 140))), **told})
    save_folder(replace(data, tables={"item": table}), tmp_path / "plain")
    call(embed, tmp_path / "plain", "--encoder", "", "--columns", "brand", "kinds", "--out", tmp_path / "out")
    found = hr.load(tmp_path / "out").features["item"]["words"].values.long()
    own = word_ids(["Red tea"], labels=[["brand=Old Barn", "kinds=1", "kinds=7"]])
    assert found[0].tolist() == own[0].tolist()
    assert found[1].tolist() == [own[0, 0], *own[0, 3:], 0, 0] and found[2].tolist() == [own[0, 0], *own[0, 2:], 0]


def test_the_sum_with_the_closed_form_is_chosen_on_valid(folder, tmp_path, call, capsys):
    told = ("--kernels", 5, "--word_kernels", 0, 2, "--recencies", 0.7, "--shares", 0.1, 0.5, "--dim", 8, "--epochs", 1)
    call(denoise, folder, *told, "--report", tmp_path / "found.json", "--out", tmp_path / "kept")
    assert capsys.readouterr().out.count("share") == 2
    closed, hybrid, both = json.loads((tmp_path / "found.json").read_text())
    assert [r["row"] for r in (closed, hybrid, both)] == ["closed form 0.7", "hybrid", "hybrid + closed form"]
    assert closed["method"]["arguments"]["words"] in (None, "words") and both["part"] == "valid"


def test_a_trained_hybrid_becomes_a_recommender_that_answers_prompts_and_takes_new_items(folder, tmp_path, call):
    tiny = tiny_sentences(tmp_path / "base", ["red tea", "blue cup", "kind"])
    table = pa.table({"item_id": list(range(100, 140)), "title": [("red tea", "blue cup")[i % 2] for i in range(40)]})
    save_folder(replace(planted(users=80, taste=0.95), tables={"item": table}), tmp_path / "plain")
    call(embed, tmp_path / "plain", "--encoder", tiny, "--out", tmp_path / "shop")
    told = ("--final", "--kernels", 5, "--recencies", 0.7, "--dim", 8, "--epochs", 3, "--out", tmp_path / "out")
    call(denoise, tmp_path / "shop", *told, "--encoder", tiny, "--recommender", tmp_path / "artifact")
    with pytest.raises(denoise.DataError, match="name the encoder they were made by"):
        call(denoise, folder, *told, "--encoder", tiny, "--recommender", tmp_path / "never")
    asked = hr.Recommender.from_pretrained(tmp_path / "artifact")
    assert isinstance(asked.method, hr.Hybrid)
    for prompt, kind in (("red tea", 0), ("blue cup", 1)):
        assert {found.item % 2 for found in asked.recommend(prompt=prompt, k=5)} == {kind}
    assert asked.recommend(history=[100, 102], prompt="red tea", guidance=1.0, k=3)
    asked.add_items([{"item_id": 999, "title": "red tea"}])
    ranked = [found.item for found in asked.recommend(prompt="red tea", k=41)]
    assert len(ranked) == 41 and ranked.index(999) < 25


def test_rows_without_order_are_chosen_by_on_valid_or_on_training_pairs_held_out(folder, tmp_path, call, capsys):
    told = ("--words", "words", "--word_kernels", 0, 2, "--variants", "plain", "drop 0.5", "--dim", 8, "--epochs", 1)
    call(rows, folder, *told, "--ridges", 5, "--report", tmp_path / "found.json", "--cells", tmp_path / "cells")
    assert capsys.readouterr().out.count("valid ") == 4 + 2 + 4
    closed, hybrid, both = json.loads((tmp_path / "found.json").read_text())
    assert Result.load(tmp_path / "cells" / "tiny-0-closed-form-+-hybrid").metrics == both["metrics"]
    assert closed["data"]["rows"] == {"train": 800, "valid": 80, "test": 80} and both["part"] == "test"
    assert hybrid["method"]["arguments"]["view"]["class"].endswith("Anywhere")
    data = rows.hr.load(folder)
    inner = rows.with_valid(replace(data, heldout={"test": data.part("test")}))
    assert set(inner.heldout) == {"valid"} and len(inner.train) + len(inner.part("valid")) == 800


def test_cold_items_have_a_sum_with_the_nearest_neighbours_whose_weight_is_chosen_on_other_cold_items(folder, tmp_path, call):
    told = ("--part", "valid", "--dim", 8, "--epochs", 1, "--unseen", 5, "--cold", 1.0, "--cold_read", 0.2)
    call(inductive, folder, *told, "--report", tmp_path / "found")
    found = json.loads((tmp_path / "found-cold.json").read_text())
    assert [r["row"] for r in found] == [
        "frozen text kNN",
        "frozen text, nearest",
        "hybrid",
        "hybrid, nearest",
        "hybrid + frozen, nearest",
    ]
    assert not (tmp_path / "found-prompts.json").exists()


def test_what_a_share_of_the_cold_items_interactions_adds_is_judged_on_the_others(folder, tmp_path, call):
    told = ("--part", "valid", "--dim", 8, "--epochs", 1, "--unseen", 5, "--shown", 0.5)
    call(inductive, folder, *told, "--report", tmp_path / "found")
    *alone, met = json.loads((tmp_path / "found-cold.json").read_text())
    assert met["row"] == "hybrid that met 0.5 of their rows, nearest" and len(alone) == 5
    all_rows = len(inductive.hr.load(folder, split=inductive.ColdItems(seed=0)).part("valid"))
    asked = met["data"]["rows"]["valid"]
    assert 0 < asked < all_rows and all(row["data"]["rows"]["valid"] == asked for row in alone)
    # It trained on what was shown, which is read as nobody's history: the same rows are known of everyone who asks.
    assert met["data"]["rows"]["train"] == alone[0]["data"]["rows"]["train"]
    with pytest.raises(inductive.DataError, match="--shown"):
        call(inductive, folder, "--shown", 1.0)


def test_another_catalogue_is_scored_by_text_in_two_ways_and_in_sums_with_frozen_text(folder, tmp_path, call):
    told = ("--targets", folder, "--sources", folder, "--dim", 8, "--epochs", 1, "--own_epochs", 1, "--out", tmp_path / "kept")
    call(zeroshot, *told, "--shares", 0.5, 1, "--report", tmp_path)
    found = json.loads((tmp_path / "tiny-zeroshot.json").read_text())
    assert [r["row"] for r in found] == [
        "popularity",
        "frozen text kNN",
        "frozen text, nearest",
        "zero-shot from tiny",
        "zero-shot from tiny, nearest",
        "frozen text, nearest + 0.5 of it",
        "frozen text, nearest + 1 of it",
        "trained on it",
    ]
    assert [r["row"] for r in found if not r["lead"]] == ["frozen text, nearest + 0.5 of it"]
    source = tmp_path / "kept" / "tiny"
    call(zeroshot, "--targets", folder, "--sources", source, "--own_epochs", 0, "--shares", 0.5, "--report", tmp_path)
    again = {r["row"]: r["metrics"] for r in json.loads((tmp_path / "tiny-zeroshot.json").read_text())}
    assert again == {r["row"]: r["metrics"] for r in found if r["row"] in again}  # from what was kept, without training
