import torch
import torch.nn.functional as F

from hybridrec.data.batches import Histories
from hybridrec.discriminators.bilinear import Bilinear
from hybridrec.discriminators.critic import PairCritic, RowCritic
from hybridrec.discriminators.factor import FactorCritic
from hybridrec.discriminators.latent import PosteriorCritic, SequenceCritic
from hybridrec.encoders.sequence import Transformer
from hybridrec.losses.adversarial import discriminate
from hybridrec.losses.contrastive import jensen_shannon


def test_bilinear_by_hand():
    d = Bilinear(2, 3)
    with torch.no_grad():
        d.weight.copy_(torch.tensor([[1.0, 0, 2], [0, 1, 0]]))
        d.bias.fill_(0.5)
    z, c = torch.tensor([[1.0, 2], [0, 1]]), torch.tensor([1.0, 1, 1])
    torch.testing.assert_close(d(z, c), torch.tensor([5.5, 1.5]))


def test_bilinear_learns_which_parts_belong_together():
    torch.manual_seed(0)
    z = torch.randn(200, 4)
    d = Bilinear(4)
    optimizer = torch.optim.Adam(d.parameters(), lr=0.05)
    for _ in range(100):
        loss = jensen_shannon(d(z, z), d(z, z.roll(1, 0)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.9  # 2 log 2 = 1.39 says nothing is told apart


def test_row_critic_equals_a_layer_on_both_side_by_side():
    critic = RowCritic(3, 5)
    x, c = torch.rand(4, 3), torch.rand(4, 3)
    weight = torch.cat([critic.row.weight, critic.condition.weight], 1)
    wanted = critic.judge(F.relu(F.linear(torch.cat([x, c], 1), weight, critic.row.bias))).squeeze(1)
    torch.testing.assert_close(critic(x, c), wanted)


def test_row_critic_learns_to_tell_rows_that_fit_their_condition():
    torch.manual_seed(0)
    condition = (torch.rand(256, 6) < 0.5).float()
    critic = RowCritic(6, 32)
    optimizer = torch.optim.Adam(critic.parameters(), lr=0.02)
    for _ in range(200):
        loss = discriminate(critic(condition, condition), critic(condition.roll(1, 0), condition))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.7


def test_pair_critic_scores_one_or_many_items():
    critic = PairCritic(3, 4, 2)
    user = torch.tensor([0, 2])
    many = critic(torch.tensor([[0, 1], [3, 3]]), user)
    assert many.shape == (2, 2)
    torch.testing.assert_close(many[:, 0], critic(torch.tensor([0, 3]), user))
    torch.testing.assert_close(many[0, 1], critic.user[0] @ critic.item[1])


def test_posterior_critic_by_hand():
    torch.manual_seed(0)
    critic = PosteriorCritic(2, 3, hidden=4).eval()
    z, x = torch.randn(5, 2), torch.randn(5, 3)
    h = critic.enter(torch.cat([x, z], 1))
    for first, second in critic.inner:
        h = F.elu(h + second(first(h)))
    torch.testing.assert_close(critic(z, x), critic.leave(h) + 0.5 * z**2)


def test_posterior_critic_learns_the_log_ratio_whose_mean_is_the_divergence():
    """Latents of a known posterior N(x, 1/4) against N(0, 1): T = log q - log p, KL = x^2 / 2 - 3/8 + log 2."""
    torch.manual_seed(0)
    critic = PosteriorCritic(1, 1, hidden=32, dropout=0.0)
    optimizer = torch.optim.Adam(critic.parameters(), lr=0.01)
    for _ in range(400):
        x = torch.rand(1024, 1) * 2 - 1
        loss = discriminate(critic(x + torch.randn(1024, 1) / 2, x), critic(torch.randn(1024, 1), x))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        for mean in (0.0, 0.8):
            x = torch.full((20000, 1), mean)
            wanted = mean**2 / 2 - 3 / 8 + torch.tensor(2.0).log().item()
            assert abs(critic(x + torch.randn(20000, 1) / 2, x).mean().item() - wanted) < 0.12


def test_sequence_critic_reads_latents_beside_the_history():
    torch.manual_seed(0)
    network = torch.nn.Identity()
    network.forward = lambda history, x: x.cumsum(0)
    critic = SequenceCritic(2, 3, 4, network)
    z, x, history = torch.randn(5, 2), torch.randn(5, 3), Histories.lists([[0] * 5])
    h = F.gelu(critic.enter(torch.cat([x, z], 1)).cumsum(0))
    torch.testing.assert_close(critic(history, z, x), critic.judge(h)[:, 0])


def test_factor_critic_sees_the_factor_of_items_and_nothing_else():
    torch.manual_seed(0)
    factor = torch.tensor([0, 1, 0, 2])
    critic = FactorCritic(factor, 3, 8, Transformer(8, 1, 2, causal=False)).eval()
    found = critic(Histories.lists([[0, 1, 3], [2, 1, 3], [1], [3]]))
    assert found.shape == (4,)
    torch.testing.assert_close(found[0], found[1])
    z = critic.network(Histories.lists([[0, 0, 0]]), critic.table[torch.tensor([0, 1, 2])])
    torch.testing.assert_close(found[:1], critic.judge(z[2]))
