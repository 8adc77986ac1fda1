"""The evaluator by hand, and against a plain loop over users."""

import pytest
import torch
from cases import Table, Vectors, dataset, synthetic
from cases import hand as make_hand

from hybridrec.errors import DataError
from hybridrec.evaluation.protocol import EVERYONE, FULL, SEQUENTIAL, TRAIN_MASK, Protocol, Sampled
from hybridrec.evaluation.ranking import ScoreError, evaluate
from hybridrec.methods import LightGCN


@pytest.fixture
def hand():
    return make_hand()


def plain(data, scores, part="test", mask=("train", "valid"), k=10):
    """Recall@k of each user by sorting all items in Python: {user: (list, recall)}."""
    rows = {p: data.part(p).index.T.tolist() for p in {part, *mask}}
    found = {}
    for user in range(data.sides["user"]):
        seen = {i for p in mask for u, i in rows[p] if u == user}
        wanted = {i for u, i in rows[part] if u == user} - seen
        ranked = sorted((i for i in range(data.sides["item"]) if i not in seen), key=lambda i: (-scores[user][i], i))[:k]
        if wanted:
            found[user] = (ranked, len(wanted & set(ranked)) / len(wanted))
    return found


def test_by_hand(hand):
    scores = torch.tensor([[9.0, 8, 7, 6, 5, 4], [1, 1, 9, 9, 1, 1], [0, 0, 0, 0, 0, 0]])
    result = evaluate(Table(scores), hand, ks=(1, 2))
    # User 0 may be named 3, 4, 5 and wants 4, 5. User 1 may be named 0, 1, 4, 5, all alike, and wants 4 (2 is masked).
    assert result.users.tolist() == [0, 1] and result.ids.tolist() == ["u0", "u1"]
    assert result.lists.tolist() == [[3, 4], [0, 1]]
    assert result.per_user["recall@2"].tolist() == [0.5, 0.0]
    assert result.metrics["recall@1"] == 0.0 and result.metrics["recall@2"] == 0.25
    assert result.metrics["coverage@2"] == pytest.approx(4 / 6)


@pytest.mark.parametrize("levels", [3, 1000])
@pytest.mark.parametrize("part, mask", [("test", ("train", "valid")), ("valid", ("train",)), ("test", ("train",))])
def test_against_a_plain_loop(part, mask, levels):
    data = synthetic()
    scores = torch.randint(levels, (200, 150), generator=torch.Generator().manual_seed(1)).float()
    protocol = Protocol(mask=mask)
    result = evaluate(Table(scores), data, part, ks=(10,), protocol=protocol, chunk=33)
    wanted = plain(data, scores.tolist(), part, mask)
    assert result.users.tolist() == list(wanted)
    assert result.lists.tolist() == [ranked for ranked, _ in wanted.values()]
    assert result.per_user["recall@10"].tolist() == pytest.approx([recall for _, recall in wanted.values()])


def test_products_are_ranked_as_scores_and_in_blocks(monkeypatch):
    data = synthetic(items=3000)
    u, v = torch.randn(200, 8), torch.randn(3000, 8)
    whole = evaluate(Vectors(u, v), data)
    assert torch.equal(whole.lists, evaluate(Table(u @ v.T), data).lists)
    monkeypatch.setattr("hybridrec.evaluation.ranking.SCORES", 256 * 640)
    blocks = evaluate(Vectors(u, v), data)
    assert torch.equal(whole.lists, blocks.lists) and whole.metrics == blocks.metrics
    small = evaluate(Vectors(u, v), data, chunk=7)
    assert torch.equal(whole.lists, small.lists)


def test_candidates_are_ranked_among_themselves(hand):
    scores = torch.tensor([[0.0, 1, 2, 3, 4, 5]]).repeat(3, 1)
    result = evaluate(Table(scores), hand, ks=(2,), candidates=[4, 3, 0])
    assert result.lists.tolist() == [[4, 3], [4, 0]]  # user 0 wants 4 (5 is no candidate), user 1 has 3 masked
    assert result.metrics["recall@2"] == 1.0
    assert result.metrics["coverage@2"] == 1.0
    products = evaluate(Vectors(torch.ones(3, 1), scores[:1].T), hand, ks=(2,), candidates=[4, 3, 0])
    assert torch.equal(products.lists, result.lists)


