"""SASRec with text: what it starts from, and items and prompts that were not there in training."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from conftest import planted

from hybridrec.data.batches import Histories, Query
from hybridrec.data.dataset import Dataset, Feature, Ids
from hybridrec.errors import DataError
from hybridrec.methods import TiedSASRec
from hybridrec.saving import load_method, save_method
from hybridrec.training import fit


@pytest.fixture
def data():
    """Features that tell the two kinds apart."""
    torch.manual_seed(1)
    values = 0.1 * torch.randn(40, 6)
    values[::2, 0] += 1
    values[1::2, 1] += 1
    return replace(
        planted(users=150, taste=0.9), features={"item": {"text": Feature(values, torch.ones(40, dtype=torch.bool))}}
    )


def small(data, **arguments):
    torch.manual_seed(0)
    return TiedSASRec(data, **{"dim": 6, "text_dim": 6, "window": 8, "temperature": 0.2, **arguments}).eval()


def query(*lists, text=None):
    return Query(torch.full((len(lists),), -1), Histories.lists(lists), text)


def test_at_the_start_a_user_is_the_recency_weighted_mean_of_item_vectors(data):
    method = small(data)
    with torch.no_grad():
        method.start.zero_()
        method.outward.weight.zero_()
        found = method.represent(query([3, 4, 9]))
        v = method.items()
    wanted = F.normalize(0.49 * v[3] + 0.7 * v[4] + v[9], dim=0)
    torch.testing.assert_close(found[0], wanted, atol=1e-5, rtol=1e-4)


def test_nothing_later_is_read(data):
    method = small(data)
    with torch.no_grad():
        method.outward.weight.copy_(torch.randn(6, 6))
        vectors = method.items()
        long = method.read(Histories.lists([[40, 1, 2, 3, 9]]), vectors)
        short = method.read(Histories.lists([[40, 1, 2]]), vectors)
    torch.testing.assert_close(long[:3], short, atol=1e-5, rtol=1e-4)


def test_long_and_empty_histories_have_answers(data):
    method = small(data)
    with torch.no_grad():
        scores = method.score(query([], [1, 2, 3, 4, 5, 6, 7], [30, 31, 1, 2, 3, 4, 5, 6, 7]))
    assert scores.isfinite().all() and scores[0].std() > 0
    torch.testing.assert_close(scores[1], scores[2])


def test_with_all_items_as_candidates_or_some_the_loss_is_about_the_same(data):
    method = small(data, dropout=0.0, drop=0.0, cold=0.0).train()
    batch = next(iter(method.sampler(data, batch_size=64, seed=0).epoch(0)))
    whole = method(batch)["next"]
    method.candidates = 39
    torch.manual_seed(0)
    drawn = torch.stack([method(batch)["next"] for _ in range(200)])
    assert abs(drawn.mean() - whole) < 0.05 * whole and drawn.std() > 0


def test_an_item_never_trained_on_has_no_free_part(data):
    method = small(replace(data, relations={"interact": data.train.keep(data.train.index[1] != 8)}))
    text = method.items.of_text(data.features["item"]["text"].values)
    torch.testing.assert_close(method.vectors()[8], text[8], atol=1e-6, rtol=1e-5)
    assert not torch.allclose(method.vectors()[7], text[7], atol=1e-3)


def test_an_item_without_training_rows_is_read_and_ranked_by_its_text(data):
    kept = data.train.index[1] != 8
    unseen = replace(data, relations={"interact": data.train.keep(kept)})
    method = small(unseen, cold=0.5)
    fit(method, unseen, epochs=10, batch_size=16, lr=1e-2, progress=False, every=100)
    with torch.no_grad():
        scores = method.score(query([8], [0, 2, 4]))
    # Item 8 is of the even kind: who chose it wants even items, and who chose even ones is offered it above the odd.
    assert scores[0, ::2].mean() > scores[0, 1::2].mean()
    assert scores[1, 8] > scores[1, 1::2].mean()


def test_another_catalogue_is_ranked_by_its_texts(data):
    method = small(data, cold=0.5)
    fit(method, data, epochs=10, batch_size=16, lr=1e-2, progress=False, every=100)
    torch.manual_seed(5)
    values = 0.1 * torch.randn(20, 6)
    values[:10, 0] += 1
    values[10:, 1] += 1
    feature = Feature(values, torch.ones(20, dtype=torch.bool))
    relation = replace(data.train, index=torch.zeros(2, 0, dtype=torch.int64), time=torch.empty(0))
    ids = {"user": Ids([0]), "item": Ids(range(20))}
    other = method.transfer(Dataset(ids, {"interact": relation}, "interact", features={"item": {"text": feature}}))
    with torch.no_grad():
        scores = other.score(query([0, 1], [12, 15]))
    assert (scores[0].topk(6).indices < 10).all() and (scores[1].topk(6).indices >= 10).all()
    with pytest.raises(DataError, match="no 'text' features of items"):
        method.transfer(Dataset(ids, {"interact": relation}, "interact"))


def test_a_prompt_is_read_beside_a_history_or_alone(data):
    method = small(data)
    text = method.text_vectors(data.features["item"]["text"].values[[0]], [""])
    with torch.no_grad():
        alone = method.represent(query([], text=text))
        torch.testing.assert_close(alone, F.normalize(text, dim=1), atol=1e-5, rtol=1e-4)
        both = method.represent(query([1, 3], text=text))
    assert ((both * alone).sum() > (method.represent(query([1, 3])) * alone).sum()).item()


def test_saved_and_loaded_it_reads_texts_the_same(data, tmp_path):
    method = small(data)
    save_method(method, tmp_path, data.schema)
    loaded, _ = load_method(tmp_path)
    text = data.features["item"]["text"].values
    assert torch.equal(loaded.text_vectors(text, [""] * 40), method.text_vectors(text, [""] * 40))
    with torch.no_grad():
        assert torch.equal(loaded.score(query([1, 2], [])), method.score(query([1, 2], [])))


def test_without_text_there_is_no_vector_for_one(data):
    with pytest.raises(DataError, match="modality=None"):
        small(data, modality=None).text_vectors(torch.ones(1, 6), [""])
