"""EASE with kernels of texts: of their embeddings, or of any other features, and of their words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hybridrec.data.batches import Query
from hybridrec.encoders.tied import feature
from hybridrec.encoders.words import WordBag
from hybridrec.linear import add_gram_, features, gram, interactions, invert_, regularise_, without_self_
from hybridrec.rows import Recency, multiply, timed
from hybridrec.saving import configured

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset

VOCABULARY = 1 << 16  # rare words say much, and here a word costs no more than the texts that have it


@configured
class CEASE(nn.Module):
    """EASE that must predict an item's features as well as its users: they are further rows of the matrix.

    Jeunen, Van Balen & Goethals 2020, Closed-form models for collaborative filtering with side-information, RecSys,
    cEASEr: the Gram matrix is ``X'X + weight F F' + word_weight S S'``. ``F`` (I, D) holds features of ``modality``, here
    dense embeddings, centred and of unit length, so that ``weight`` reads as the number of users that a likeness of 1 is
    worth; ``S`` (I, V) the words and pairs of words called ``words``, as ``word_rows`` weighs them, in units alike. None for
    either leaves its kernel out.

    ``dropout`` is EDLAE's: popular items are held back more. ``recency`` weights the row that is scored.
    Shapes: ``weights`` (I, I), held once. ``solve`` raises CatalogueTooLarge, and DataError for a missing modality or for
    recency without time.
    """

    weights: Tensor

    def __init__(
        self,
        data: Dataset,
        ridge: float = 100.0,
        weight: float = 80.0,
        modality: str | None = "text",
        dropout: float = 0.0,
        recency: Recency | None = None,
        words: str | None = None,
        word_weight: float = 80.0,
        vocabulary: int = VOCABULARY,
    ) -> None:
        super().__init__()
        self.ridge, self.weight, self.modality, self.dropout, self.recency = ridge, weight, modality, dropout, recency
        self.words, self.word_weight, self.vocabulary = words, word_weight, vocabulary
        self.register_buffer("weights", torch.empty(0))

    def solve(self, data: Dataset) -> None:
        """Invert the regularised sum of the Gram matrices."""
        timed(data, self.recency)
        f = None if self.modality is None else features(data, self.modality)
        said = None if self.words is None else word_rows(feature(data, self.words).values.long(), self.vocabulary)
        g = regularise_(gram(interactions(data), self.weights.device), self.ridge, self.dropout)
        if f is not None:
            f = f.to(g)
            g.addmm_(f, f.T, alpha=self.weight)
        if said is not None:
            add_gram_(g, said.T, self.word_weight)
        self.weights = without_self_(invert_(g)).to(self.weights.device)

    def score(self, query: Query) -> Tensor:
        """Scores of all items: (B, I)."""
        return multiply(query.history, self.weights, self.recency)


def word_rows(numbers: Tensor, vocabulary: int = VOCABULARY) -> Any:
    """Texts as rows of length 1 over the words that are known, each weighted by its idf: scipy CSR (I, V) float32.

    The ``vocabulary`` and the weights of ``encoders.words``, before anything is learned of them. Shapes: ``numbers`` (I, S)
    as ``hybridrec.data.words`` gives them.
    """
    from scipy.sparse import csr_matrix

    bag = WordBag(vocabulary, 0)
    bag.learn(numbers)
    places = bag.find(numbers)
    weight = F.normalize(bag.idf[places], dim=1)
    row, slot = (weight > 0).nonzero(as_tuple=True)
    return csr_matrix((weight[row, slot].numpy(), (row.numpy(), places[row, slot].numpy())), (len(numbers), len(bag.known)))
