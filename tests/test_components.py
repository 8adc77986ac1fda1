"""A method with a denoiser and a scheduler in a Recommender: what a prompt asks of it, and the files they lie in."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from conftest import planted
from safetensors.torch import load_file, save_file
from standin import TEMPLATES, Words, same, sealed, titled

import hybridrec as hr
from hybridrec.data.batches import Histories, Query
from hybridrec.errors import ArtifactError, QueryError
from hybridrec.pipeline.folder import INDEX
from hybridrec.pipeline.text import TextVectors


def by_hand(scores, seen, k):
    """The best of a row of scores, in plain Python."""
    return sorted((i for i in range(len(scores)) if i not in seen), key=lambda i: -scores[i].item())[:k]


@pytest.fixture(scope="module")
def prior():
    """A Recommender of a diffusion prior that reads texts where ``Words(8)`` puts them."""
    data = titled(planted())
    torch.manual_seed(0)
    titles = data.tables["item"]["title"].to_pylist()
    method = hr.DiffusionPrior(data, dim=8, width=8, times=6, steps=2, guidance=1.0)
    torch.nn.init.normal_(method.denoiser.leave.weight)
    method.adopt(data, torch.randn(40, 8), Words(8).embed(titles)[1]).eval()
    return hr.Recommender(method, data, Words(8), templates=TEMPLATES)


def test_a_prompt_alone_is_a_query_of_a_method_that_reads_texts(prior):
    method, place = prior.method, Words(8).embed(["space robots"])[1]
    wording = prior.engine.wish(torch.tensor([0]), TextVectors(*Words(8).embed(["space robots"])), 1.0).query
    likeness = wording @ prior.engine.prompts.items.T

    def scored(steps, guidance):
        method.steps, method.guidance = steps, guidance
        with torch.no_grad():
            found = method.score(Query(torch.tensor([-1]), Histories.lists([[]]), place))
        method.steps, method.guidance = 2, 1.0
        return sum((x - x.mean()) / x.std(correction=0) for x in (found, likeness))[0]

    for steps, guidance in ((None, None), (4, None), (None, 3.0), (5, 2.0)):
        wanted = by_hand(scored(steps or 2, 1.0 if guidance is None else guidance), set(), 6)
        answer = prior.recommend(prompt="space robots", k=6, steps=steps, guidance=guidance)
        assert [x.item - 100 for x in answer] == wanted
    with pytest.raises(QueryError, match="steps must be at most 6"):
        prior.recommend(prompt="space robots", steps=7)
    # With a history: one query where steps or guidance are given, mixed scores where they are not.
    method.steps = 3
    with torch.no_grad():
        wanted = method.score(Query(torch.tensor([-1]), Histories.lists([[4, 9]]), place))[0]
    method.steps = 2
    answer = prior.recommend(history=[104, 109], prompt="space robots", k=5, steps=3)
    assert [x.item - 100 for x in answer] == by_hand(wanted, {4, 9}, 5)
    history = method.fold(Histories.lists([[4, 9]])) @ method.items.T
    mixed = sum((x - x.mean()) / x.std(correction=0) for x in (history, likeness))[0]
    answer = prior.recommend(history=[104, 109], prompt="space robots", k=5)
    assert [x.item - 100 for x in answer] == by_hand(mixed, {4, 9}, 5)


def test_an_artifact_carries_denoiser_and_scheduler_in_diffusers_own_format(prior, tmp_path):
    from diffusers import DDPMScheduler

    from hybridrec.decoders.denoiser import VectorDenoiser

    folder = prior.save_pretrained(tmp_path / "prior")
    index = json.loads((folder / INDEX).read_text())
    assert index["denoiser"] == ["hybridrec.decoders.denoiser", "VectorDenoiser"]
    assert index["scheduler"][1] == "DDPMScheduler"
    denoiser = VectorDenoiser.from_pretrained(folder, subfolder="denoiser")
    scheduler = DDPMScheduler.from_pretrained(folder, subfolder="scheduler")
    given = torch.randn(3, 8), 2, torch.randn(3, 8), torch.randn(3, 8), torch.ones(3, 2)
    with torch.no_grad():
        assert torch.equal(denoiser(*given), prior.method.denoiser(*given))
    assert scheduler.config.prediction_type == "sample" and not scheduler.config.clip_sample
    assert scheduler.config.trained_betas == prior.method.diffusion.scheduler.config.trained_betas
    words = tmp_path / "words"
    loaded = hr.Recommender.from_pretrained(_without_text(folder, words))
    same(loaded.recommend(history=[104], k=4), prior.recommend(history=[104], k=4))


def _without_text(folder, target):
    """The artifact without its text side, whose class only tests have."""
    shutil.copytree(folder, target)
    shutil.rmtree(target / "text_encoder")
    index = json.loads((target / INDEX).read_text())
    index["text_encoder"] = [None, None]
    (target / INDEX).write_text(json.dumps(index))
    sealed(target)
    return target


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("scheduler/scheduler_config.json", {"clip_sample": True}, "does not configure the scheduler"),
        ("denoiser/config.json", {"time_dim": 4}, "does not configure the denoiser"),
        ("denoiser/config.json", {"_class_name": "UNet2DModel"}, "does not configure the denoiser"),
        (INDEX, {"scheduler": ["diffusers", "DDIMScheduler"]}, "names components"),
        (INDEX, {"denoiser": ["builtins", "exec"]}, "names components"),
    ],
)
def test_components_that_are_not_the_methods_are_refused(prior, tmp_path, file, change, message):
    folder = _without_text(prior.save_pretrained(tmp_path / "prior"), tmp_path / "changed")
    (folder / file).write_text(json.dumps(json.loads((folder / file).read_text()) | change))
    sealed(folder)
    with pytest.raises(ArtifactError, match=message):
        hr.Recommender.from_pretrained(folder)


def test_weights_that_are_not_the_methods_are_refused(prior, tmp_path):
    folder = _without_text(prior.save_pretrained(tmp_path / "prior"), tmp_path / "changed")
    path = folder / "denoiser/diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    save_file({name: x + 1 for name, x in tensors.items()}, path)
    sealed(folder)
    with pytest.raises(ArtifactError, match="does not hold the weights"):
        hr.Recommender.from_pretrained(folder)
    path.unlink()
    sealed(folder)
    with pytest.raises(ArtifactError, match="lists no denoiser/"):
        hr.Recommender.from_pretrained(folder)