def test_only_some_users(hand):
    result = evaluate(Table(torch.rand(3, 6)), hand, users=torch.tensor([1, 2]))
    assert result.users.tolist() == [1]
    with pytest.raises(DataError, match="nobody"):
        evaluate(Table(torch.rand(3, 6)), hand, users=[2])
    with pytest.raises(ValueError, match="users must be positions from 0 to 2"):
        evaluate(Table(torch.rand(3, 6)), hand, users=[3])
    with pytest.raises(ValueError, match="candidates must be positions"):
        evaluate(Table(torch.rand(3, 6)), hand, candidates=torch.ones(6, dtype=torch.bool))


def test_what_the_method_is_told(hand):
    class Noting(Table):
        def score(self, query):
            self.told = query.user.tolist(), query.history.item.tolist()
            return super().score(query)

    method = Noting(torch.rand(3, 6))
    evaluate(method, hand)
    assert method.told == ([0, 1], [0, 1, 2])
    evaluate(method, hand, protocol=SEQUENTIAL)
    assert method.told == ([0, 1], [0, 1, 2, 2, 3])
    evaluate(method, hand, "valid", protocol=SEQUENTIAL)
    assert method.told == ([0, 1, 2], [0, 1, 2, 5])
    new = dataset(2, 3, train=[(0, 0)], test=[(0, 1), (1, 2)])
    method = Noting(torch.rand(2, 3))
    evaluate(method, new)
    assert method.told == ([0, -1], [0])  # user 1 was never seen in training


def test_train_part_reads_itself_and_masks_nothing(hand):
    result = evaluate(Table(torch.tensor([[9.0, 8, 0, 0, 0, 0]]).repeat(3, 1)), hand, "train", ks=(2,))
    assert result.per_user["recall@2"].tolist() == [1, 0, 0]


def test_other_conventions(hand):
    scores = torch.tensor([[0.0, 0, 9, 0, 5, 4], [0, 0, 0, 9, 8, 0], [0, 0, 0, 0, 0, 0]])
    full = evaluate(Table(scores), hand, ks=(1,), protocol=FULL)
    assert full.metrics["recall@1"] == pytest.approx((0.5 + 1) / 2)
    masked = evaluate(Table(scores), hand, ks=(1,), protocol=TRAIN_MASK)
    assert masked.lists.tolist() == [[2], [3]] and masked.metrics["recall@1"] == 0.0  # valid items stand in the way
    everyone = evaluate(Table(scores), hand, ks=(1,), protocol=EVERYONE)
    assert everyone.users.tolist() == [0, 1, 2] and everyone.lists[2].tolist() == [-1]
    assert everyone.metrics["recall@1"] == pytest.approx((0.5 + 1 + 0) / 3)
    assert everyone.metrics["coverage@1"] == full.metrics["coverage@1"]


def test_an_item_scored_minus_infinity_is_never_named(hand):
    scores = torch.full((3, 6), -torch.inf)
    scores[:, 4] = 0
    result = evaluate(Table(scores), hand, ks=(3,))
    assert result.lists.tolist() == [[4, -1, -1], [4, -1, -1]]


def test_a_method_that_names_nothing(hand, tmp_path):
    result = evaluate(Table(torch.full((3, 6), -torch.inf)), hand)
    assert set(result.lists.flatten().tolist()) == {-1} and result.metrics["recall@10"] == result.metrics["novelty@10"] == 0
    result.save(tmp_path / "cell")


