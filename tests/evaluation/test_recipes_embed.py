"""recipes/embed.py: the same data set, and what each item's text is to a frozen encoder."""

import sys
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from tinytext import tiny_sentences

import hybridrec as hr
from hybridrec.errors import DataError

RECIPES = Path(__file__).parents[2] / "recipes"
TITLES = ["quiet drama", "space robots", "", "quiet robots"]


def copied(data, monkeypatch, out, *told):
    """The data set that the recipe writes of ``data``."""
    with monkeypatch.context() as patch:
        patch.syspath_prepend(str(RECIPES))
        sys.modules.pop("embed", None)
        import embed

        patch.setattr(hr, "load", lambda name: data, raising=False)
        patch.setattr(embed, "TOGETHER", 16)
        patch.setattr(sys, "argv", ["embed.py", "planted", "--out", str(out), *told])
        embed.main()
    return hr.load(out)


def titled(data, titles, template):
    """The planted data with the four ``titles`` in turn, and a file that renders them."""
    template.write_text("{{ title }}")
    ids = data.ids["item"].values
    return replace(data, tables={"item": pa.table({"item_id": ids, "title": [titles[i % 4] for i in range(40)]})})


def test_texts_along_the_directions_of_their_words(planted, monkeypatch, tmp_path):
    titles = ["cell growth", "cell membrane", "graph colouring", "graph colouring"]
    data = titled(planted, titles, tmp_path / "item.j2")
    told = ["--encoder", "", "--template", str(tmp_path / "item.j2"), "--directions"]
    copy = copied(data, monkeypatch, tmp_path / "two" / "planted", *told, "2")
    values = copy.features["item"]["text"].values[copy.ids["item"].find(data.ids["item"].values.tolist())]
    assert values.shape == (40, 2)
    unit = torch.nn.functional.normalize(values[:4], dim=1)
    alike = unit @ unit.T
    assert alike[2, 3] == pytest.approx(1, abs=1e-5) and alike[0, 1] > 0.9 and alike[:2, 2:].abs().max() < 1e-3
    assert torch.allclose(values[:4], values[36:], atol=1e-5)  # the same titles
    with pytest.raises(DataError, match="wanted 1 to"):
        copied(data, monkeypatch, tmp_path / "many" / "planted", *told, "99")
    with pytest.raises(DataError, match="in the place of an encoder"):
        copied(data, monkeypatch, tmp_path / "both" / "planted", "--encoder", "x", "--directions", "2")


@pytest.mark.filterwarnings("ignore")
def test_a_copy_with_embedded_texts(planted, monkeypatch, tmp_path, capsys):
    from sentence_transformers import SentenceTransformer

    encoder = tiny_sentences(tmp_path, TITLES)
    data = titled(planted, TITLES, tmp_path / "item.j2")
    out, template = tmp_path / "copies" / "planted", str(tmp_path / "item.j2")
    copy = copied(data, monkeypatch, out, "--encoder", encoder, "--template", template)
    assert "30 of 40 items have a text of 16 numbers" in capsys.readouterr().out
    ids = planted.ids["item"].values
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
