import torch

from hybridrec.decoders.links import CrossLayerLinks


def test_every_layer_of_one_end_meets_every_layer_of_the_other():
    torch.manual_seed(0)
    layers, decoder = [torch.randn(5, 3) for _ in range(2)], CrossLayerLinks(3, 2)
    one, two = torch.tensor([[0, 1], [4, 2]]), torch.tensor([[3, 3], [1, 0]])
    found = decoder(layers, one, two)
    assert found.shape == (2, 2)
    products = [layers[i][4] * layers[j][1] for i in range(2) for j in range(2)]
    torch.testing.assert_close(found[1, 0], decoder.mix(torch.cat(products)).squeeze())
