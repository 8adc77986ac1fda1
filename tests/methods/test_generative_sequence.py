"""Variational, diffusion and adversarial sequence methods, term by term, against what their papers say, row by row."""

import pytest
import torch
import torch.nn.functional as F
from conftest import planted

from hybridrec.data.batches import Histories, Query, Rows
from hybridrec.encoders.sequence import GRU, Transformer
from hybridrec.errors import DataError
from hybridrec.methods import ACVAE, MFGAN, DiffuRec
from hybridrec.training import fit

ROWS = [[1, 2, 3], [4], [7, 3, 0, 5]]
BATCH = Rows(torch.tensor([0, 1, 2]), Histories.lists(ROWS))


@pytest.fixture(scope="module")
def data():
    return planted(users=20, items=12, each=6)


def cross_entropy(z, items, target):
    return torch.stack([F.cross_entropy(items @ x, torch.tensor(t)) for x, t in zip(z, target, strict=True)])


def test_diffurec_rebuilds_the_noised_target_from_what_stood_before_it(data):
    torch.manual_seed(0)
    method = DiffuRec(data, dim=8, depth=1, window=6, dropout=0.0, drop=0.0, steps=5, uncertainty=0.3)
    method.denoiser.shares = lambda history, like: 0.3
    torch.manual_seed(1)
    found = method(BATCH)["next"]
    torch.manual_seed(1)
    t = torch.multinomial(torch.full((5,), 0.2), 3, replacement=True)
    noise, z = torch.randn(3, 8), []
    betas = torch.linspace(0.1 / 5 + 0.01, 1 / 5 + 0.01, 5)  # 20 / 5 + 0.01 is no variance
    for row, history in enumerate(ROWS):
        kept = (1 - betas[: t[row] + 1]).prod()
        x = kept.sqrt() * method.table[history[-1]] + (1 - kept).sqrt() * noise[row]
        read = Histories.lists([[12, *history[:-1]]])
        e = F.layer_norm(method.table[read.item], (8,))
        z.append(method.denoiser(read, e, x.unsqueeze(0), t[row : row + 1])[0])
    wanted = cross_entropy(z, method.table[:-1], [row[-1] for row in ROWS]).mean()
    torch.testing.assert_close(found, wanted)
    found.backward()
    assert method.table.grad[[3, 4, 5]].abs().sum(1).min() > 0


def test_diffurec_goes_back_along_the_posterior_means(data):
    torch.manual_seed(0)
    method = DiffuRec(data, dim=8, depth=1, steps=4, uncertainty=0.5).eval()
    read = Histories.lists([[12, 3, 5]])
    betas = torch.linspace(0.1 / 4 + 0.01, 1 / 4 + 0.01, 4, dtype=torch.float64)
    kept = (1 - betas).cumprod(0)
    e, x = F.layer_norm(method.table[read.item], (8,)), torch.zeros(1, 8)
    for t in (3, 2, 1, 0):
        x0 = method.denoiser(read, e, x, torch.tensor([t]))
        before = kept[t - 1] if t else torch.tensor(1.0, dtype=torch.float64)
        clean = before.sqrt() * betas[t] / (1 - kept[t])
        noised = (1 - betas[t]).sqrt() * (1 - before) / (1 - kept[t])
        x = (clean * x0 + noised * x).float()
    query = Query(torch.tensor([-1]), Histories.lists([[3, 5]]))
    torch.testing.assert_close(method.represent(query), x)
    method.asks = 1  # the same denoiser asked once, at the noisiest time
    torch.testing.assert_close(method.represent(query), method.denoiser(read, e, torch.zeros(1, 8), torch.tensor([3])))


