"""The text encoder, on a tiny randomly initialised sentence-transformers model."""

import json
import logging
import math
from types import SimpleNamespace

import pytest
import torch
from tinytext import tiny_sentences
from torch import nn

from hybridrec.encoders import base as module
from hybridrec.encoders.base import DEFAULT, EncoderError
from hybridrec.encoders.text import TextEncoder
from hybridrec.errors import ArtifactError

TEXTS = [
    "a film",
    "toy story . genres : animation",
    "a slow burning crime drama of the seventies",
    "robots",
    "b",
    "a b c d e f",
]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return tiny_sentences(tmp_path_factory.mktemp("tiny"), TEXTS)


@pytest.fixture
def encoder(tiny):
    torch.manual_seed(0)
    made = TextEncoder(tiny, dim=4, rank=2)
    nn.init.normal_(made.projection.weight)
    for p in made.adapter():
        nn.init.normal_(p, std=0.2)
    return made.eval()


def gradients(encoder, texts):
    encoder.zero_grad()
    torch.manual_seed(3)
    out = encoder(encoder.tokenise(texts))
    (out.softmax(0)[:, 0].log().sum() + out.square().sum()).backward()
    return out.detach(), {n: p.grad.clone() for n, p in encoder.named_parameters() if p.grad is not None}


def test_training_begins_at_the_frozen_model(tiny):
    from sentence_transformers import SentenceTransformer

    adapted = TextEncoder(tiny, dim=4).eval()
    frozen = torch.as_tensor(SentenceTransformer(tiny, device="cpu").encode(TEXTS))
    with torch.no_grad():
        torch.testing.assert_close(adapted.sentences(adapted.tokenise(TEXTS)), frozen)
    assert torch.equal(adapted.encode(TEXTS), torch.zeros(len(TEXTS), 4))


def test_order_and_batching_do_not_change_what_a_text_is(encoder):
    together = encoder.encode(TEXTS)
    encoder.chunk = 2
    torch.testing.assert_close(encoder.encode(TEXTS), together)
    torch.testing.assert_close(encoder.encode(TEXTS[::-1]).flip(0), together)
    torch.testing.assert_close(torch.cat([encoder.encode([t]) for t in TEXTS]), together)
    assert encoder.encode([]).shape == (0, 4)


@pytest.mark.parametrize("chunk", [1, 2, 6])
def test_gradient_in_chunks_is_the_gradient_of_one_batch(encoder, chunk):
    encoder.chunk, encoder.hold = 100, 100
    out, whole = gradients(encoder, TEXTS)
    encoder.chunk, encoder.hold = chunk, 0
    same, parts = gradients(encoder, TEXTS)
    torch.testing.assert_close(same, out)
    assert parts.keys() == whole.keys() and len(whole) > 10
    for name, grad in whole.items():
        assert (parts[name] - grad).abs().max() < 1e-4 * grad.abs().max(), name


def test_recomputed_chunks_drop_the_same_units(encoder):
    encoder.train()
    encoder.chunk, encoder.hold = 2, 100
    out, kept = gradients(encoder, TEXTS)
    encoder.hold = 0
    same, again = gradients(encoder, TEXTS)
    torch.testing.assert_close(same, out)
    for name, grad in kept.items():
        assert (again[name] - grad).abs().max() < 1e-4 * grad.abs().max(), name


def saved_for_backward(encoder, texts):
    held = 0

    def count(x):
        nonlocal held
        held += x.numel()
        return x

    with torch.autograd.graph.saved_tensors_hooks(count, lambda x: x):
        encoder(texts)
    return held


def test_many_texts_are_held_in_the_memory_of_few(encoder):
    # What does not depend on the number of texts (weights that autograd refers to) is taken off by a second measurement.
    encoder.chunk = 64
    few, many = encoder.tokenise(TEXTS[:1] * 64), encoder.tokenise(TEXTS[:1] * 1024)
    encoder.hold = 64
    held = saved_for_backward(encoder, few)
    assert saved_for_backward(encoder, many) < 1.5 * held
    encoder.hold = 2048
    assert saved_for_backward(encoder, many) > 5 * held


def test_only_the_adapter_and_the_projection_learn(tiny):
    encoder = TextEncoder(tiny, dim=4, rank=2, layers=1, targets=["query", "value"])
    learning = {n for n, p in encoder.named_parameters() if p.requires_grad}
    assert {n for n in learning if n.startswith("projection.")} == {"projection.weight", "projection.bias"}
    rest = {n for n in learning if not n.startswith("projection.")}
    assert len(rest) == 4 and all("lora_" in n and ".layer.2." in n for n in rest)
    assert TextEncoder(tiny, dim=4, rank=0).adapter() == []


