"""Each closed form against an independent route on dense matrices."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from hybridrec import linear
from hybridrec.baselines import CEASE, EASE, EDLAE, GFCF, L3AE, AddEASE, ItemKNN, Popularity, PureSVD
from hybridrec.data.batches import Histories, Query
from hybridrec.data.dataset import Feature
from hybridrec.errors import DataError
from hybridrec.rows import Recency


@pytest.fixture
def x(planted):
    return linear.interactions(planted).toarray().astype(np.float64)


@pytest.fixture
def f(featured):
    return linear.features(featured, "text").double().numpy()


def everyone(data):
    return Query(torch.arange(data.sides["user"]), data.histories())


def scores(method, data):
    method.solve(data)
    return method.score(everyone(data)).numpy()


def ease(gram, ridge):
    """Column by column: no inverse of the whole matrix, and no formula for the diagonal."""
    n = len(gram)
    b = np.zeros((n, n))
    for j in range(n):
        rest = np.arange(n) != j
        b[rest, j] = np.linalg.solve((gram + np.diag(np.broadcast_to(ridge, n)))[np.ix_(rest, rest)], gram[rest, j])
    return b


def test_popularity_counts_training_rows(planted, x):
    assert np.array_equal(scores(Popularity(planted), planted), np.tile(x.sum(0), (60, 1)))


def test_ease_is_the_ridge_regression_of_every_item(planted, x):
    assert np.allclose(scores(EASE(planted, ridge=7), planted), x @ ease(x.T @ x, 7), atol=1e-5)


def test_ease_weights_are_held_in_the_memory_of_the_gram_matrix(planted, monkeypatch):
    made = []
    monkeypatch.setattr("hybridrec.baselines.ease.gram", lambda x, device: made.append(linear.gram(x, device)) or made[0])
    method = EASE(planted)
    method.solve(planted)
    assert method.weights.data_ptr() == made[0].data_ptr()


def test_edlae_is_ease_with_a_ridge_for_popularity(planted, x):
    gram = x.T @ x
    wanted = x @ ease(gram, 7 + 0.3 / 0.7 * np.diag(gram))
    assert np.allclose(scores(EDLAE(planted, ridge=7, dropout=0.3), planted), wanted, atol=1e-5)


def test_edlae_is_the_denoising_autoencoder_in_expectation(planted, x):
    """Many copies of the rows with entries dropped, predicted from what is left of the other items."""
    random = np.random.default_rng(0)
    copies = 1500
    gram, cross = np.zeros((40, 40)), np.zeros((40, 40))
    for _ in range(copies):
        kept = x * (random.random(x.shape) > 0.3) / 0.7
        gram += kept.T @ kept
        cross += kept.T @ x
    b = np.zeros((40, 40))
    for j in range(40):
        rest = np.arange(40) != j
        b[rest, j] = np.linalg.solve(gram[np.ix_(rest, rest)] / copies + 7 * np.eye(39), cross[rest, j] / copies)
    found = scores(EDLAE(planted, ridge=7, dropout=0.3), planted)
    assert np.abs(found - x @ b).max() < 0.02
    assert np.abs(found - x @ ease(x.T @ x, 7)).max() > 0.05  # and dropout makes a difference


def test_cease_predicts_features_as_further_rows(featured, x, f):
    stacked = np.vstack([x, np.sqrt(3) * f.T])
    wanted = x @ ease(stacked.T @ stacked, 7)
    assert np.allclose(scores(CEASE(featured, ridge=7, weight=3), featured), wanted, atol=1e-5)
    wanted = x @ ease(stacked.T @ stacked, 7 + 0.2 / 0.8 * x.sum(0))
    assert np.allclose(scores(CEASE(featured, ridge=7, weight=3, dropout=0.2), featured), wanted, atol=1e-5)


def test_cease_predicts_words_as_further_rows(featured, x, f):
    """Words of at least three texts, weighted by idf, texts of length 1: dense, from the words themselves."""
    text = [["all", f"kind{i % 2}", f"own{i}", f"few{i % 13}"][: 4 - i % 3] for i in range(40)]
    names = sorted({w for words in text for w in words})
    numbers = torch.zeros(40, 4)
    for i, words in enumerate(text):
        numbers[i, : len(words)] = torch.tensor([names.index(w) + 1.0 for w in words])
    said = Feature(numbers, torch.ones(40, dtype=torch.bool))
    data = replace(featured, features={"item": {**featured.features["item"], "words": said}})
    has = np.array([[w in words for w in names] for words in text], dtype=float)
    s = has * np.where(has.sum(0) >= 3, np.log(40 / has.sum(0)), 0)
    s /= np.maximum(np.linalg.norm(s, axis=1, keepdims=True), 1e-12)
    assert 0 < np.linalg.norm(s, axis=1).mean() <= 1
    stacked = np.vstack([x, np.sqrt(3) * f.T, np.sqrt(5) * s.T])
    wanted = x @ ease(stacked.T @ stacked, 7)
    found = scores(CEASE(data, ridge=7, weight=3, words="words", word_weight=5), data)
    assert np.allclose(found, wanted, atol=1e-5)
    alone = scores(CEASE(data, ridge=7, modality=None, words="words", word_weight=5), data)
    assert np.allclose(alone, x @ ease(x.T @ x + 5 * s @ s.T, 7), atol=1e-5)
    with pytest.raises(DataError, match="words"):
        CEASE(featured, words="words").solve(featured)


def test_addease_is_the_sum_of_two_models(featured, x, f):
    wanted = x @ (0.7 * ease(x.T @ x, 7) + 0.3 * ease(f @ f.T, 2))
    assert np.allclose(scores(AddEASE(featured, ridge=7, feature_ridge=2, mix=0.3), featured), wanted, atol=1e-5)


@pytest.mark.parametrize("ridge", [7, -2])
def test_l3ae_is_ridge_regression_towards_the_feature_weights(featured, x, f, ridge):
    gram, towards = x.T @ x, ease(f @ f.T, 2)
    b = np.zeros((40, 40))
    for j in range(40):
        rest = np.arange(40) != j
        system = gram[np.ix_(rest, rest)] + (ridge + 5) * np.eye(39)
        b[rest, j] = np.linalg.solve(system, gram[rest, j] + 5 * towards[rest, j])
    found = scores(L3AE(featured, ridge=ridge, feature_ridge=2, distil=5), featured)
    assert np.allclose(found, x @ b, atol=1e-5)
    with pytest.raises(ValueError, match="must be positive"):
        L3AE(featured, ridge=-5, distil=5)


def test_itemknn_keeps_the_nearest_of_sklearns_cosine(planted, x, monkeypatch):
    from sklearn.metrics.pairwise import cosine_similarity

    monkeypatch.setattr("hybridrec.baselines.itemknn.BLOCK", 7)
    s = cosine_similarity(x.T)
    np.fill_diagonal(s, 0)
    for j in range(40):
        nearest = np.argsort(-s[:, j].astype(np.float32), kind="stable")[:5]
        s[np.setdiff1d(np.arange(40), nearest), j] = 0
    assert np.allclose(scores(ItemKNN(planted, neighbours=5), planted), x @ s, atol=1e-5)


def test_itemknn_shrinks_similarities_that_rest_on_few_users(planted, x):
    length = np.sqrt(x.sum(0))
    s = x.T @ x / (np.outer(length, length) + 20)
    np.fill_diagonal(s, 0)
    assert np.allclose(scores(ItemKNN(planted, neighbours=40, shrink=20), planted), x @ s, atol=1e-5)


def test_puresvd_is_the_projection_of_scipys_svd(planted, x):
    vt = np.linalg.svd(x)[2][:4]
    method = PureSVD(planted, dim=4)
    assert np.allclose(scores(method, planted), x @ vt.T @ vt, atol=1e-4)
    query = everyone(planted)
    assert torch.allclose(method.represent(query) @ method.catalogue().T, method.score(query))


def test_gfcf_is_the_dense_filter(planted, x):
    users, items = np.diag(x.sum(1) ** -0.5), np.diag(x.sum(0) ** -0.5)
    r = users @ x @ items
    vt = np.linalg.svd(r)[2][:4]
    wanted = x @ (r.T @ r + 0.4 * items @ vt.T @ vt @ np.linalg.inv(items))
    assert np.allclose(scores(GFCF(planted, dim=4, ideal=0.4), planted), wanted, atol=1e-4)


def test_recency_weights_the_row_scored_and_not_the_rows_learned_from(planted, x):
    method = EASE(planted, ridge=7, recency=Recency(0.5))
    method.solve(planted)
    history = Histories.lists([[3, 8, 5]])
    b = ease(x.T @ x, 7)
    wanted = 0.25 * b[3] + 0.5 * b[8] + b[5]
    assert np.allclose(method.score(Query(torch.tensor([-1]), history)), wanted, atol=1e-5)


@pytest.mark.parametrize("cls", [CEASE, AddEASE, L3AE])
def test_a_missing_modality_is_named(planted, cls):
    with pytest.raises(DataError, match="no 'text' features"):
        cls(planted).solve(planted)
