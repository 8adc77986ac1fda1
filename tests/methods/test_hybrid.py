"""The hybrid: what it reads, what it is trained on, new items and prompts, each against a direct computation."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F

from hybridrec.data.batches import Histories, Query, Rows
from hybridrec.data.dataset import Feature
from hybridrec.data.words import word_ids
from hybridrec.errors import DataError
from hybridrec.methods.hybrid import Hybrid
from hybridrec.saving import load_method, save_method
from hybridrec.views.absorb import Anywhere, Newest

TITLES = [f"{['red', 'blue', 'green'][i % 3]} {['tea', 'jam'][i % 2]}" for i in range(40)]


@pytest.fixture
def data(planted):
    torch.manual_seed(1)
    values = torch.randn(40, 6) + 1
    known = torch.ones(40, dtype=torch.bool)
    known[7] = False
    words = word_ids(TITLES).float() * known.unsqueeze(1)
    return replace(
        planted, features={"item": {"text": Feature(values * known.unsqueeze(1), known), "words": Feature(words, known)}}
    )


def small(data, **arguments):
    torch.manual_seed(0)
    return Hybrid(data, **{"dim": 5, "text_dim": 4, "vocabulary": 16, **arguments})


def contents(method):
    """Vectors of the items' texts, not yet of length 1."""
    with torch.no_grad():
        torch.manual_seed(2)
        method.items.bag.vectors.normal_()
    return method.items.text @ method.items.map + method.items.bag(method.items.said)


