"""A tiny randomly initialised sentence-transformers model, for tests of what text encoders do."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch


def tiny_sentences(folder: Path, texts: Iterable[str], layers: int = 3) -> str:
    """The path of a model in ``folder`` that knows the words of ``texts``."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted({w for t in texts for w in t.lower().split()})]
    tokenizer = BertTokenizerFast(vocab={word: n for n, word in enumerate(words)}, model_max_length=32)
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": layers, "num_attention_heads": 2, "intermediate_size": 24}
    BertModel(BertConfig(vocab_size=len(words), max_position_embeddings=32, **sizes)).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    modules = [Transformer(str(folder / "model")), Pooling(16)]
    SentenceTransformer(modules=modules, device="cpu").save_pretrained(str(folder / "sentences"))
    return str(folder / "sentences")
