"""recipes/robustness.py: what noise is injected, and the whole recipe on planted data."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

import hybridrec as hr
from hybridrec.data.dataset import Dataset, Ids, Relation
from hybridrec.data.split import pooled
from hybridrec.errors import DataError

RECIPES = Path(__file__).parent.parent / "recipes"


@pytest.fixture
def recipe(planted, monkeypatch):
    monkeypatch.syspath_prepend(str(RECIPES))
    for name in ("compare", "plans", "robustness"):
        sys.modules.pop(name, None)
    monkeypatch.setattr(hr, "load", lambda name, split: split(replace(planted, name="planted")), raising=False)
    return __import__("robustness")


def links(data):
    return list(map(tuple, data.train.index.T.tolist()))


def test_noise_is_nested_unchosen_and_behind_the_entry_it_follows(recipe, planted):
    fifth, half = recipe.noised(planted, 0.2), recipe.noised(planted, 0.5)
    assert recipe.noised(planted, 0.0) is planted
    own = set(links(planted))
    injected = {share: [x for x in links(data) if x not in own] for share, data in ((0.2, fifth), (0.5, half))}
    assert set(injected[0.2]) < set(injected[0.5])
    assert abs(len(injected[0.5]) / len(own) - 0.5) < 0.08 and len(half.train) == len(own) + len(injected[0.5])
    assert not set(injected[0.5]) & set(map(tuple, pooled(planted).index.T.tolist()))
    assert half.heldout is planted.heldout and half.fingerprint != fifth.fingerprint != planted.fingerprint
    assert half.split.name == "Noised" and half.split.arguments["share"] == 0.5 and half.split.arguments["of"]["name"]
    # What is left of a history without the noise is the history, and noise has the time of the entry before it.
    before, after = planted.histories(), half.histories()
    real = torch.tensor([(u, i) in own for u, i in zip(after.rows.tolist(), after.item.tolist(), strict=True)])
    assert torch.equal(after.item[real], before.item) and not real.all()
    place = (~real).nonzero().flatten()
    assert torch.equal(after.time[place], after.time[place - 1]) and real[place - 1].all()
    assert torch.equal(recipe.noised(planted, 0.5).train.index, half.train.index)


def test_without_times_the_order_of_the_file_is_kept(recipe, planted):
    bare = replace(planted, relations={"interact": replace(planted.train, time=None)})
    assert recipe.noised(bare, 0.5).train.time is None
    assert torch.equal(recipe.noised(bare, 0.5).train.index, recipe.noised(planted, 0.5).train.index)


def test_a_user_of_every_item_is_named(recipe):
    full = Relation("user", "item", torch.tensor([[0, 0, 1], [0, 1, 1]]))
    data = Dataset({"user": Ids(range(2)), "item": Ids(range(2))}, {"interact": full}, "interact", name="full")
    with pytest.raises(DataError, match="a user of full chose all 2 items"):
        recipe.noised(data, 0.1)


def test_it_writes_a_table_and_passports_and_makes_no_run_twice(recipe, monkeypatch, tmp_path, capsys):
    plan = yaml.safe_load((RECIPES / "robustness.yaml").read_text())
    assert list(plan) == recipe.METHODS and len({json.dumps(spec["fit"]) for spec in plan.values() if "fit" in spec}) == 1
    short = {"fit": {"epochs": 2, "every": 1}}
    plan = {"SASRec": plan["SASRec"] | short, "AsarRec": plan["AsarRec"] | short, "EASE": plan["EASE"]}
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan))
    argv = ["--methods", *plan, "--plan", str(tmp_path / "plan.yaml"), "--shares", "0", "0.2", "--seeds", "0", "1"]
    argv += ["--metrics", "recall@10", "ndcg@10"]
    argv += ["--out", str(tmp_path / "out"), "--cells", str(tmp_path / "cells")]
    monkeypatch.setattr(sys, "argv", ["robustness.py", *argv])
    recipe.main()
    said = capsys.readouterr().out
    assert said.count("...") == 9 + 12 and said.count("valid ndcg@10") == 9
    tries = json.loads((tmp_path / "out" / "robustness-planted-tries.json").read_text())
    assert [p["part"] for p in tries] == ["valid"] * 9
    found = json.loads((tmp_path / "out" / "robustness-planted.json").read_text())
    assert len(found) == 12 and {p["split"]["name"] for p in found} == {"LeaveOneOut", "Noised"}
    assert {p["protocol"]["name"] for p in found} == {"sequential"} and {p["seed"] for p in found} == {0, 1}
    assert {p["data"]["rows"]["test"] for p in found} == {60}
    tried = {p["tuning"] and p["tuning"]["trials"] for p in found if p["label"] == "AsarRec"}
    weights = {p["method"]["arguments"]["weight"] for p in found if p["label"] == "AsarRec"}
    reached = {p["method"]["arguments"]["weight"]: p["metrics"]["ndcg@10"] for p in tries if p["label"] == "AsarRec"}
    assert (
        tried == {3}
        and weights == {max(reached, key=reached.get)}
        and all(p["tuning"] is None for p in found if p["label"] == "SASRec")
    )
    noisy = [p for p in found if p["split"]["name"] == "Noised"]
    assert all(p["split"]["arguments"] == {"share": 0.2, "seed": 0, "of": found[0]["split"]} for p in noisy)
    lines = (tmp_path / "out" / "robustness-planted.md").read_text().splitlines()
    assert "| ndcg@10 | 0% | 20% |" in lines and "Means over 2 seeds" in "\n".join(lines)
    row = next(line for line in lines[lines.index("| ndcg@10 | 0% | 20% |") :] if line.startswith("| AsarRec"))
    assert row.count("%") == 3  # against SASRec at either share, and since there was no noise
    recipe.main()
    assert "..." not in capsys.readouterr().out
