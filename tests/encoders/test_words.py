"""Words as numbers, and texts as sums of their vectors, by hand."""

import math
import zlib

import torch

from hybridrec.data.words import word_ids
from hybridrec.encoders.words import WordBag


def number(word):
    return zlib.crc32(word.encode()) % (2**24 - 1) + 1


def test_words_then_pairs_each_once():
    found = word_ids(["Red tea, RED_jam!", "", "Été"])
    wanted = [number(w) for w in ("red", "tea", "jam", "red tea", "tea red", "red jam")]
    assert found.tolist() == [wanted, [0] * 6, [number("été")] + [0] * 5]
    assert word_ids(["a b c"], slots=4).tolist() == [[number(w) for w in ("a", "b", "c", "a b")]]
    assert (found.float().long() == found).all()
    labelled = word_ids(["red tea", ""], slots=3, labels=[["brand=Red Tea", "kind=1"], ["kind=1"]])
    assert labelled.tolist() == [[number("brand=Red Tea"), number("kind=1"), number("red")], [number("kind=1"), 0, 0]]


def test_a_text_is_the_weighted_sum_of_its_known_words():
    texts = word_ids(["red tea", "red jam", "red", "tea"])
    bag = WordBag(vocabulary=8, dim=3, least=2)
    bag.learn(texts)
    assert sorted(bag.known.tolist()) == sorted([number("red"), number("tea")])
    torch.nn.init.normal_(bag.vectors)
    red, tea = bag.find(torch.tensor([number("red"), number("tea")]))
    a, b = math.log(4 / 3), math.log(4 / 2)
    found = bag(bag.find(word_ids(["tea red", "jam", "red"])))
    wanted = (a * bag.vectors[red] + b * bag.vectors[tea]) / math.hypot(a, b)
    torch.testing.assert_close(found, torch.stack([wanted, torch.zeros(3), bag.vectors[red]]))


def test_the_most_frequent_words_have_vectors():
    bag = WordBag(vocabulary=1, dim=2, least=1)
    bag.learn(word_ids(["tea", "tea", "jam"]))
    assert bag.known.tolist() == [number("tea")] and len(bag.vectors) == 1
    assert (bag.find(torch.tensor([number("jam"), 0])) == 1).all()


def test_nothing_learned_says_nothing():
    bag = WordBag(4, 2)
    assert (bag(bag.find(word_ids(["tea"]))) == 0).all()


def test_in_training_words_are_left_out_and_the_rest_has_length_1():
    texts = word_ids(["red tea", "red tea jam", "jam tea", "hot"])
    bag = WordBag(vocabulary=8, dim=8, least=2, dropout=0.5)
    bag.learn(texts)
    with torch.no_grad():
        bag.vectors.copy_(torch.eye(8))
    places = bag.find(word_ids(["tea jam"] * 400))
    torch.manual_seed(0)
    drawn = bag.train()(places)
    length = drawn.norm(dim=1)
    assert ((length - 1).abs() < 1e-6).logical_or(length == 0).all()
    assert 0.7 < length.mean() < 0.8 and len(drawn.round(decimals=4).unique(dim=0)) == 4  # both, one of them, none
    assert len(bag.eval()(places).unique(dim=0)) == 1