def test_features_are_centred_unit_and_turned_to_their_leading_directions(data):
    method = small(data)
    feature = data.features["item"]["text"]
    centred = F.normalize(feature.values - feature.values[feature.known].mean(0), dim=1) * feature.known.unsqueeze(1)
    u, s, _ = torch.linalg.svd(centred.double())
    torch.testing.assert_close(method.items.text.double().norm(dim=0), s[:4], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(method.items.text.abs().double(), (u[:, :4] * s[:4]).abs(), atol=1e-4, rtol=1e-4)
    assert (method.items.text[7] == 0).all()


def test_every_entry_after_the_first_is_rebuilt_from_what_was_before_it():
    history = Histories.lists([[3, 4, 9], [5], [], [8, 8, 1]])
    target, item, offset, back = Newest()(history)
    assert target.tolist() == [4, 9, 8, 1]
    contexts = [list(zip(item[a:b].tolist(), back[a:b].tolist(), strict=True)) for a, b in pairwise(offset)]
    assert contexts == [[(3, 1)], [(3, 2), (4, 1)], [], [(8, 2), (8, 1)]]  # an item does not tell of itself


def test_the_window_bounds_what_is_read():
    target, item, offset, back = Newest(window=2)(Histories.lists([[1, 2, 3, 4]]))
    assert target.tolist() == [2, 3, 4]
    assert item.tolist() == [1, 1, 2, 2, 3] and back.tolist() == [1, 2, 1, 2, 1] and offset.tolist() == [0, 1, 3, 5]


def test_of_a_long_row_so_many_targets_are_drawn():
    torch.manual_seed(0)
    target, *_ = Newest(targets=10)(Histories.lists([list(range(40))] * 200))
    assert abs(len(target) / 200 - 10) < 1


def test_without_time_an_entry_is_rebuilt_from_all_others():
    history = Histories.lists([[3, 4, 9], [5], [], [8, 8, 1], [2, 6, 7, 10, 11]])
    found = Anywhere(window=3)(history)
    told = {}
    for target, a, b in zip(found.target.tolist(), found.offset[:-1].tolist(), found.offset[1:].tolist(), strict=True):
        told.setdefault(target, []).append(sorted(found.item[a:b].tolist()))
    assert told[3] == [[4, 9]] and told[4] == [[3, 9]] and told[9] == [[3, 4]]
    assert told[8] == [[1], [1]] and told[1] == [[8, 8]] and 5 not in told
    assert all(len(told[i][0]) == 3 and set(told[i][0]) < {2, 6, 7, 10, 11} - {i} for i in (2, 6, 7, 10, 11))
    assert (found.back == 1).all()
    whole = Anywhere().whole(history)
    assert whole.item.tolist() == history.item.tolist() and whole.offset.tolist() == history.offset.tolist()


def test_items_without_training_rows_are_known_by_their_text_and_never_drawn(data):
    cold = replace(data, relations={"interact": data.train.keep(data.train.index[1] < 38)})
    for candidates in (None, 20):
        method = small(cold, candidates=candidates)
        contents(method)
        method.train()(Rows(torch.arange(2), Histories.lists([[3, 4, 9], [5, 6]])))["denoise"].backward()
        assert (method.items.free[38:] == 0).all() and (method.items.free.grad[38:] == 0).all()
        assert (method.items.free.grad[:38] != 0).any()


def test_entries_that_are_read_are_forgotten_in_a_draw_of_their_own(data):
    method = small(data, cold=1.0, cold_read=0.0)
    contents(method)
    items = torch.arange(5)
    vectors, read = method.both(items)
    torch.testing.assert_close(vectors, method.items(torch.ones(5, dtype=torch.bool), items))
    torch.testing.assert_close(read, method.items(None, items))
    alike = small(data, cold=0.5)
    assert (lambda pair: pair[0] is pair[1])(alike.both(items))


def test_scores_are_cosines_of_the_recency_weighted_row(data):
    method = small(data).eval()
    torch.nn.init.zeros_(method.outer.weight)
    v = F.normalize(method.items.free + contents(method), dim=1)
    weighted = 0.49 * v[3] + 0.7 * v[4] + v[9]
    wanted = F.normalize(weighted, dim=0) @ v.T / 0.07
    found = method.score(Query(torch.tensor([-1]), Histories.lists([[3, 4, 9]])))
    torch.testing.assert_close(found[0], wanted)


def test_the_loss_is_the_softmax_of_what_is_scored(data):
    method = small(data, drop=0.0, cold=0.0)
    torch.nn.init.zeros_(method.outer.weight)  # the residual, which has a dropout of its own
    batch = Rows(torch.arange(2), Histories.lists([[3, 4, 9], [5, 6]]))
    torch.manual_seed(0)
    found = method.train()(batch)["denoise"]
    scores = method.eval().score(Query(torch.full((3,), -1), Histories.lists([[3], [3, 4], [5]])))
    torch.testing.assert_close(found, F.cross_entropy(scores, torch.tensor([4, 9, 6])))


def test_rows_of_one_entry_have_a_loss_of_zero_and_a_gradient(data):
    loss = small(data).train()(Rows(torch.arange(2), Histories.lists([[3], [5]])))["denoise"]
    loss.backward()
    assert loss.item() == 0


def test_an_item_known_by_its_text_alone_has_the_vector_of_its_text(data):
    method = small(data).eval()
    with torch.no_grad():
        method.items.free.zero_()
    contents(method)
    values = data.features["item"]["text"].values
    torch.testing.assert_close(method.text_vectors(values[:5], TITLES[:5]), method.catalogue()[:5])


def test_a_prompt_guides_and_stands_alone_without_a_history(data):
    method = small(data).eval()
    prompt = method.text_vectors(torch.randn(2, 6), ["red tea", "something else"])
    history = Histories.lists([[3, 4], []])
    plain = method.represent(Query(torch.tensor([-1, -1]), history))
    asked = method.represent(Query(torch.tensor([-1, -1]), history, prompt))
    text = prompt * 0.07
    torch.testing.assert_close(asked[0], F.normalize(plain[0] + text[0], dim=0))
    torch.testing.assert_close(asked[1], text[1])
    method.guidance = 2.0
    further = method.represent(Query(torch.tensor([-1, -1]), history, prompt))
    torch.testing.assert_close(further[0], 2 * asked[0] - plain[0])


def test_missing_features_are_named(planted):
    with pytest.raises(DataError, match="no 'text' features of items"):
        Hybrid(planted)
    with pytest.raises(DataError, match="modality=None"):
        Hybrid(planted, modality=None, words=None).text_vectors(torch.randn(1, 6), ["tea"])
    with pytest.raises(DataError, match="no 'words' features of items"):
        Hybrid(planted, modality=None)


def test_saved_with_its_text_it_loads_without_data(data, tmp_path):
    method = small(data).eval()
    save_method(method, tmp_path, data.schema)
    loaded, _ = load_method(tmp_path)
    query = Query(torch.tensor([-1]), Histories.lists([[3, 4]]), torch.ones(1, 5))
    assert torch.equal(loaded.score(query), method.score(query))


def test_it_scores_another_catalogue_by_text_alone(data, planted):
    method = small(data).eval()
    contents(method)
    torch.manual_seed(3)
    values, known = torch.randn(40, 6), torch.ones(40, dtype=torch.bool)
    titles = ["red jam", "unheard of", *["blue tea"] * 38]
    there = {"text": Feature(values, known), "words": Feature(word_ids(titles).float(), known)}
    other = method.transfer(replace(planted, features={"item": there}))
    unit = F.normalize(values - values.mean(0), dim=1)
    said = method.items.bag(method.items.bag.find(word_ids(titles)))
    assert (said[1] == 0).all() and (said[0] != 0).all()
    v = F.normalize(unit @ method.items.basis @ method.items.map + said, dim=1)
    torch.testing.assert_close(other.catalogue() * 0.07, v)
    torch.nn.init.zeros_(other.outer.weight)
    found = other.score(Query(torch.tensor([-1]), Histories.lists([[3, 4]])))
    torch.testing.assert_close(found[0], F.normalize(0.7 * v[3] + v[4], dim=0) @ v.T / 0.07)
    assert (method.items.free != 0).any()
    with pytest.raises(DataError, match="no 'text' features"):
        method.transfer(planted)
    with pytest.raises(DataError, match="no catalogue but its own"):
        bare = small(data, modality=None, words=None)
        bare.transfer(planted)


def test_steps_read_what_the_step_before_expected(data):
    method = small(data).eval()
    query = Query(torch.tensor([-1]), Histories.lists([[3, 4]]))
    v = method.catalogue() * 0.07
    first = method.represent(query)
    expected = torch.softmax(first @ v.T / 0.07, 1) @ v
    second = method.residual(0.7 * (0.7 * v[3] + v[4]) + expected, expected)
    method.steps = 2
    torch.testing.assert_close(method.represent(query), (first + second) / 2)


def test_drawn_candidates_give_the_softmax_over_all_as_they_grow(data):
    method = small(data, drop=0.0, temperature=1.0)
    torch.nn.init.zeros_(method.outer.weight)
    contents(method)
    batch = Rows(torch.arange(2), Histories.lists([[3, 4, 9], [5, 6]]))
    whole = method.train()(batch)["denoise"].item()  # fewer items than candidates: all of them
    method.candidates = 30
    drawn = torch.stack([method(batch)["denoise"] for _ in range(400)])
    assert drawn.std() > 0 and drawn.mean().item() == pytest.approx(whole, abs=0.1)
