"""The ten lines of the README, run as they stand there, on a small data set under the name they use."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import hybridrec as hr

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def small(tmp_path, monkeypatch):
    """What ``load("ml-100k")`` finds: 80 users of two tastes, 200 films with the ids and columns of MovieLens-100K."""
    random = np.random.default_rng(0)
    rows = [(u, i) for u in range(1, 81) for i in 2 * random.choice(100, 20, replace=False) + 1 + u % 2]
    folder = tmp_path / "small"
    folder.mkdir()
    table = pa.table({"user_id": [u for u, _ in rows], "item_id": [int(i) for _, i in rows], "timestamp": range(len(rows))})
    pq.write_table(table, folder / "interactions.parquet")
    titles = [f"Film {i}" for i in range(1, 201)]
    pq.write_table(pa.table({"item_id": range(1, 201), "title": titles}), folder / "items.parquet")
    monkeypatch.setattr("hybridrec.data.folder.fetch", lambda name, cache=None: folder)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def code(heading: str) -> str:
    """The first block of Python under a heading of the README."""
    section = README.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    found = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert found, heading
    return found[1]


def test_the_ten_lines(small, capsys):
    written = code("Ten lines")
    lines = [line for line in written.splitlines() if line.strip()]
    assert len(lines) <= 10
    names: dict = {}
    exec(compile("\n".join([*lines[:-1], f"answer = {lines[-1]}"]), "README.md", "exec"), names)
    answer = names["answer"]
    printed = capsys.readouterr().out
    assert "ndcg" in printed and "recall" in printed  # a table
    assert isinstance(names["method"], hr.LightGCN)
    assert len(answer) == 10
    assert not {50, 181} & {found.item for found in answer}
    assert all(found.title == f"Film {found.item}" for found in answer)
    assert [found.score for found in answer] == sorted((found.score for found in answer), reverse=True)
    saved = [path.parent for path in small.glob("*/model_index.json")]
    assert len(saved) == 1
    again = hr.Recommender.from_pretrained(saved[0])
    assert again.recommend(history=[50, 181], k=10) == answer
    assert again.recommend(user=7, k=1)[0].item % 2 == 0  # users of odd ids like films of even ids: something was learned


def test_they_need_no_other_name():
    """The first hour knows hr.load, a method, hr.fit, hr.evaluate and hr.Recommender."""
    names = set(re.findall(r"hr\.(\w+)", code("Ten lines")))
    assert names == {"load", "LightGCN", "fit", "evaluate", "Recommender"}
