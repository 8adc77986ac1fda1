"""What the parts of a method promise one another. Nothing inherits from these: any object of the right shape will do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

    from hybridrec.data.batches import Query

X = TypeVar("X")


class View(Protocol[X]):
    """A corruption of data, features or model (the survey's View Creator): ``Graph -> Graph``, ``Tensor -> Tensor`` ..."""

    def __call__(self, x: X) -> X: ...


class Encoder(Protocol):
    """Maps a structure (graph, histories, rows, texts) and embeddings to embeddings: ``(structure, (N, D)) -> (N, D)``."""

    def __call__(self, structure: Any, x: Tensor) -> Tensor: ...


class Decoder(Protocol):
    """Maps embeddings back to what was corrupted: ``((B, D), *condition) -> (B, ...)``."""

    def __call__(self, z: Tensor, *condition: Tensor) -> Tensor: ...


class Discriminator(Protocol):
    """Tells joint from independent, or real from generated: ``((B, D), (B, D)) -> (B,)``."""

    def __call__(self, z: Tensor, context: Tensor) -> Tensor: ...


class Method(Protocol):
    """A recommender: a short file that wires parts together.

    Besides what is listed, a method may have

    - ``solve(data)``: a closed form; ``fit`` calls it once and trains nothing;
    - ``refresh()``: called before every epoch under ``no_grad`` (clusters, prototypes, momentum);
    - ``pretraining``: while this is true after an epoch, there is nothing to judge yet: ``fit`` neither validates nor loses
      patience;
    - ``verify()``: raises ValueError where buffers that were read from a file make no sense together; so may any part of it;
    - ``players() -> dict[str, Iterable[Parameter]]``: adversarial turns; ``forward(batch)`` then names its terms
      ``"<player>/<term>"`` and each player's optimizer follows its own terms alone;
    - ``represent(query) -> (B, D)`` and ``catalogue() -> (I, D)``: when ``score`` is their product, evaluation and search
      go through the item vectors block by block and never call ``score``;
    - ``text_vectors(meaning (n, S), texts) -> (n, D)``: when it places texts, with what a sentence model gives for them, in
      the space of ``catalogue()`` itself; a Recommender asks it about prompts and new items, and ``query.text`` is such a
      vector a row. With attributes ``steps`` and ``guidance`` it is also asked with those of ``recommend``. A method without
      ``text_vectors`` is given the text side's places in the space of ``catalogue()``; where its ``textual`` is true it
      answers a text without a history as well, and prompts alone are asked of it;
    - ``components() -> {"denoiser": ..., "scheduler": ...}``: parts of diffusers' classes, which an artifact keeps in files of
      diffusers' own format.
    """

    sampler: Any  # which batches it is fed: a class of hybridrec.data.batches, or any callable with its signature

    def forward(self, batch: Any) -> dict[str, Tensor]:
        """Return the named scalar terms of the loss, already weighted; ``fit`` sums and logs them by name."""

    def score(self, query: Query) -> Tensor:
        """Score every item for users known (``query.user >= 0``) or only known by their history: ``(B, I)``."""
