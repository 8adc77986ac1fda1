"""The loop: terms, seeds, players, validation, best weights, failures, trackers."""

import math

import pytest
import torch
from torch import nn

from hybridrec.data.batches import PairSampler, RowSampler
from hybridrec.methods import LightGCN
from hybridrec.training import TrainingError, fit


class Toy(nn.Module):
    """A line fitted to nothing but its own target: every quantity of a run can be worked out by hand."""

    sampler = PairSampler

    def __init__(self, start: float = 1.0) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor([start]))
        self.refreshed = 0

    def refresh(self):
        assert not torch.is_grad_enabled()
        self.refreshed += 1

    def forward(self, batch):
        return {"square": self.w.square().sum(), "rows": 0 * self.w.sum() + float(len(batch.user))}


class Duel(nn.Module):
    """Two players over one saddle, x y: each follows its own term only."""

    sampler = PairSampler

    def __init__(self) -> None:
        super().__init__()
        self.x, self.y = nn.Parameter(torch.tensor([1.0])), nn.Parameter(torch.tensor([1.0]))

    def players(self):
        return {"down": [self.x], "up": [self.y]}

    def forward(self, batch):
        product = (self.x * self.y).sum()
        return {"down/product": product, "up/product": -product}


def sgd(groups):
    return torch.optim.SGD(groups, lr=0.1)


def test_named_terms_are_logged_as_means_over_rows(planted):
    method = Toy()
    record = fit(
        method, planted, epochs=1, batch_size=len(planted.train), optimizer=sgd, validate=lambda m: 0.0, progress=False
    )
    assert record.history[0]["square"] == pytest.approx(1.0)
    assert record.history[0]["rows"] == pytest.approx(len(planted.train))
    assert method.w.item() == pytest.approx(0.8)  # 1 - 0.1 * 2 * 1
    assert method.refreshed == 1
    assert method.fitted is record and record.epochs == 1 and record.seconds > 0 and record.peak_memory > 0


def test_clipping_bounds_the_step(planted):
    method = Toy(100.0)
    fit(method, planted, epochs=1, batch_size=10_000, optimizer=sgd, clip=1.0, validate=lambda m: 0.0, progress=False)
    assert method.w.item() == pytest.approx(100 - 0.1, abs=1e-5)


def test_players_alternate_each_on_its_own_terms(planted):
    method = Duel()
    fit(method, planted, epochs=1, batch_size=10_000, optimizer=sgd, validate=lambda m: 0.0, progress=False)
    # x moves first: x = 1 - 0.1 * y = 0.9; then y, seeing the new x: y = 1 + 0.1 * 0.9 = 1.09.
    assert method.x.item() == pytest.approx(0.9)
    assert method.y.item() == pytest.approx(1.09)


def test_a_player_without_a_term_is_an_error(planted):
    class Silent(Duel):
        def forward(self, batch):
            return {"down/product": (self.x * self.y).sum()}

    with pytest.raises(TrainingError, match="no term for player 'up'"):
        fit(Silent(), planted, epochs=1, progress=False)


def test_best_weights_are_put_back_and_patience_stops(planted):
    values = iter([0.1, 0.5, 0.4, 0.3, 0.9])
    method, seen = Toy(), []

    def validate(m):
        seen.append(m.w.item())
        return next(values)

    record = fit(
        method, planted, epochs=50, every=2, patience=2, batch_size=10_000, optimizer=sgd, validate=validate, progress=False
    )
    assert record.epochs == 8 and record.best_epoch == 4
    assert method.w.item() == pytest.approx(seen[1]) == pytest.approx(0.8**4)
    assert [line["valid"] for line in record.history if "valid" in line] == [0.1, 0.5, 0.4, 0.3]


def test_a_schedule_steps_after_every_batch(planted):
    method, rates = Toy(), []

    def schedule(optimizer, steps):
        rates.append(steps)
        return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)

    fit(method, planted, epochs=2, batch_size=10_000, optimizer=sgd, schedule=schedule, validate=lambda m: 0.0, progress=False)
    assert rates == [2]
    assert method.w.item() == pytest.approx(1 * 0.8 * 0.9)


