"""recipes/query.py: one prompt, a file of them, lines typed in; users and histories; what goes wrong ends in one line."""

from __future__ import annotations

import importlib.util
import io
import sys
import types
from pathlib import Path

import pytest
import torch
from conftest import planted
from standin import TEMPLATES, Words, titled

import hybridrec as hr

RECIPES = Path(__file__).parents[1] / "recipes"


@pytest.fixture
def ask(monkeypatch, tmp_path, capsys):
    """Runs the recipe on an artifact whose text side needs no model; gives back what it printed, or its last message."""
    module = types.ModuleType("hybridrec.standin")
    module.Words = type("Words", (Words,), {"__module__": "hybridrec.standin"})
    monkeypatch.setitem(sys.modules, "hybridrec.standin", module)
    torch.manual_seed(0)
    data = titled(planted())
    method = hr.LightGCN(data, dim=8)
    folder = hr.Recommender(method, data, module.Words(8), templates=TEMPLATES).save_pretrained(tmp_path / "artifact")
    monkeypatch.syspath_prepend(str(RECIPES))
    spec = importlib.util.spec_from_file_location("query_recipe", RECIPES / "query.py")
    recipe = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "query_recipe", recipe)
    spec.loader.exec_module(recipe)

    def run(*argv, typed=None):
        monkeypatch.setattr(sys, "argv", ["query.py", "--artifact", str(folder), *argv])
        if typed is not None:
            monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        try:
            recipe.run(recipe.main)
        except SystemExit as end:
            return str(end.code)
        printed = capsys.readouterr()
        run.remarks = printed.err
        return printed.out

    run.recommender = hr.Recommender.from_pretrained(folder)
    return run


def lines(found):
    return [f"{rank:3d}  {x.score:8.4f}  {x.title}" for rank, x in enumerate(found, 1)]


def test_one_prompt(ask):
    wanted = lines(ask.recommender.recommend(prompt="space robots", k=3))
    assert ask("space robots", "--k", "3").splitlines() == wanted
    assert ask("--prompt", "space robots", "--k", "3").splitlines() == wanted


def test_user_history_and_mix(ask):
    r = ask.recommender
    assert ask("--user", "u3").splitlines() == lines(r.recommend(user="u3"))
    assert ask("--history", "104", "108", "--k", "2").splitlines() == lines(r.recommend(history=[104, 108], k=2))
    mixed = r.recommend(user="u3", history=[104], prompt="robots", k=4, weights={"prompt": 2.5})
    out = ask("--user", "u3", "--history", "104", "--prompt", "robots", "--k", "4", "--weight", "2.5")
    assert out.splitlines() == lines(mixed)
    shown = ask("--history", "104", "--no_exclude_seen", "--k", "40")
    assert len(shown.splitlines()) == 40


def test_a_file_of_prompts_and_a_file_of_arguments(ask, tmp_path):
    (tmp_path / "prompts.txt").write_text("space robots\n\nquiet drama\n")
    (tmp_path / "ask.yaml").write_text(f"file: {tmp_path / 'prompts.txt'}\nk: 5\n")
    r = ask.recommender
    wanted = []
    for prompt in ("space robots", "quiet drama"):
        wanted += ["", prompt, *lines(r.recommend(prompt=prompt, k=2))]
    assert ask("--config", str(tmp_path / "ask.yaml"), "--k", "2").splitlines() == wanted


def test_prompts_typed_in(ask):
    out = ask("--k", "2", typed="space robots\n   \nquiet drama\n")
    wanted = ["", "space robots", *lines(ask.recommender.recommend(prompt="space robots", k=2))]
    assert out.splitlines()[:4] == wanted
    assert len(out.splitlines()) == 8
    assert "One line a request" in ask.remarks
    assert ask("--k", "99", typed="robots\n") == ""  # a request that fails is told, and the next may be typed
    assert "error: k = 99 is beyond" in ask.remarks


def test_approximate_search_tells_its_recall(ask):
    exact = ask("space robots", "--k", "3")
    assert not ask.remarks
    assert ask("space robots", "--k", "3", "--approximate") == exact  # 25 cells, all of them searched
    assert "recall@10 against exact search 1.0000" in ask.remarks


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("x", "--user", "nobody"), "error: unknown user id: 'nobody'"),
        (("--history", "7"), "error: unknown item id: 7"),
        (("--history", "seven"), "error: unknown item id: 'seven'"),
        (("x", "--k", "0"), "error: k must be a whole number of at least 1"),
        (("x", "--k", "many"), "2"),
        (("  ",), "error: the prompt is empty"),
        (("x", "--file", "y"), "error: give a prompt or a file of prompts, not both"),
        (("--file", "/no/such/file"), "error: /no/such/file: cannot be read"),
        (("x", "--weight", "-1"), "error: the weight of 'prompt' must be a positive number"),
        (("x", "--artifact", "/no/such/folder"), "error: no folder '/no/such/folder'"),
    ],
)
def test_what_goes_wrong_ends_in_one_line(ask, argv, said):
    assert ask(*argv).startswith(said)


def test_without_an_artifact_it_says_how_to_make_one(ask, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert ask("x", "--artifact", "runs/align").startswith("error: no artifact at runs/align: train one with `make align`")
