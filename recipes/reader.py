"""The encoder that a data set's text features were made by, which reads prompts for a method trained on these features."""

from __future__ import annotations

import hybridrec as hr
from hybridrec.encoders.text import TextEncoder
from hybridrec.errors import DataError
from hybridrec.evaluation import Result


def reader(base: str, data: hr.Dataset, tokens: int | None = None) -> TextEncoder:
    """The frozen encoder ``base``. Raises DataError where the features of items' texts have another width than its vectors."""
    encoder = TextEncoder(base, dim=1, rank=0, tokens=tokens)
    width = data.features[data.target]["text"].values.shape[1]
    if encoder.width != width:
        raise DataError(
            f"--encoder {base} gives {encoder.width} numbers a text, the features of {data.name} have {width}; name "
            "the encoder they were made by"
        )
    return encoder


def recommender(
    method: hr.Hybrid, data: hr.Dataset, encoder: TextEncoder, templates: dict[str, str], judged: Result | None
) -> hr.Recommender:
    """``method`` with ``encoder``, which reads prompts and the texts of items added later; those it has are not read again."""
    said = data.features[data.target]["text"].values
    return hr.Recommender(method.cpu(), data, encoder, templates=templates, text_vectors=(said, said), metrics=judged)