def test_acvae_equals_its_formula(data):
    torch.manual_seed(0)
    method = ACVAE(data, dim=8, latent=4, hidden=8, window=6, dropout=0.0, prior=0.3, contrast=0.2, anneal=4)
    method.critic.dropout.p = 0.0
    method.posterior.disturbed = lambda history, x: x
    for _ in range(2):
        method.refresh()
    torch.manual_seed(1)
    terms = method(BATCH)
    torch.manual_seed(1)
    normal = torch.randn(8, 4)

    x, z = [], []
    for row in ROWS:
        read = Histories.lists([[12, *row[:-1]]])
        x.append(method.table[read.item])
        z.append(method.posterior(read, method.encoder(read, x[-1])))
    likelihood, divergence, same, other, judge, at = 0, 0, 0, 0, 0, 0
    for row, history in enumerate(ROWS):
        n = len(history)
        says = method.inner(z[row]).tanh() @ method.write[:, :-1].T + method.write[:, -1]
        likelihood = likelihood + F.cross_entropy(says, torch.tensor(history), reduction="sum")
        divergence = divergence + method.critic(z[row], x[row]).mean(1).sum()
        real, fake = method.critic(z[row], x[row]), method.critic(normal[at : at + n], x[row])
        judge = judge - (real.sigmoid().log() + (1 - fake.sigmoid()).log()).mean(1).sum()
        before = z[row - 1]  # another history's latents, step by step, its last again where it is shorter
        apart = torch.stack([before[min(t, len(before) - 1)] for t in range(n)])
        whole = Histories.lists([[0] * n])
        same = same + F.softplus(-method.match(whole, z[row], x[row])).sum()
        other = other + F.softplus(method.match(whole, apart, x[row])).sum()
        at += n
    over = 3 * method.length
    torch.testing.assert_close(terms["encoder/next"], likelihood / over)
    torch.testing.assert_close(terms["encoder/prior"], 0.3 * 2 / 4 * divergence / over)
    torch.testing.assert_close(terms["encoder/contrast"], 0.2 * (same + other) / over)
    torch.testing.assert_close(terms["discriminator/judge"], judge / over)


def test_acvae_discriminator_does_not_teach_the_encoder(data):
    method = ACVAE(data, dim=8, latent=4, hidden=8)
    method(BATCH)["discriminator/judge"].backward()
    touched = {name.split(".")[0] for name, p in method.named_parameters() if p.grad is not None}
    assert touched == {"critic"}


def test_mfgan_equals_its_formula(data):
    torch.manual_seed(0)
    method = MFGAN(data, dim=8, depth=1, window=6, dropout=0.0, width=8, draws=2, warmup=0, weight=0.5)
    method.refresh()
    torch.manual_seed(1)
    terms = method(BATCH)
    reader, z = method.reader, []
    for row in ROWS:
        read = Histories.lists([[reader.start, *row[:-1]]])
        z.append(reader.encoder(read, reader.table[read.item]))
    items = reader.table[:12]
    likelihood = sum(cross_entropy(a, items, b).sum() for a, b in zip(z, ROWS, strict=True))
    torch.testing.assert_close(terms["generator/next"], likelihood / 3 / method.length)

    torch.manual_seed(1)
    policy = torch.stack([(items @ a[-1]).softmax(0) for a in z])
    picked = torch.multinomial(policy.detach(), 2, replacement=True)
    real, fake = torch.zeros(2, 3), torch.zeros(2, 3, 2)
    for f, critic in enumerate(method.critics):
        for b, row in enumerate(ROWS):
            real[f, b] = critic(Histories.lists([row]))[0]
            for k in range(2):
                fake[f, b, k] = critic(Histories.lists([[*row[:-1], picked[b, k].item()]]))[0]
    judge = -(real.sigmoid().log().mean(1) + (1 - fake.sigmoid()).log().mean((1, 2))).sum()
    torch.testing.assert_close(terms["discriminator/judge"], judge)
    reward = fake.sigmoid().mean(0)
    gain = (reward - reward.mean(1, keepdim=True)) * policy.gather(1, picked).log()
    torch.testing.assert_close(terms["generator/deceive"], -0.5 * gain.mean())


def test_mfgan_reads_factors_from_the_items_table(data):
    from dataclasses import replace

    import pyarrow as pa

    table = pa.table({"item_id": list(range(12)), "kind": ["a", "b"] * 6})
    method = MFGAN(replace(data, tables={"item": table}), dim=8, columns=["kind"], values=4)
    assert len(method.critics) == 3 and method.critics[2].factor.tolist() == [0, 1] * 6
    with pytest.raises(DataError, match="no column 'kind'"):
        MFGAN(data, dim=8, columns=["kind"])


@pytest.mark.parametrize("cls", [ACVAE, DiffuRec, MFGAN])
@pytest.mark.parametrize("encoder", [GRU(8), Transformer(8, 1)])
def test_other_encoders_train_and_histories_have_their_edges(cls, encoder, data):
    torch.manual_seed(0)
    method = cls(data, dim=8, window=6, encoder=encoder)
    fit(method, data, epochs=1, batch_size=16, progress=False)
    long = [1, 2, 3, 4, 5, 6, 7, 8, 9]

    def ask(*lists):
        with torch.no_grad():
            return method.score(Query(torch.full((len(lists),), -1), Histories.lists(lists)))

    torch.testing.assert_close(ask(long), ask([11, *long[-5:]]))
    scores = ask([], [3])
    assert scores.isfinite().all() and scores[0].std() > 0
    torch.testing.assert_close(scores[:1], ask([]))
