"""Encoders of histories: against the dense computation, and by what each may and may not read."""

import pytest
import torch
import torch.nn.functional as F

from hybridrec.data.batches import Histories
from hybridrec.encoders.sequence import GRU, Backbone, Layout, Transformer
from hybridrec.errors import DataError

GPT2 = {"model_type": "gpt2", "n_embd": 16, "n_head": 2, "n_layer": 1, "n_positions": 64, "vocab_size": 3}
BERT = {
    "model_type": "bert",
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_attention_heads": 2,
    "num_hidden_layers": 1,
    "vocab_size": 3,
}
# Ids that lie in so small a vocabulary, or the library warns of them.
GPT2 |= {"bos_token_id": 0, "eos_token_id": 0}

ENCODERS = {
    "causal": lambda: Transformer(16, 2, 2, window=50),
    "bidirectional": lambda: Transformer(16, 2, 2, window=50, causal=False),
    "gru": lambda: GRU(16),
    "gpt2": lambda: Backbone(GPT2),
    "bert": lambda: Backbone(BERT, causal=False),
}


@pytest.fixture(params=ENCODERS)
def encoder(request):
    torch.manual_seed(0)
    return ENCODERS[request.param]().eval()


def ragged(lengths, seed=0):
    random = torch.Generator().manual_seed(seed)
    offset = F.pad(torch.tensor(lengths).cumsum(0), (1, 0))
    n = int(offset[-1])
    return Histories(offset, torch.randint(100, (n,), generator=random)), torch.randn(n, 16, generator=random)


LENGTHS = [3, 0, 1, 7, 8, 9, 3, 40, 0, 3, 44, 8]


def rows(history):
    return list(zip(history.offset[:-1].tolist(), history.offset[1:].tolist(), strict=True))


def test_a_row_says_the_same_alone_as_in_a_batch(encoder):
    history, x = ragged(LENGTHS)
    whole = encoder(history, x)
    assert whole.shape == x.shape
    for start, stop in rows(history):
        alone = encoder(Histories(torch.tensor([0, stop - start]), history.item[start:stop]), x[start:stop])
        torch.testing.assert_close(whole[start:stop], alone, atol=1e-5, rtol=1e-4)


def test_rows_in_another_order_say_the_same(encoder):
    history, x = ragged(LENGTHS)
    order = torch.randperm(len(LENGTHS), generator=torch.Generator().manual_seed(1))
    entries = Histories(history.offset, torch.arange(len(x))).take(order)
    moved = encoder(history.take(order), x[entries.item])
    torch.testing.assert_close(moved, encoder(history, x)[entries.item], atol=1e-5, rtol=1e-4)


def test_only_causal_encoders_do_not_see_what_comes_later(encoder):
    history, x = ragged(LENGTHS)
    start, stop = rows(history)[7]
    changed = x.clone()
    changed[start + 20] = -changed[start + 20]
    moved = (encoder(history, changed) - encoder(history, x)).abs().amax(1) > 1e-6
    assert not moved[:start].any() and not moved[stop:].any()
    assert moved[start + 20 : stop].all()
    assert bool(moved[start : start + 20].any()) != encoder.causal


def test_gradients_reach_every_parameter_and_every_entry(encoder):
    history, x = ragged(LENGTHS)
    x.requires_grad_()
    encoder(history, x).square().sum().backward()
    assert (x.grad.abs().sum(1) > 0).all()
    for name, p in encoder.named_parameters():
        assert p.grad is not None and p.grad.isfinite().all(), name


def test_no_entries_are_no_output(encoder):
    history = Histories.lists([[], []])
    assert encoder(history, torch.empty(0, 16)).shape == (0, 16)


@pytest.mark.parametrize("causal", [True, False])
def test_the_transformer_is_the_dense_one_under_a_mask(causal):
    """Padded to the longest row, with attention written out."""
    torch.manual_seed(0)
    encoder = Transformer(16, 2, 4, window=50, causal=causal).eval()
    history, x = ragged(LENGTHS)
    lengths = history.lengths
    here = torch.arange(44) < lengths.unsqueeze(1)
    dense = torch.zeros(len(lengths), 44, 16)
    dense[here] = x
    allowed = here[:, None, :].expand(-1, 44, -1) & (torch.ones(44, 44).tril().bool() if causal else True)
    h = dense + encoder.place[:44]
    for layer in encoder.layers:
        q, k, v = (y.unflatten(2, (4, 4)).transpose(1, 2) for y in layer.inward(layer.first(h)).chunk(3, 2))
        weight = (q @ k.transpose(2, 3) / 2).masked_fill(~allowed.unsqueeze(1), -1e9).softmax(3)
        h = h + layer.outward((weight @ v).transpose(1, 2).flatten(2))
        h = h + layer.narrow(F.gelu(layer.widen(layer.second(h))))
    torch.testing.assert_close(encoder(history, x), encoder.norm(h)[here], atol=1e-5, rtol=1e-4)


def test_the_gru_is_torchs_over_each_row():
    torch.manual_seed(0)
    encoder = GRU(16).eval()
    history, x = ragged(LENGTHS)
    wanted = torch.cat([encoder.outward(encoder.network(x[a:b].unsqueeze(1))[0].squeeze(1)) for a, b in rows(history) if b > a])
    torch.testing.assert_close(encoder(history, x), wanted, atol=1e-6, rtol=1e-5)


def test_rows_of_one_length_are_not_copied_and_others_hardly_padded():
    history, x = ragged([2] * 20 + [5] * 30)
    layout = Layout(history)
    assert [(b.rows, b.length, b.fill) for b in layout.blocks] == [(20, 2, None), (30, 5, None)]
    assert layout.split(x)[0].data_ptr() == x.data_ptr()
    history, x = ragged(torch.randint(0, 50, (300,), generator=torch.Generator().manual_seed(0)).tolist())
    layout = Layout(history)
    assert sum(b.rows * b.length for b in layout.blocks) < 1.2 * len(x)
    torch.testing.assert_close(layout.join(layout.split(x)), x)


def test_a_row_longer_than_the_window_is_refused():
    history, x = ragged([3, 12])
    with pytest.raises(DataError, match="a history of 12 entries, and the encoder has 8 places"):
        Transformer(16, window=8)(history, x)


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="multiple of heads"):
        Transformer(16, heads=3)


def test_a_causal_transformer_reads_both_ways_for_a_while():
    torch.manual_seed(0)
    encoder = Transformer(16, 2, 2, window=50).eval()
    other = Transformer(16, 2, 2, window=50, causal=False).eval()
    other.load_state_dict(encoder.state_dict())
    history, x = ragged(LENGTHS)
    causal = encoder(history, x)
    with encoder.both_ways():
        torch.testing.assert_close(encoder(history, x), other(history, x))
    torch.testing.assert_close(encoder(history, x), causal)
