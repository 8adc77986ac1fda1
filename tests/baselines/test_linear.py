"""Linear algebra of item-to-item models, against numpy and by counting memory."""

import numpy as np
import pytest
import torch

from hybridrec import linear
from hybridrec.errors import DataError


def definite(n, dtype=torch.float32, seed=0):
    torch.manual_seed(seed)
    x = torch.randn(2 * n, n, dtype=torch.float64)
    return (x.T @ x + torch.eye(n)).to(dtype)


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(linear, "BLOCK", 7)


def test_interactions_count_a_repeat_once(planted):
    from dataclasses import replace

    twice = replace(planted.train, index=planted.train.index.repeat(1, 2), time=None)
    x = linear.interactions(replace(planted, relations={"interact": twice}))
    assert x.shape == (60, 40)
    assert x.dtype == np.float32
    assert x.data.tolist() == [1.0] * len(planted.train)


def test_gram_is_the_dense_product(planted, small_blocks):
    x = linear.interactions(planted)
    assert np.array_equal(linear.gram(x).numpy(), x.toarray().T @ x.toarray())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_inverse_is_written_over_its_matrix(small_blocks, dtype):
    a = definite(40, dtype)
    wanted, place = np.linalg.inv(a.double().numpy()), a.data_ptr()
    a.copy_(a.triu())  # only the upper triangle is read
    result = linear.invert_(a)
    assert result is a
    assert a.data_ptr() == place
    assert np.allclose(a, wanted, rtol=1e-3 if dtype == torch.float32 else 1e-10, atol=1e-6)
    assert torch.equal(a, a.T)


def test_a_matrix_that_is_not_positive_definite_is_refused():
    for a in (torch.tensor([[1.0, 2.0], [2.0, 1.0]]), torch.full((2, 2), torch.nan)):
        with pytest.raises(linear.SingularError, match="raise ridge"):
            linear.invert_(a)


def test_a_catalogue_too_large_is_refused_before_anything_is_made(planted):
    from scipy.sparse import csr_matrix

    with pytest.raises(linear.CatalogueTooLarge, match=r"10,000,000 items needs 372,?529\.0 GiB and [\d.,]+ GiB are free"):
        linear.gram(csr_matrix((3, 10_000_000), dtype=np.float32))


def test_regularise_adds_ridge_and_what_dropout_amounts_to():
    g = torch.tensor([[2.0, 1.0], [1.0, 4.0]])
    assert linear.regularise_(g.clone(), 10).tolist() == [[12, 1], [1, 14]]
    assert linear.regularise_(g.clone(), 10, 0.5).tolist() == [[14, 1], [1, 18]]
    with pytest.raises(ValueError, match="dropout"):
        linear.regularise_(g, 10, 1)


def test_without_self_is_ridge_regression_on_the_other_items():
    torch.manual_seed(0)
    x = torch.randn(30, 6, dtype=torch.float64)
    b = linear.without_self_(linear.invert_(x.T @ x + 2.5 * torch.eye(6, dtype=torch.float64)))
    for j in range(6):
        rest = [i for i in range(6) if i != j]
        wanted = np.linalg.solve((x[:, rest].T @ x[:, rest] + 2.5 * torch.eye(5)).numpy(), (x[:, rest].T @ x[:, j]).numpy())
        assert np.allclose(b[rest, j], wanted)
        assert b[j, j] == 0


def test_features_are_centred_over_known_items_and_of_length_one(featured):
    f = linear.features(featured, "text")
    feature = featured.features["item"]["text"]
    centred = feature.values[1:] - feature.values[1:].mean(0)
    assert torch.allclose(f[1:], centred / centred.norm(dim=1, keepdim=True), atol=1e-6)
    assert f[0].tolist() == [0.0] * f.shape[1]
    with pytest.raises(DataError, match=r"no 'image' features of items \(it has \['text'\]\)"):
        linear.features(featured, "image")


def test_feature_weights_are_ease_of_the_features():
    torch.manual_seed(0)
    f = torch.nn.functional.normalize(torch.randn(20, 5, dtype=torch.float64), dim=1)
    a, c = linear.feature_weights(f.clone(), 0.7)
    wanted = linear.without_self_(linear.invert_(f @ f.T + 0.7 * torch.eye(20, dtype=torch.float64)))
    assert torch.allclose((a @ c.T).fill_diagonal_(0), wanted)


def test_right_vectors_span_the_leading_subspace(planted):
    x = linear.interactions(planted)
    v = linear.right_vectors(x, 5)
    wanted = np.linalg.svd(x.toarray())[2][:5].T
    assert np.allclose(v @ v.T, wanted @ wanted.T, atol=1e-4)
    assert np.allclose(np.abs(v.numpy().T @ wanted), np.eye(5), atol=1e-3)
    assert torch.equal(v, linear.right_vectors(x, 5))
    with pytest.raises(DataError, match="wanted 1 to 39"):
        linear.right_vectors(x, 40)
