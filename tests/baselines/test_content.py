"""The frozen controls of text methods."""

from dataclasses import replace

import pyarrow as pa
import pytest
import torch

from hybridrec.baselines.content import Chance, GroupPopularity, HistoryKernel, HistoryMean
from hybridrec.data.batches import Histories, Query
from hybridrec.data.dataset import Dataset, Ids, Relation
from hybridrec.errors import ArgumentError, DataError


@pytest.fixture(name="small")
def _small():
    # Three users, five items; nobody has met items 3 and 4.
    index = torch.tensor([[0, 0, 1, 2, 2, 2], [0, 1, 0, 0, 1, 2]])
    return Dataset({"user": Ids(range(3)), "item": Ids(range(5))}, {"interact": Relation("user", "item", index)}, "interact")


def query(*histories):
    return Query(torch.full((len(histories),), -1), Histories.lists(histories))


def test_history_mean_is_the_cosine_with_the_centred_mean(small):
    x = torch.randn(5, 4)
    method = HistoryMean(small, x)
    y = x - x[:3].mean(0)
    y = y / y.norm(dim=1, keepdim=True)
    user = y[0] + y[2]
    torch.testing.assert_close(method.score(query([0, 2]))[0], y @ user / user.norm())
    assert torch.equal(method.score(query([])), torch.zeros(1, 5))


def test_group_popularity_by_hand(small):
    # Counts 3, 2, 1, 0, 0. Group a: items 0 and 1, mean 2.5. Group b: items 1 and 2, mean 1.5.
    groups = [["a"], ["a", "b"], ["b"], ["b", "a", "new"], ["new"]]
    method = GroupPopularity(small, groups)
    assert method.popularity.flatten().tolist() == [2.5, 2.0, 1.5, 2.0, 2.0]
    assert method.score(query([0], [])).tolist() == [[2.5, 2.0, 1.5, 2.0, 2.0]] * 2
    with pytest.raises(DataError, match="2 lists of groups for 5 items"):
        GroupPopularity(small, groups[:2])
    assert GroupPopularity(small, [[]] * 5).popularity.flatten().tolist() == [2.0] * 5


@pytest.mark.parametrize(
    "cells",
    [["a", "a b", "b", "b a new", None], ["a", "a|b", "b", "b|a|new", ""], ["a", "a > b", "b", "b > a > new", "new"],
     [["a"], ["a", "b"], ["b"], ["b", "a", "new"], []]],
)  # fmt: skip
def test_groups_are_read_from_a_column(small, cells):
    told = replace(small, tables={"item": pa.table({"item_id": range(5), "genres": cells})})
    assert GroupPopularity.by(told, "genres").popularity.flatten().tolist() == [2.5, 2.0, 1.5, 2.0, 2.0]
    assert GroupPopularity.by(told, "colour").popularity.flatten().tolist() == [2.0] * 5
    assert GroupPopularity.by(small, "genres").popularity.flatten().tolist() == [2.0] * 5


def test_chance_differs_by_user_and_seed_and_knows_nobody(small):
    asked = Query(torch.tensor([0, 1, -1]), Histories.lists([[0], [0], [0]]))
    one, two = Chance(small).score(asked), Chance(small, seed=1).score(asked)
    assert one.shape == (3, 5) and not torch.equal(one[0], one[1]) and not torch.equal(one, two)
    assert torch.equal(one, Chance(small).score(asked))


def test_kernel_ridge_is_that_of_scikit_learn(planted):
    data = planted
    from sklearn.kernel_ridge import KernelRidge as Reference

    from hybridrec.baselines.content import KernelRidge

    sentences = torch.randn(40, 6, generator=torch.Generator().manual_seed(1))
    space = torch.nn.Module()
    q = torch.randn(40, 3, generator=torch.Generator().manual_seed(2))
    space.catalogue, space.represent = lambda: q, lambda query: q[query.history.item[query.history.offset[:-1]]]
    found = KernelRidge(data, sentences, space, gamma=0.7, ridge=0.4)
    known = data.train.index[1].unique()
    f = HistoryMean(data, sentences).items.numpy()
    wanted = Reference(alpha=0.4, kernel="rbf", gamma=0.7).fit(f[known], (q[known] - q[known].mean(0)).numpy()).predict(f)
    torch.testing.assert_close(found.catalogue(), torch.as_tensor(wanted).float() + q[known].mean(0), atol=1e-5, rtol=1e-5)
    query = Query(torch.tensor([0, -1]), data.histories().take(torch.tensor([0, 1])))
    assert found.score(query).shape == (2, 40)


def test_kernel_is_the_mean_cosine_when_warm_and_the_nearest_when_cold():
    torch.manual_seed(0)
    v = torch.randn(6, 4)
    query = Query(torch.tensor([-1, -1]), Histories(torch.tensor([0, 3, 3]), torch.tensor([0, 2, 5])))
    cosine = torch.nn.functional.cosine_similarity(v[[0, 2, 5]].unsqueeze(1), v.unsqueeze(0), dim=2)
    for t in (0.05, 0.3):
        found = HistoryKernel(v, t).score(query)
        torch.testing.assert_close(
            found[0], t * (torch.logsumexp(cosine / t, 0) - torch.tensor(3.0).log()), atol=1e-5, rtol=1e-5
        )
        assert (found[1] == found[1, 0]).all()
    torch.testing.assert_close(HistoryKernel(v, 1000.0).score(query)[0], cosine.mean(0), atol=1e-3, rtol=1e-3)
    assert HistoryKernel(v, 0.01).score(query)[0].argsort().tolist() == cosine.amax(0).argsort().tolist()
    with pytest.raises(ArgumentError, match="temperature"):
        HistoryKernel(v, 0.0)
