"""The diffusion prior: its conditions, its terms and its reverse process, each worked out another way."""

import pytest
import torch
import torch.nn.functional as F

import hybridrec as hr
from hybridrec.data.batches import Histories, Query, Rows
from hybridrec.decoders.diffusion import cosine
from hybridrec.errors import DataError
from hybridrec.methods.diffusionprior import DiffusionPrior


def small(planted, said=None, seed=0, **arguments):
    torch.manual_seed(seed)
    method = DiffusionPrior(planted, **{"dim": 6, "width": 8, "times": 5, "steps": 3, "dropout": 0.0, **arguments})
    torch.nn.init.normal_(method.denoiser.leave.weight, std=0.3)
    return method.adopt(planted, torch.randn(40, 6), torch.randn(40, 6), said)


def test_the_cosine_schedule_is_its_papers_and_ends_in_noise():
    kept = (1 - torch.tensor(cosine(50), dtype=torch.float64)).cumprod(0)
    f = torch.cos((torch.arange(51, dtype=torch.float64) / 50 + 0.008) / 1.008 * torch.pi / 2) ** 2
    torch.testing.assert_close(kept[:-1], (f / f[0])[1:-1])
    assert kept[-1] < 1e-3 and max(cosine(50)) == 0.999


def test_x0_is_the_rows_own_vector_by_the_normal_equations(planted):
    method = small(planted, unseen=0.3, ridge=0.7)
    v = method.items.double()
    v = v / v.square().sum(1).mean().sqrt()
    mine = v[[3, 4, 9]]
    wanted = torch.linalg.solve(mine.T @ mine + 0.3 * v.T @ v + 0.7 * torch.eye(6), mine.sum(0))
    got = method.fold(Histories.lists([[3, 4, 9]]))[0].double() * method.items.double().square().sum(1).mean().sqrt()
    torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-4)
    x = (method.fold(planted.histories()) - method.centre) / method.spread
    torch.testing.assert_close(x.mean(0), torch.zeros(6), atol=1e-5, rtol=0)
    torch.testing.assert_close(x.std(0), torch.ones(6))


def test_terms_are_the_softmax_of_what_is_left_out_and_the_squared_error(planted):
    method = small(planted, alone=1.0, silent=1.0, square=0.4)  # nothing is known: every entry is asked for
    history = Histories.lists([[3, 4, 9], [1, 5]])
    made = []
    method.denoiser.register_forward_hook(lambda _, given, out: made.append((given, out)))
    terms = method(Rows(torch.tensor([0, 1]), history))
    (noised, t, own, text, told), rebuilt = made[0]
    assert not own.any() and not text.any() and not told.any() and noised.shape == (2, 6) and t.shape == (2,)
    scores = (method.centre + method.spread * rebuilt) @ method.items.T * method.log_scale.exp()
    wanted = F.cross_entropy(scores[[0, 0, 0, 1, 1]], history.item)
    torch.testing.assert_close(terms["choose"], wanted)
    x0 = (method.fold(history) - method.centre) / method.spread
    torch.testing.assert_close(terms["rebuild"], 0.4 * F.mse_loss(rebuilt, x0))


def test_a_text_is_the_mean_place_of_items_that_are_then_not_asked_for(planted):
    method = small(planted, texts=2, silent=0.0)
    history = Histories.lists([[3, 4, 9], [1, 5]])
    for _ in range(20):
        text, told_of = method.words(Rows(torch.tensor([0, 1]), history))
        for b in (0, 1):
            mentioned = history.item[told_of & (history.rows == b)]
            assert 1 <= len(mentioned) <= 2  # the same item may be drawn twice
            torch.testing.assert_close(text[b], method.text[mentioned].mean(0))
    assert not method.train().words(Rows(torch.tensor([0, 1]), history))[0].isnan().any()
    method.silent = 1.0
    text, told_of = method.words(Rows(torch.tensor([0, 1]), history))
    assert not text.any() and not told_of.any()


