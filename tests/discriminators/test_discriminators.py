import torch
import torch.nn.functional as F

from hybridrec.discriminators.bilinear import Bilinear
from hybridrec.discriminators.critic import PairCritic, RowCritic
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