def test_nan_and_wrong_shapes_name_the_method(hand):
    scores = torch.rand(3, 6)
    scores[1, 5] = torch.nan
    with pytest.raises(ScoreError, match="Table scores NaN for user 'u1'"):
        evaluate(Table(scores), hand)
    with pytest.raises(ScoreError, match=r"Table\.score returned shape \(2, 5\), wanted \(2, 6\)"):
        evaluate(Table(torch.rand(3, 5)), hand)
    with pytest.raises(ScoreError, match=r"Vectors\.catalogue has 7 rows, wanted 6"):
        evaluate(Vectors(torch.rand(3, 2), torch.rand(7, 2)), hand)
    with pytest.raises(DataError, match="no test rows"):
        evaluate(Table(scores), dataset(2, 2, train=[(0, 0)]))
    with pytest.raises(ValueError, match="part must be"):
        evaluate(Table(scores), hand, "tset")
    with pytest.raises(ValueError, match="ks must be"):
        evaluate(Table(scores), hand, ks=(0, 10))


def test_scores_of_the_method_are_not_written_to(hand):
    scores = torch.rand(3, 6)

    class Same(Table):
        def score(self, query):
            return self.table[:2]

    before = scores.clone()
    evaluate(Same(scores), hand)
    assert torch.equal(scores, before)


def test_leaves_training_mode_and_gradients_as_they_were(planted):
    data = planted
    method = LightGCN(data, dim=8)
    method.train()
    evaluate(method, data)
    assert method.training
    method.eval()
    evaluate(method, data)
    assert not method.training and method.nodes.weight.grad is None


def test_never_users_times_items():
    """No question is larger than the chunk, whatever the number of users."""
    data = synthetic(users=700)
    method = Table(torch.rand(700, 150))
    evaluate(method, data)
    assert [n for n, _ in method.asked] == [256, 256, 188]


class TestSampled:
    def test_targets_are_ranked_among_so_many_items_never_met(self):
        data = synthetic()
        result = evaluate(Table(torch.rand(200, 150)), data, ks=(60,), protocol=Protocol(sample=Sampled(50)))
        met = {u: set() for u in range(200)}
        for part in ("train", "valid"):
            for u, i in data.part(part).index.T.tolist():
                met[u].add(i)
        targets = {u: {i for v, i in data.part("test").index.T.tolist() if v == u} for u in range(200)}
        for user, ranked in zip(result.users.tolist(), result.lists.tolist(), strict=True):
            named = [i for i in ranked if i >= 0]
            assert len(named) == len(set(named)) == 54 and not met[user] & set(named)
            assert targets[user] <= set(named)
        assert result.metrics["recall@60"] == 1.0

    def test_a_draw_depends_on_seed_and_user_alone(self):
        data, method = synthetic(), Table(torch.rand(200, 150))

        def ranked(seed=0, **how):
            return evaluate(method, data, ks=(60,), protocol=Protocol(sample=Sampled(50, seed)), **how).lists

        assert torch.equal(ranked(), ranked(chunk=3))
        assert torch.equal(ranked()[50:60], ranked(users=range(50, 60)))
        assert not torch.equal(ranked(), ranked(seed=1))

    def test_draws_are_uniform(self):
        draws = Sampled(5).draw(torch.arange(20000), torch.empty(0, dtype=torch.int64), 25)
        count = torch.bincount(draws.flatten(), minlength=25)
        assert (count - 4000).abs().max() < 5 * (20000 * 0.2 * 0.8) ** 0.5
        assert (draws.sort(1).values.diff(dim=1) > 0).all()

    def test_products_agree(self):
        data, u, v = synthetic(), torch.randn(200, 8), torch.randn(150, 8)
        protocol = Protocol(sample=Sampled(30))
        assert torch.equal(
            evaluate(Vectors(u, v), data, protocol=protocol).lists, evaluate(Table(u @ v.T), data, protocol=protocol).lists
        )

    def test_too_few_items_to_draw(self, hand):
        with pytest.raises(DataError, match="items never met: 5 cannot be drawn"):
            evaluate(Table(torch.rand(3, 6)), hand, protocol=Protocol(sample=Sampled(5)))
