"""One contract for every baseline."""

import pytest
import torch

import hybridrec as hr
from hybridrec import baselines
from hybridrec.data.batches import Histories, Query
from hybridrec.rows import Recency, UnsolvedError
from hybridrec.saving import load_method, save_method

SMALL = {"IALS": {"dim": 2, "ridge": 1.0}, "PureSVD": {"dim": 2}, "GFCF": {"dim": 2}, "ItemKNN": {"neighbours": 20}}
RIDGE = {name: {"ridge": 20.0} for name in ("EASE", "EDLAE", "CEASE", "AddEASE", "L3AE")}
RIDGE["KrylovEASE"] = {"ridge": 20.0, "tolerance": 1e-6}


def make(name, data, **more):
    torch.manual_seed(0)
    return getattr(baselines, name)(data, **SMALL.get(name, {}), **RIDGE.get(name, {}), **more)


every = pytest.mark.parametrize("name", baselines.__all__)
recent = pytest.mark.parametrize("name", [n for n in baselines.__all__ if n not in ("Popularity", "IALS")])


@every
def test_fit_solves_and_scores_have_their_shape(featured, name):
    method = make(name, featured)
    record = hr.fit(method, featured, progress=False)
    assert record.epochs == 0
    scores = method.score(Query(torch.tensor([3, -1]), Histories.lists([[0, 1], [2]])))
    assert scores.shape == (2, 40)
    assert scores.dtype == torch.float32
    assert torch.isfinite(scores).all()
    if hasattr(method, "catalogue"):
        query = Query(torch.arange(60), featured.histories())
        assert torch.allclose(method.represent(query) @ method.catalogue().T, method.score(query))


@every
def test_a_known_user_and_a_stranger_with_the_same_history_agree(featured, name):
    method = make(name, featured)
    method.solve(featured)
    history = featured.histories()
    known = method.score(Query(torch.arange(60), history))
    assert torch.allclose(method.score(Query(torch.full((60,), -1), history)), known)
    one = torch.tensor([17])  # and alone as in company
    assert torch.allclose(method.score(Query(one, history.take(one))), known[17:18], atol=1e-5)


@every
def test_an_empty_history_and_a_repeat(featured, name):
    method = make(name, featured)
    method.solve(featured)
    empty, once, twice = method.score(Query(torch.full((3,), -1), Histories.lists([[], [5, 7], [7, 5, 7]])))
    assert torch.isfinite(empty).all()
    assert torch.allclose(once, twice, atol=1e-5)


@every
def test_the_planted_structure_is_learnt(featured, name):
    method = make(name, featured)
    method.solve(featured)
    if name == "Popularity":  # which knows no user
        count = torch.bincount(featured.train.index[1], minlength=40)
        assert torch.equal(
            method.score(Query(torch.tensor([0]), featured.histories().take(torch.tensor([0]))))[0], count.float()
        )
        return
    scores = method.score(Query(torch.arange(60), featured.histories()))
    own = (torch.arange(60).unsqueeze(1) % 2 == torch.arange(40) % 2).float()
    seen = featured.histories().dense(40) > 0
    best = scores.masked_fill(seen, -torch.inf).topk(5).indices
    share = own.gather(1, best).mean()
    assert share > 0.75, share  # of the items left, 40% are of the user's own kind


@every
def test_saved_and_loaded_it_scores_alike(featured, name, tmp_path):
    method = make(name, featured)
    method.solve(featured)
    save_method(method, tmp_path, featured.schema)
    again, _ = load_method(tmp_path)
    assert type(again) is type(method)
    assert again.arguments == method.arguments
    query = Query(torch.tensor([3, -1]), Histories.lists([[0, 1], [2, 9, 4]]))
    assert torch.equal(again.score(query), method.score(query))


@recent
def test_recency_makes_the_latest_item_count_most(featured, name, tmp_path):
    plain, recent = make(name, featured), make(name, featured, recency=Recency(0.5))
    plain.solve(featured)
    recent.solve(featured)
    one = plain.score(Query(torch.full((3,), -1), Histories.lists([[3], [8], [5]])))
    both = recent.score(Query(torch.tensor([-1]), Histories.lists([[3, 8, 5]])))
    assert torch.allclose(both[0], 0.25 * one[0] + 0.5 * one[1] + one[2], atol=1e-5)
    save_method(recent, tmp_path, featured.schema)
    again, _ = load_method(tmp_path)
    assert again.recency.decay == 0.5


@every
def test_scores_before_solving_are_an_error(featured, name):
    if name == "Popularity":
        return
    with pytest.raises(UnsolvedError, match="call hybridrec"):
        make(name, featured).score(Query(torch.tensor([0]), Histories.lists([[1]])))


@every
def test_it_is_evaluated_by_full_ranking(featured, name):
    method = make(name, featured)
    method.solve(featured)
    result = hr.evaluate(method, featured)
    assert len(result.users) == 60
    if name != "Popularity":
        assert result.metrics["recall@20"] > 0.6