def test_a_loss_that_is_not_finite_names_term_and_place(planted):
    class Bad(Toy):
        def forward(self, batch):
            return {"fine": self.w.sum(), "broken": self.w.sum() * math.nan}

    with pytest.raises(TrainingError, match=r"epoch 1, step 1: fine = 1, broken = nan"):
        fit(Bad(), planted, epochs=1, progress=False)


def test_the_same_seed_gives_the_same_weights(planted):
    def run(seed):
        torch.manual_seed(0)
        method = LightGCN(planted, dim=8)
        fit(method, planted, epochs=2, batch_size=64, seed=seed, progress=False)
        return method.nodes.weight.detach().clone()

    assert torch.equal(run(1), run(1))
    assert not torch.equal(run(1), run(2))


def test_lightgcn_learns_the_planted_structure(planted):
    torch.manual_seed(0)
    method = LightGCN(planted, dim=16)
    record = fit(method, planted, epochs=30, batch_size=128, lr=0.02, every=10, progress=False)
    assert record.history[-1]["rank"] < record.history[0]["rank"]
    scores = method.catalogue() @ method.represent(method_query(planted)).T  # (I, U)
    own = torch.arange(40)[:, None] % 2 == torch.arange(60)[None] % 2
    assert scores[own].mean() > scores[~own].mean() + 0.5


def method_query(data):
    from hybridrec.data.batches import Query

    return Query(torch.arange(60), data.histories())


def test_watchers_see_every_epoch(planted):
    seen = []
    fit(
        Toy(),
        planted,
        epochs=3,
        validate=lambda m: 0.0,
        watch=[lambda method, batch, terms: seen.append(sorted(terms))],
        progress=False,
    )
    assert seen == [["rows", "square"]] * 3


def test_a_tracker_writes_and_an_unknown_one_is_named(planted, tmp_path):
    fit(Toy(), planted, epochs=1, validate=lambda m: 0.0, trackers=["tensorboard"], log_dir=str(tmp_path), progress=False)
    assert list(tmp_path.rglob("events.out.tfevents*"))
    with pytest.raises((TrainingError, ValueError), match="nonsense"):
        fit(Toy(), planted, epochs=1, validate=lambda m: 0.0, trackers=["nonsense"], progress=False)


def test_rows_are_a_whole_epoch_too(planted):
    class Count(Toy):
        sampler = RowSampler

        def forward(self, batch):
            return {"entries": 0 * self.w.sum() + float(len(batch.history.item)) / len(batch.user)}

    record = fit(Count(), planted, epochs=1, batch_size=7, validate=lambda m: 0.0, progress=False)
    assert record.history[0]["entries"] == pytest.approx(len(planted.train) / 60)


def test_mixed_precision_trains_and_leaves_the_method_as_it_was(planted, half):
    torch.manual_seed(0)
    method = LightGCN(planted, dim=8)
    record = fit(method, planted, epochs=3, batch_size=128, lr=0.02, accelerator=half, progress=False)
    assert record.history[-1]["rank"] < record.history[0]["rank"]
    assert method.nodes.weight.dtype == torch.float32
    assert method.catalogue().dtype == torch.float32  # no autocast is left on the method


def test_the_moving_average_is_validated_and_kept_while_training_goes_on_from_the_weights(planted):
    method, seen = Toy(), []

    def validate(m):
        seen.append(m.w.item())
        return float(len(seen))

    fit(method, planted, epochs=2, every=1, batch_size=10_000, average=0.5, optimizer=sgd, validate=validate, progress=False)
    # Weights 1, .8, .64; decay min(.5, 2/11) then min(.5, 3/12).
    first = 1 * 2 / 11 + 0.8 * 9 / 11
    second = first * 3 / 12 + 0.64 * 9 / 12
    assert seen == pytest.approx([first, second])
    assert method.w.item() == pytest.approx(second)


def test_the_moving_average_is_kept_where_nothing_is_validated(planted):
    from dataclasses import replace

    method = Toy()
    fit(method, replace(planted, heldout={}), epochs=1, batch_size=10_000, average=0.5, optimizer=sgd, progress=False)
    assert method.w.item() == pytest.approx(1 * 2 / 11 + 0.8 * 9 / 11)
