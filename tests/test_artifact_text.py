"""The artifact with a real text encoder: a tiny sentence-transformers model with a LoRA adapter and a projection."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from conftest import planted
from standin import NEW, TEMPLATES, same, titled
from tinytext import tiny_sentences
from torch import nn

import hybridrec as hr
from hybridrec.encoders.base import EncoderError
from hybridrec.encoders.text import TextEncoder
from hybridrec.errors import ArtifactError

TEXTS = ["quiet drama two", "space robots return", "one"]


@pytest.fixture(scope="module")
def data():
    return titled(planted())


@pytest.fixture(scope="module")
def base(tmp_path_factory, data):
    return tiny_sentences(tmp_path_factory.mktemp("base"), [*data.tables["item"]["title"].to_pylist(), "return again"])


@pytest.fixture
def artifact(data, base, tmp_path):
    torch.manual_seed(0)
    encoder = TextEncoder(base, dim=8, rank=2)
    nn.init.normal_(encoder.projection.weight)
    for p in encoder.adapter():
        nn.init.normal_(p, std=0.3)
    r = hr.Recommender(hr.LightGCN(data, dim=8), data, encoder, templates=TEMPLATES)
    return r, r.save_pretrained(tmp_path / "artifact")


def test_answers_as_before_and_takes_in_new_items(artifact, tmp_path):
    r, folder = artifact
    again = hr.Recommender.from_pretrained(folder)
    asked = {"user": ["u1", None, "u3"], "history": [None, [101], None], "prompt": [None, "robots", "quiet drama"]}
    for one, other in zip(r.recommend(**asked, k=9), again.recommend(**asked, k=9), strict=True):
        same(one, other)
    again.add_items(NEW)
    more = hr.Recommender.from_pretrained(again.save_pretrained(tmp_path / "more"))
    assert more.recommend(prompt="space robots return", k=1)[0].item == 900
    for one, other in zip(more.text.embed(TEXTS), r.text.embed(TEXTS), strict=True):
        assert torch.equal(one, other)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # peft asks transformers for it
def test_the_adapter_alone_loads_in_plain_libraries(artifact, base):
    from peft import PeftModel
    from sentence_transformers import SentenceTransformer
    from transformers import AutoModel, AutoTokenizer

    r, folder = artifact
    adapter = folder / "text_encoder" / "adapter"
    assert {path.name for path in adapter.iterdir()} >= {"adapter_config.json", "adapter_model.safetensors"}
    with torch.no_grad():
        wanted = r.text.eval().sentences(r.text.tokenise(TEXTS))
    plain = SentenceTransformer(base, device="cpu")
    frozen = torch.as_tensor(plain.encode(TEXTS))
    plain.load_adapter(str(adapter))
    torch.testing.assert_close(torch.as_tensor(plain.encode(TEXTS)), wanted)
    assert not torch.allclose(frozen, wanted, atol=1e-2)  # the adapter does something

    model = PeftModel.from_pretrained(AutoModel.from_pretrained(base), str(adapter)).eval()
    tokens = AutoTokenizer.from_pretrained(base)(TEXTS, padding=True, return_tensors="pt")
    mask = tokens["attention_mask"].unsqueeze(2)
    with torch.no_grad():
        hidden = model(**tokens).last_hidden_state
    torch.testing.assert_close((hidden * mask).sum(1) / mask.sum(1), wanted)


def test_the_hub_is_not_asked_about_the_base_when_the_adapter_is_written_or_read(base, tmp_path):
    """Peft warns, which is an error here, where it looks for the configuration of a base on the Hub and finds no Hub."""
    encoder = TextEncoder(base, dim=8, rank=2)
    encoder.inner.peft_config["default"].base_model_name_or_path = "someone/somewhere"
    encoder.save(tmp_path / "saved")
    again = TextEncoder.load(tmp_path / "saved")
    assert torch.equal(again.embed(TEXTS)[0], encoder.embed(TEXTS)[0])
    config = json.loads((tmp_path / "saved" / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "someone/somewhere"


def test_no_weight_of_the_base_is_saved(artifact):
    from safetensors.torch import load_file

    names = load_file(artifact[1] / "text_encoder" / "adapter" / "adapter_model.safetensors")
    assert names and all("lora_" in name for name in names)
    index = json.loads((artifact[1] / "model_index.json").read_text())
    assert index["text_encoder"] == ["hybridrec.encoders.text", "TextEncoder"]


def test_every_damaged_file_of_the_encoder_is_named(artifact):
    folder = artifact[1]
    files = [path for path in (folder / "text_encoder").rglob("*") if path.is_file()]
    assert len(files) >= 4
    for path in files:
        whole = path.read_bytes()
        for damaged in (b"", whole[:-1], whole[: len(whole) // 2] + b"X" + whole[len(whole) // 2 + 1 :]):
            path.write_bytes(damaged)
            with pytest.raises(ArtifactError, match=path.name):
                hr.Recommender.from_pretrained(folder)
        path.unlink()
        with pytest.raises(ArtifactError, match=f"{path.name} is missing"):
            hr.Recommender.from_pretrained(folder)
        path.write_bytes(whole)
    hr.Recommender.from_pretrained(folder)


def test_without_the_base_histories_are_answered_and_prompts_say_what_is_missing(artifact, base, tmp_path):
    _, folder = artifact
    away = tmp_path / "away"
    shutil.move(base, away)
    try:
        r = hr.Recommender.from_pretrained(folder)
        assert len(r.recommend(history=[101], k=3)) == 3
        with pytest.raises(EncoderError, match="no Hub answers for"):
            r.recommend(prompt="robots")
    finally:
        shutil.move(away, base)
