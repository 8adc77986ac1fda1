import torch

from hybridrec.decoders.row import RowDecoder


def test_row_decoder_equals_its_formula():
    decoder = RowDecoder(2, [4, 3], 5)
    z = torch.randn(6, 2)
    first, second, last = decoder.layers
    torch.testing.assert_close(decoder(z), last(torch.tanh(second(torch.tanh(first(z))))))
    assert decoder(z).shape == (6, 5)


def test_without_hidden_layers_it_is_linear():
    decoder = RowDecoder(2, [], 5)
    x, y = torch.randn(1, 2), torch.randn(1, 2)
    torch.testing.assert_close(decoder(x) + decoder(y) - decoder(x + y), decoder(torch.zeros(1, 2)))
