"""Recommender: what is recommended, by what formula, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from conftest import planted
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from standin import NEW, TEMPLATES, Words, same, titled

import hybridrec as hr
from hybridrec.data.batches import Histories, Query
from hybridrec.data.dataset import Feature
from hybridrec.errors import DataError, QueryError
from hybridrec.foldin import least_squares
from hybridrec.pipeline import Faiss, Recommended


@pytest.fixture(scope="module")
def data():
    return titled(planted())


@pytest.fixture(scope="module")
def dot(data):
    """A method whose scores are products of vectors."""
    torch.manual_seed(0)
    return hr.LightGCN(data, dim=8).eval()


@pytest.fixture(scope="module")
def whole(data):
    """A method that only scores."""
    method = hr.EASE(data, ridge=10.0)
    hr.fit(method, data)
    return method


@pytest.fixture(scope="module", params=["dot", "whole"])
def method(request):
    return request.getfixturevalue(request.param)


def scores_of(method, data, user=None, history=None):
    query = (
        Query(torch.tensor([user]), data.histories().take(torch.tensor([user])))
        if history is None
        else Query(torch.tensor([-1]), Histories.lists([history]))
    )
    with torch.no_grad():
        return method.score(query)[0]


def by_hand(scores, seen, k):
    """The best of a row of scores, in plain Python."""
    order = sorted((i for i in range(len(scores)) if i not in seen), key=lambda i: (-scores[i].item(), i))
    return order[:k]


def closeness(r, texts, trained=40):
    """The weighted mean of two cosines of every item with each of ``texts``, each less the mean, pair by pair."""
    result, total = 0, 0
    for items, other in zip(r.text_vectors, texts, strict=True):
        middle = items[:trained].mean(0)
        pairs = torch.stack([torch.cosine_similarity(items[:trained] - middle, x - middle, dim=1) for x in items[:trained]])
        weight = 1 / pairs.square().mean().sqrt()
        result = result + weight * torch.stack([torch.cosine_similarity(items - middle, x - middle, dim=1) for x in other], 1)
        total = total + weight
    return result / total


def standard(scores):
    return (scores - scores.mean()) / scores.std(correction=0)


def test_known_user(method, data):
    r = hr.Recommender(method, data)
    seen = set(data.histories().take(torch.tensor([3])).item.tolist())
    scores = scores_of(method, data, user=3)
    answer = r.recommend(user="u3", k=5)
    assert [x.item for x in answer] == [100 + i for i in by_hand(scores, seen, 5)]
    assert [x.title for x in answer] == [data.tables["item"]["title"][x.item - 100].as_py() for x in answer]
    assert [x.score for x in answer] == pytest.approx([scores[x.item - 100].item() for x in answer])
    everything = r.recommend(user="u3", k=5, exclude_seen=False)
    assert [x.item for x in everything] == [100 + i for i in by_hand(scores, set(), 5)]
    assert {x.item - 100 for x in r.recommend(user="u3", k=40)} == set(range(40)) - seen  # as many as are left


def test_history_of_an_unseen_user(method, data):
    scores = scores_of(method, data, history=[4, 8])
    for history in ([104, 108], (104, 108), np.array([104, 108]), torch.tensor([104, 108])):
        answer = hr.Recommender(method, data).recommend(history=history, k=6)
        assert [x.item for x in answer] == [100 + i for i in by_hand(scores, {4, 8}, 6)]


def test_several_sources_are_standardised_and_added(method, data):
    r = hr.Recommender(method, data, Words(8), templates=TEMPLATES)
    cosine = closeness(r, r.text.embed(["quiet drama"]))[:, 0]
    alone = r.recommend(prompt="quiet drama", k=40)
    assert [x.item - 100 for x in alone] == by_hand(cosine, set(), 40)
    assert [x.score for x in alone] == pytest.approx([cosine[x.item - 100].item() for x in alone], abs=1e-6)
    assert all("quiet" in x.title for x in alone[:5])
    known, told = scores_of(method, data, user=3), scores_of(method, data, history=[4, 8])
    seen = {4, 8, *data.histories().take(torch.tensor([3])).item.tolist()}
    wanted = 0.5 * standard(known) + 1.0 * standard(told) + 2.0 * standard(cosine)
    mixed = r.recommend("u3", [104, 108], "quiet drama", k=5, weights={"user": 0.5, "prompt": 2})
    assert [x.item - 100 for x in mixed] == by_hand(wanted, seen, 5)
    assert [x.score for x in mixed] == pytest.approx([wanted[x.item - 100].item() for x in mixed], abs=1e-4)


def test_batches_are_their_requests_one_by_one(method, data):
    r = hr.Recommender(method, data, Words(8), templates=TEMPLATES)
    r.engine.together = 3  # more requests than are answered together
    users = ["u1", None, "u3", "u1", None]
    histories = [None, [101], [102, 103], None, [104]]
    prompts = ["robots", "robots", None, None, "quiet"]
    many = r.recommend(users, histories, prompts, k=4)
    for row, asked in zip(many, zip(users, histories, prompts, strict=True), strict=True):
        same(row, r.recommend(*asked, k=4))
    same(r.recommend(user=["u1", "u2"], prompt="robots", k=4)[1], r.recommend("u2", prompt="robots", k=4))
    assert r.recommend(history=[[101]], k=2) == [r.recommend(history=[101], k=2)]
    assert r.recommend(user=[], k=2) == []


def test_recommendations_are_what_is_evaluated(dot, data):
    """The artifact names the very lists that the evaluator ranks (there: train and valid masked, here: train)."""
    result = hr.evaluate(dot, data, "valid", ks=(5,))
    users = data.ids["user"][result.users]
    answers = hr.Recommender(dot, data).recommend(user=users, k=5)
    assert [[x.item - 100 for x in answer] for answer in answers] == result.lists.tolist()


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"user": "nobody"}, "unknown user id: 'nobody'"),
        ({"user": 3}, "unknown user id: 3"),
        ({"history": [100, 999]}, "unknown item id: 999"),
        ({"history": ["100"]}, "unknown item id: '100'"),
        ({"history": []}, "the history is empty"),
        ({"history": [[100], []]}, "request 1: the history is empty"),
        ({"history": [[100], 7]}, "request 1: a history is a list of item ids; found 7"),
        ({"history": "100"}, "history wants a list"),
        ({"history": 100}, "history wants a list"),
        ({"history": [1.5]}, "an id is a string or an integer; found 1.5"),
        ({"user": {"id": 3}}, "an id is a string or an integer"),
        ({"user": True}, "an id is a string or an integer"),
        ({"prompt": ""}, "the prompt is empty"),
        ({"prompt": ["x", " \n"]}, "request 1: the prompt is empty"),
        ({"prompt": 7}, "a prompt is a string; found int"),
        ({}, "nothing to go by"),
        ({"user": ["u1", None]}, "request 1: nothing to go by"),
        ({"user": ["u1", "u2"], "prompt": ["x"]}, r"lists of different lengths: {'user': 2, 'prompt': 1}"),
        ({"user": "u1", "k": 0}, "k must be a whole number of at least 1, not 0"),
        ({"user": "u1", "k": 2.5}, r"not 2\.5"),
        ({"user": "u1", "k": True}, "not True"),
        ({"user": "u1", "k": 41}, "k = 41 is beyond the catalogue of 40 items"),
        ({"user": "u1", "weights": {"users": 1}}, r"weights are of \['user', 'history', 'prompt'\]; found \['users'\]"),
        ({"user": "u1", "weights": {"user": -1}}, "the weight of 'user' must be a positive number"),
        ({"user": "u1", "weights": {"user": float("nan")}}, "the weight of 'user' must be a positive number"),
    ],
)
def test_impossible_requests_are_refused(dot, data, asked, said):
    r = hr.Recommender(dot, data, Words(8), templates=TEMPLATES)
    with pytest.raises(QueryError, match=said):
        r.recommend(**asked)


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(98, 102)
    | st.floats()
    | st.sampled_from(["u1", "x", "", " "])
    | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.just("id"), inner, max_size=1),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def asked(dot, data):
    return hr.Recommender(dot, data, Words(8), templates=TEMPLATES)


@settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(ANYTHING, ANYTHING, ANYTHING, st.integers(1, 40) | ANYTHING)
def test_whatever_is_asked_is_answered_or_refused(asked, user, history, prompt, k):
    try:
        answer = asked.recommend(user, history, prompt, k=k)
    except QueryError:
        return
    assert all(isinstance(x, Recommended) for row in answer for x in ([row] if isinstance(row, Recommended) else row))


def test_prompts_and_new_items_want_a_text_side(dot, data):
    r = hr.Recommender(dot, data)
    with pytest.raises(QueryError, match="no text side"):
        r.recommend(prompt="robots")
    with pytest.raises(QueryError, match="no text side"):
        r.add_items([{"item_id": 1, "title": "x"}])
    with pytest.raises(DataError, match="wants templates"):
        hr.Recommender(dot, data, Words(8))
    with pytest.raises(DataError, match="encoded to 5 dimensions and the item vectors of LightGCN have 8"):
        hr.Recommender(dot, data, Words(5), templates=TEMPLATES)
    with pytest.raises(DataError, match="named by lower-case letters"):
        hr.Recommender(dot, data, templates={"../item": "x"})
    with pytest.raises(DataError, match="3 text vectors for 40 items"):
        hr.Recommender(dot, data, Words(8), templates=TEMPLATES, text_vectors=(torch.ones(40, 12), torch.ones(3, 8)))


def test_a_user_without_training_rows_is_told(dot, data):
    train = data.train.keep(data.train.index[0] != 7)
    r = hr.Recommender(dot, replace(data, relations={"interact": train}))
    with pytest.raises(QueryError, match="user 'u7' has no training rows"):
        r.recommend(user="u7")


def test_templates_are_sandboxed_and_texts_are_not_templates(dot, data):
    evil = "{{ ''.__class__.__mro__ }}"
    for template in (evil, "{{ title + 1 }}", "{{ 1 / 0 }}", "{% for %}"):
        with pytest.raises(DataError, match="cannot be used"):
            hr.Recommender(dot, data, Words(8), templates={"item": template})
    with pytest.raises(DataError, match="'plot' is undefined"):
        hr.Recommender(dot, data, Words(8), templates={"item": "{{ plot }}"})
    words = Words(8)
    r = hr.Recommender(dot, data, words, templates=TEMPLATES)
    r.recommend(prompt=evil, k=1)
    assert words.last == [evil]  # as it was typed


def test_nan_scores_are_an_error(data):
    method = hr.LightGCN(data, dim=4)
    method.nodes.weight.data[0] = float("nan")
    with pytest.raises(QueryError, match="LightGCN scores NaN"):
        hr.Recommender(method, data).recommend(user="u0")


def test_titles_are_named_or_none(dot, data):
    bare = replace(data, tables={})
    assert {x.title for x in hr.Recommender(dot, bare).recommend(user="u1", k=3)} == {None}
    named = replace(data, tables={"item": pa.table({"item_id": range(100, 140), "name": [f"n{i}" for i in range(40)]})})
    assert all(x.title == f"n{x.item - 100}" for x in hr.Recommender(dot, named).recommend(user="u1", k=3))


@pytest.mark.parametrize("form", [NEW, {"item_id": [900, 901], "title": [x["title"] for x in NEW]}, pa.Table.from_pylist(NEW)])
def test_new_items_are_rankable_at_once(method, data, form):
    r = hr.Recommender(method, data, Words(8), templates=TEMPLATES)
    before = r.recommend(user="u3", k=10)
    r.add_items(form)
    assert len(r.items) == 42
    assert r.items.rows(40)[0] == {"item_id": 900, "title": "space robots return", "year": None}
    found = r.recommend(prompt="robots return", k=3)
    assert found[0].item == 900
    assert found[0].title == "space robots return"
    answer = r.recommend(user="u3", k=42)
    assert {900, 901} <= {x.item for x in answer}
    assert [x for x in answer if x.item < 900][:10] == [pytest.approx(x) for x in before]  # the old items stand as they stood
    again = [{"item_id": 902, "title": "robots"}]
    r.add_items(again)
    assert 902 in {x.item for x in r.recommend(prompt="robots", k=10)}
    assert len(r.trained) == 40


def test_a_new_item_stands_where_its_text_puts_it(dot, whole, data):
    """With item vectors, its text vector is its item vector; without, it scores as its neighbours by text do."""
    r = hr.Recommender(dot, data, Words(8), templates=TEMPLATES)
    r.add_items(NEW)
    with torch.no_grad():
        user = dot.represent(Query(torch.tensor([3]), data.histories().take(torch.tensor([3]))))[0]
    wanted = {900 + i: (user @ r.text.embed([x["title"]])[1][0]).item() for i, x in enumerate(NEW)}
    got = {x.item: x.score for x in r.recommend(user="u3", k=42)}
    assert {i: got[i] for i in wanted} == pytest.approx(wanted, abs=1e-6)

    r = hr.Recommender(whole, data, Words(8), templates=TEMPLATES)
    r.add_items(NEW)
    cosines = closeness(r, r.text_vectors)
    scores = scores_of(whole, data, user=3)
    got = {x.item: x.score for x in r.recommend(user="u3", k=42, exclude_seen=False)}
    for n in (40, 41):
        cosine = cosines[:40, n]
        near = cosine.argsort(descending=True, stable=True)[:10]
        assert got[860 + n] == pytest.approx(((cosine[near] * scores[near]).sum() / cosine[near].sum()).item(), abs=1e-5)


def test_a_method_may_place_texts_itself(data):
    """Hybrid maps sentence vectors into its item space; what the text side would say of that is not asked."""
    words = Words(5)  # no width of Hybrid's
    meaning = words.embed(data.tables["item"]["title"].to_pylist())[0]
    told = replace(data, features={"item": {"text": Feature(meaning, torch.ones(40, dtype=torch.bool))}})
    cold = replace(told, relations={"interact": data.train.keep(data.train.index[1] < 38)})
    torch.manual_seed(0)
    method = hr.Hybrid(cold, dim=6, text_dim=8, words=None).eval()
    r = hr.Recommender(method, cold, words, templates=TEMPLATES)
    r.add_items(NEW)
    own = method.catalogue().detach()
    titles = data.tables["item"]["title"].to_pylist()
    new = method.text_vectors(words.embed([x["title"] for x in NEW])[0], [x["title"] for x in NEW])
    torch.testing.assert_close(r.engine.taste.items, torch.cat([own[:38], method.text_vectors(meaning, titles)[38:], new]))
    scores = r.engine.taste.items @ method.represent(Query(torch.tensor([-1]), Histories.lists([[4, 39]])))[0].detach()
    assert [x.item for x in r.recommend(history=[104, 139], k=4)] == r.items.ids[by_hand(scores, {4, 39}, 4)]
    assert r.recommend(prompt="space robots return", k=1)[0].item == 900


def test_a_prompt_guides_a_method_that_denoises(data):
    words = Words(5)
    titles = data.tables["item"]["title"].to_pylist()
    told = replace(data, features={"item": {"text": Feature(words.embed(titles)[0], torch.ones(40, dtype=torch.bool))}})
    torch.manual_seed(0)
    method = hr.Hybrid(told, dim=6, text_dim=8, words=None).eval()
    r = hr.Recommender(method, told, words, templates=TEMPLATES)
    place = method.text_vectors(words.embed(["space robots"])[0], ["space robots"])
    text = torch.cat([place, torch.zeros(1, 6)])
    query = Query(torch.tensor([-1, -1]), Histories.lists([[4, 9], [4, 9]]), text)
    method.guidance, method.steps = 2.5, 3
    with torch.no_grad():
        wanted = method.score(query)
    method.guidance, method.steps = 1.0, 1
    found = r.recommend(history=[[104, 109], [104, 109]], prompt=["space robots", None], k=4, guidance=2.5, steps=3)
    assert [[x.item - 100 for x in answer] for answer in found] == [by_hand(wanted[b], {4, 9}, 4) for b in (0, 1)]
    assert (method.guidance, method.steps) == (1.0, 1)
    assert r.recommend(prompt="space robots", guidance=2.0)[0].item == r.recommend(prompt="space robots")[0].item
    for wrong in ({"steps": 0}, {"steps": True}, {"guidance": -1.0}):
        with pytest.raises(QueryError, match="must be a"):
            r.recommend(history=[104], **wrong)
    with pytest.raises(QueryError, match="EASE does not denoise and has no 'steps'"):
        ease = hr.EASE(data)
        hr.fit(ease, data)
        hr.Recommender(ease, data).recommend(history=[104], steps=2)


def test_a_history_may_name_new_items_where_items_have_vectors(dot, whole, data):
    r = hr.Recommender(dot, data, Words(8), templates=TEMPLATES)
    r.add_items(NEW)
    items = torch.cat([dot.catalogue().detach(), r.text_vectors.place[40:]])
    user = least_squares(Histories.lists([[4, 41]]), items)[0]
    answers = r.recommend(history=[[104, 901], [104]], k=4)
    assert [x.item for x in answers[0]] == [r.items.ids[[i]][0] for i in by_hand(items @ user, {4, 41}, 4)]
    assert [x.item for x in answers[1]] == [x.item for x in r.recommend(history=[104], k=4)]
    r = hr.Recommender(whole, data, Words(8), templates=TEMPLATES)
    r.add_items(NEW)
    with pytest.raises(QueryError, match="added after training, and EASE reads only"):
        r.recommend(history=[104, 901])


def test_items_without_training_rows_are_known_by_their_text(data):
    """A vector that nothing was learned for says nothing: cold items stand where new ones would."""
    cold = replace(data, relations={"interact": data.train.keep(data.train.index[1] < 38)})
    method = hr.LightGCN(cold, dim=8).eval()
    r = hr.Recommender(method, cold, Words(8), templates=TEMPLATES)
    learned = method.catalogue().detach()
    assert torch.equal(r.engine.taste.items, torch.cat([learned[:38], r.text_vectors.place[38:]]))
    user = least_squares(Histories.lists([[4, 39]]), r.engine.taste.items)[0]
    answer = r.recommend(history=[104, 139], k=4)
    assert [x.item - 100 for x in answer] == by_hand(r.engine.taste.items @ user, {4, 39}, 4)
    bare = hr.Recommender(method, cold)  # without texts there is nothing better than what the method has
    assert torch.equal(bare.engine.taste.items, learned)
    assert [x.item for x in bare.recommend(history=[104, 139], k=4)] == [
        100 + i for i in by_hand(scores_of(method, cold, history=[4, 39]), {4, 39}, 4)
    ]

    ease = hr.EASE(cold, ridge=10.0)
    hr.fit(ease, cold)
    r = hr.Recommender(ease, cold, Words(8), templates=TEMPLATES)
    scores = {x.item: x.score for x in r.recommend(history=[104], k=40, exclude_seen=False)}
    cosine = closeness(r, r.text_vectors, 38)[:38, 39]
    near = cosine.argsort(descending=True, stable=True)[:10]
    own = scores_of(ease, cold, history=[4])
    assert own[39] == 0  # to EASE it is nothing
    assert scores[139] == pytest.approx(((cosine[near] * own[near]).sum() / cosine[near].sum()).item(), abs=1e-5)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ([{"item_id": 105, "title": "x"}], "row 1: item 105 is in the catalogue already"),
        ([{"item_id": 1, "title": "x"}, {"item_id": 1, "title": "y"}], "row 2: item 1 is given twice"),
        ([{"item_id": "1", "title": "x"}], "row 1: '1' is no int"),
        ([{"item_id": None, "title": "x"}], "row 1: None is no int"),
        ([{"item_id": True, "title": "x"}], "row 1: True is no int"),
        ([{"title": "x"}], r"no column 'item_id' \(found: title\)"),
        ([{"item_id": 1, "colour": "x"}], r"unknown columns \['colour'\]"),
        ([{"item_id": 1, "title": 5}], "column 'title': wanted cells of type string"),
        ([{"item_id": 1, "year": "x"}], "column 'year': wanted cells of type int64"),
        ({"item_id": [1, 2], "title": ["x"]}, "columns of different lengths"),
        ({"item_id": 1, "title": "x"}, "give a list of one row"),
        (["x"], "found 'x'"),
        (5, "found 5"),
    ],
)
def test_bad_new_items_change_nothing(dot, data, table, said):
    r = hr.Recommender(dot, data, Words(8), templates=TEMPLATES)
    with pytest.raises(DataError, match=said):
        r.add_items(table)
    assert len(r.items) == len(r.text_vectors.place) == 40


def test_nothing_new_is_no_change(dot, data):
    r = hr.Recommender(dot, data, Words(8), templates=TEMPLATES)
    for table in ([], {"item_id": [], "title": []}, pa.table({"item_id": pa.array([], pa.int64())})):
        r.add_items(table)
    assert len(r.items) == len(r.text_vectors.place) == 40


def test_faiss_finds_what_exact_search_finds_when_it_probes_every_cell(dot, data, caplog):
    caplog.set_level("INFO", "hybridrec")
    exact = hr.Recommender(dot, data, Words(8), templates=TEMPLATES)
    search = Faiss(cells=4, probes=4)
    near = hr.Recommender(dot, data, Words(8), templates=TEMPLATES, search=search)
    single = {"user": ["u1", "u2", None, None], "history": [None, [105], [104], None], "prompt": [None, None, None, "robots"]}
    mixed = {"user": ["u1", "u2", None], "history": [None, [105], [104, 108]], "prompt": ["robots", None, "quiet two"]}
    for asked in (single, mixed):
        for one, other in zip(exact.recommend(**asked, k=7), near.recommend(**asked, k=7), strict=True):
            same(one, other)
    assert search.recall == 1
    assert "recall@10 against exact search 1.0000" in caplog.text
    near.add_items(NEW)
    assert near.recommend(prompt="robots return", k=1)[0].item == 900


def test_faiss_measures_its_recall_and_answers_in_full(dot, data):
    search = Faiss(cells=10, probes=1)
    r = hr.Recommender(dot, data, search=search)
    answers = r.recommend(user=[f"u{i}" for i in range(20)], k=20)
    assert all(len(answer) == 20 for answer in answers)  # cells hold some 4 items: the rest is found by exact search
    seen = data.histories().take(torch.arange(20))
    for b, answer in enumerate(answers):
        assert not {x.item - 100 for x in answer} & set(seen.take(torch.tensor([b])).item.tolist())
    queries = dot.catalogue().detach()[torch.randperm(40, generator=torch.Generator().manual_seed(0))]
    (index,) = r.engine._indexes.values()
    found = index.near(queries, 10)[1]
    wanted = (queries @ dot.catalogue().detach().T).topk(10).indices
    share = np.mean([len(set(f) & set(w)) / 10 for f, w in zip(found.tolist(), wanted.tolist(), strict=True)])
    assert search.recall == pytest.approx(share)
    assert 0 < search.recall < 1


def test_faiss_wants_item_vectors(whole, data):
    with pytest.raises(QueryError, match="EASE has no item vectors to search among"):
        hr.Recommender(whole, data, search=Faiss())