def test_an_ending_that_no_layer_has_is_named(tiny):
    with pytest.raises(EncoderError, match=r"q_proj.*attention\.self\.query"):
        TextEncoder(tiny, targets=["q_proj"])


@pytest.mark.parametrize("extra", [{}, {"rslora": True}, {"dora": True}, {"rank": 0}])
def test_saved_and_loaded_it_says_the_same(tiny, tmp_path, extra):
    encoder = TextEncoder(tiny, dim=4, **{"rank": 3, **extra})
    nn.init.normal_(encoder.projection.weight)
    for p in encoder.adapter():
        nn.init.normal_(p, std=0.2)
    encoder.save(tmp_path / "saved")
    torch.testing.assert_close(TextEncoder.load(tmp_path / "saved").encode(TEXTS), encoder.encode(TEXTS))
    assert {p.suffix for p in (tmp_path / "saved").rglob("*") if p.is_file()} <= {".json", ".safetensors", ".md"}


@pytest.mark.parametrize(("rslora", "scale"), [(False, 6 / 3), (True, 6 / math.sqrt(3))])
def test_the_adapter_adds_its_scaled_product(tiny, rslora, scale):
    encoder = TextEncoder(tiny, rank=3, alpha=6.0, rslora=rslora).eval()
    layer = encoder.inner.encoder.layer[0].attention.self.query
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    nn.init.normal_(b)
    x = torch.randn(5, 16)
    torch.testing.assert_close(layer(x), layer.base_layer(x) + scale * x @ a.T @ b.T)


def test_the_adapter_loads_in_plain_sentence_transformers(encoder, tiny, tmp_path):
    from sentence_transformers import SentenceTransformer

    encoder.save(tmp_path / "saved")
    plain = SentenceTransformer(tiny, device="cpu")
    plain.load_adapter(str(tmp_path / "saved" / "adapter"))
    with torch.no_grad():
        torch.testing.assert_close(torch.as_tensor(plain.encode(TEXTS)), encoder.sentences(encoder.tokenise(TEXTS)))
    assert json.loads((tmp_path / "saved/adapter/adapter_config.json").read_text())["base_model_name_or_path"] == tiny


def test_what_is_missing_or_damaged_is_named(encoder, tmp_path):
    encoder.save(tmp_path / "saved")
    for name in ("config.json", "projection.safetensors", "adapter/adapter_model.safetensors"):
        whole = (tmp_path / "saved" / name).read_bytes()
        (tmp_path / "saved" / name).write_bytes(whole[: len(whole) // 2])
        with pytest.raises(ArtifactError, match=name):
            TextEncoder.load(tmp_path / "saved")
        (tmp_path / "saved" / name).write_bytes(whole)
    config = json.loads((tmp_path / "saved/config.json").read_text())
    config["arguments"]["rank"] = 5
    (tmp_path / "saved/config.json").write_text(json.dumps(config))
    with pytest.raises(ArtifactError, match="adapter_model"):
        TextEncoder.load(tmp_path / "saved")


def test_texts_differ_by_their_words(encoder):
    assert torch.pdist(encoder.encode(["a b", "b c", "a film"])).min() > 0.1


def test_long_texts_are_cut(tiny):
    encoder = TextEncoder(tiny, dim=4, tokens=5)
    assert encoder.tokenise(["a b c d e f a b c", "a"]).lengths.tolist() == [5, 3]


def test_the_default_comes_from_the_package_where_no_hub_answers(caplog, monkeypatch, tiny):
    found = SimpleNamespace(submodule_search_locations=["/somewhere"])
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: found if name == module.PACKAGE else None)
    opened = []
    monkeypatch.setattr("sentence_transformers.SentenceTransformer", lambda path, **_: opened.append(path))
    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", _no_answer)
    with caplog.at_level(logging.WARNING):
        module.load_base(DEFAULT)
    assert opened == ["/somewhere/model"] and module.PACKAGE in caplog.text
    with pytest.raises(EncoderError, match="some/other"):
        module.load_base("some/other")
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EncoderError, match=r"hybridrec\[demo\]"):
        module.load_base(DEFAULT)


def test_the_hub_comes_first(caplog, monkeypatch):
    opened = []
    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", lambda *_, **__: None)
    monkeypatch.setattr("sentence_transformers.SentenceTransformer", lambda path, **_: opened.append(path))
    with caplog.at_level(logging.INFO):
        module.load_base(DEFAULT)
    assert opened == [DEFAULT] and "from the Hub" in caplog.text


def _no_answer(*_, **__):
    raise OSError("no network")
