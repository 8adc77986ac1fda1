"""recipes/embed.py: the same data set, and what each item's text is to a frozen encoder."""

import sys
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from tinytext import tiny_sentences

import hybridrec as hr

RECIPES = Path(__file__).parents[2] / "recipes"
TITLES = ["quiet drama", "space robots", "", "quiet robots"]


@pytest.mark.filterwarnings("ignore")
def test_a_copy_with_embedded_texts(planted, monkeypatch, tmp_path, capsys):
    from sentence_transformers import SentenceTransformer

    encoder = tiny_sentences(tmp_path, TITLES)
    ids = planted.ids["item"].values
    titled = replace(planted, tables={"item": pa.table({"item_id": ids, "title": [TITLES[i % 4] for i in range(40)]})})
    (tmp_path / "item.j2").write_text("{{ title }}")
    monkeypatch.syspath_prepend(str(RECIPES))
    sys.modules.pop("embed", None)
    import embed

    out = tmp_path / "copies" / "planted"
    load = hr.load
    monkeypatch.setattr(hr, "load", lambda name: titled, raising=False)
    monkeypatch.setattr(embed, "TOGETHER", 16)
    argv = ["embed.py", "planted", "--out", str(out), "--encoder", encoder, "--template", str(tmp_path / "item.j2")]
    monkeypatch.setattr(sys, "argv", argv)
    embed.main()
    assert "30 of 40 items have a text of 16 numbers" in capsys.readouterr().out
    copy = load(out)
    feature = copy.features["item"]["text"]
    order = copy.ids["item"].find(ids.tolist())
    assert feature.known[order].tolist() == [bool(TITLES[i % 4]) for i in range(40)]
    direct = torch.tensor(SentenceTransformer(encoder, device="cpu").encode(TITLES))
    expected = torch.stack([direct[i % 4] * bool(TITLES[i % 4]) for i in range(40)])
    assert torch.allclose(feature.values[order], expected, atol=1e-5)
    rows = {tuple(r) for r in zip(copy.ids["user"][copy.train.index[0]], copy.ids["item"][copy.train.index[1]], strict=True)}
    assert rows == {
        tuple(r)
        for r in zip(planted.ids["user"][planted.train.index[0]], planted.ids["item"][planted.train.index[1]], strict=True)
    }