def test_a_sentence_about_a_row_stands_for_its_items_half_of_the_time(planted):
    places = torch.zeros(60, 6)
    places[7] = torch.arange(6.0)
    lists = [[] for _ in range(60)]
    lists[7] = [4, 9]
    method = small(planted, (places, Histories.lists(lists)), silent=0.0)
    batch = Rows(torch.tensor([3, 7]), Histories.lists([[4, 9], [4, 5, 9]]))
    drawn = [method.words(batch) for _ in range(200)]
    said = torch.tensor([torch.equal(text[1], places[7]) for text, _ in drawn])
    assert 60 < said.sum() < 140
    assert all(told_of[2:].tolist() == [True, False, True] for (_, told_of), s in zip(drawn, said, strict=True) if s)
    assert all(text[0].any() for text, _ in drawn)  # of user 3 there is no sentence


def test_the_reverse_process_takes_posterior_means_from_the_noises_mean(planted):
    method = small(planted, steps=5).eval()
    given = method.known(Histories.lists([[3, 4]]), torch.randn(1, 6))
    betas = torch.tensor(cosine(5), dtype=torch.float64)
    kept = torch.cat([torch.ones(1, dtype=torch.float64), (1 - betas).cumprod(0)])
    x = torch.zeros(1, 6, dtype=torch.float64)
    for t in (4, 3, 2, 1, 0):
        x0 = method.denoiser(x.float(), t, *given).double()
        now, before = kept[t + 1], kept[t]
        x = before.sqrt() * betas[t] / (1 - now) * x0 + (1 - betas[t]).sqrt() * (1 - before) / (1 - now) * x
    torch.testing.assert_close(method.rebuild(given), method.centre + method.spread * x.float(), atol=1e-5, rtol=1e-4)
    method.steps = 1
    once = method.centre + method.spread * method.denoiser(torch.zeros(1, 6), 4, *given)
    torch.testing.assert_close(method.rebuild(given), once)


def test_history_and_text_are_one_query(planted):
    method = small(planted, share=0.25, guidance=1.5).eval()
    place = torch.randn(1, 6)
    both = Query(torch.full((3,), -1), Histories.lists([[3, 4], [], [3, 4]]), torch.cat([place, place, torch.zeros(1, 6)]))
    direction = F.normalize(place - method.text[planted.train.index[1].unique()].mean(0), dim=1) * 6**0.5
    own = (method.fold(both.history)[:1] - method.centre) / method.spread
    nothing = torch.zeros(1, 6)

    def rebuilt(history, text, told):
        x = torch.zeros(1, 6)
        for t, clean, noised in method.diffusion.back(3):
            x = clean * method.denoiser(x, t, history, text, torch.tensor([told])) + noised * x
        return method.centre + method.spread * x

    with torch.no_grad():
        user = method.represent(both)
        plain, guided = rebuilt(own, nothing, [1.0, 0.0]), rebuilt(own, direction, [1.0, 1.0])
        f = method.fold(both.history)[:1]
        torch.testing.assert_close(user[:1], f + 0.25 * (plain - f) + 1.5 * (guided - plain))
        torch.testing.assert_close(user[2:], f + 0.25 * (plain - f))
        mean, said = rebuilt(nothing, nothing, [0.0, 0.0]), rebuilt(nothing, direction, [0.0, 1.0])
        torch.testing.assert_close(user[1:2], mean + 1.5 * (said - mean))


def test_it_learns_what_a_text_asks_for(planted):
    torch.manual_seed(0)
    kinds = torch.eye(2).repeat(20, 1)  # items of two kinds, even and odd, and their texts say which
    places = torch.cat([kinds, torch.randn(40, 6) * 0.1], 1)
    method = DiffusionPrior(planted, dim=8, texts=3, blur=0.3, alone=1.0, silent=0.2).adopt(planted, places, places)
    hr.fit(method, planted, epochs=80, batch_size=20, lr=3e-2, every=100, patience=None, validate=lambda _: 0.0, progress=False)
    query = Query(torch.full((2,), -1), Histories.lists([[], []]), places[:2].detach().clone())
    with torch.no_grad():
        score = method.score(query)
    even, odd = score[:, ::2].mean(1), score[:, 1::2].mean(1)
    assert even[0] > odd[0] and odd[1] > even[1]


def test_vectors_of_another_shape_are_refused(planted):
    with pytest.raises(DataError, match=r"item vectors have shape \(40, 5\), wanted \(40, 6\)"):
        small(planted).adopt(planted, torch.randn(40, 5))
    with pytest.raises(DataError, match="places of texts"):
        small(planted).adopt(planted, torch.randn(40, 6), torch.randn(39, 6))
