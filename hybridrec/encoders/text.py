"""Text encoders: a sentence-transformers model with a LoRA adapter, and a projection to the collaborative width."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from hybridrec.data.text import Texts
from hybridrec.encoders.base import DEFAULT, EncoderError, load_base
from hybridrec.errors import ArgumentError, ArtifactError
from hybridrec.precision import full_precision
from hybridrec.saving import build, configured, describe, load_state, make_folder, read_json, read_weights, state

CONFIG, ADAPTER, PROJECTION = "config.json", "adapter", "projection.safetensors"
ADAPTED, PREFIX = "adapter_model.safetensors", "base_model.model."  # the file and the names of peft's own format


@configured
class TextEncoder(nn.Module):
    """Texts as vectors of the collaborative space: ``W s(text) + b``, s a sentence-transformers model adapted by LoRA.

    Once trained, the mean of that and of what training began with, ``mix (W s + b) + (1 - mix) (W0 s0 + b0)``, with s0 the
    frozen model: a tuned model forgets some of what the frozen one knows of texts unlike those it was tuned on, and their
    average keeps it (output-space ensemble, Wortsman et al. 2022, WiSE-FT, arXiv 2109.01903). ``anchor`` sets what training
    begins with; before, and in training mode, only the tuned side speaks.

    Hu et al. 2022, LoRA, arXiv 2106.09685: each adapted matrix becomes ``W0 + (alpha / r) B A``, B zero at the start, so
    that training begins at the frozen model. The projection begins at zero: ``Align.start`` sets it.

    A forward pass over many texts holds the activations of the first ``hold`` (after sorting by length, shortest first);
    those of the others are computed again in backward, ``chunk`` texts at a time. The gradient is that of one large batch,
    exactly, at the memory of a small one (gradient caching, Gao et al. 2021, arXiv 2101.06983; checkpointing, Chen et al.
    2016, arXiv 1604.06174).

    Args:
        base: a sentence-transformers model, by Hub id or path.
        dim: D, the width of the collaborative space.
        rank: r of the adapter; 0 for none, a frozen encoder.
        alpha: scale of the adapter.
        dropout: of the adapter's input, in training.
        targets: endings of the names of the linear layers to adapt (``["query", "value"]``); None for all within blocks.
        layers: adapt only the last so many blocks; None for all.
        rslora: scale by ``alpha / sqrt(r)`` (Kalajdzievski 2023, arXiv 2312.03732).
        dora: adapt direction and magnitude apart (Liu et al. 2024, arXiv 2402.09353).
        tokens: longer texts are cut after so many tokens; None for the model's own limit.
        mix: share of the tuned side; 1 for it alone.
        chunk: texts that go through the model together.
        hold: texts whose activations are kept for backward.

    Shapes: ``Texts`` of B texts -> (B, D). Raises EncoderError where the base cannot be loaded or no layer matches.
    """

    def __init__(
        self,
        base: str = DEFAULT,
        dim: int = 64,
        rank: int = 8,
        alpha: float = 16.0,
        dropout: float = 0.1,
        targets: list[str] | None = None,
        layers: int | None = None,
        rslora: bool = False,
        dora: bool = False,
        tokens: int | None = None,
        mix: float = 0.5,
        chunk: int = 64,
        hold: int = 256,
    ) -> None:
        super().__init__()
        if chunk < 1 or rank < 0 or not 0 <= mix <= 1:
            raise ArgumentError(
                f"wanted chunk of at least 1, rank of at least 0 and mix in [0, 1], not {chunk}, {rank} and {mix}"
            )
        self.base, self.dim, self.mix, self.chunk, self.hold = base, dim, mix, chunk, hold
        self.model = load_base(base).float().requires_grad_(False)
        limit = self.model.max_seq_length or 512
        self.tokens = limit if tokens is None else min(tokens, limit)
        self.projection = nn.Linear(self.width, dim)
        # W0 and b0, zero until anchored.
        self.first = nn.utils.skip_init(nn.Linear, self.width, dim).requires_grad_(False)
        for linear in (self.projection, self.first):
            nn.init.zeros_(linear.weight)
            nn.init.zeros_(linear.bias)
        if rank:
            self._adapt(rank, alpha, dropout, _linear_layers(self.inner, targets, layers), rslora, dora)

    def _head(self) -> nn.ModuleDict:
        """What stands behind the model, as one module to save."""
        return nn.ModuleDict({"tuned": self.projection, "first": self.first})

    def _adapt(self, rank: int, alpha: float, dropout: float, layers: list[str], rslora: bool, dora: bool) -> None:
        from peft import LoraConfig

        self.model.add_adapter(
            LoraConfig(
                r=rank,
                lora_alpha=alpha,
                lora_dropout=dropout,
                target_modules=layers,
                use_rslora=rslora,
                use_dora=dora,
                task_type="FEATURE_EXTRACTION",
            )
        )
        # The name of the base, not the place it was loaded from, which another machine does not have.
        self.inner.peft_config["default"].base_model_name_or_path = self.base

    @property
    def inner(self) -> Any:
        """The transformers model inside, which carries the adapter."""
        return self.model.transformers_model

    @property
    def width(self) -> int:
        """The width of what the sentence-transformers model itself gives."""
        return self.model.get_embedding_dimension()

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return self.projection.weight.device

    def adapter(self) -> list[nn.Parameter]:
        """The adapter's parameters."""
        return [p for p in self.model.parameters() if p.requires_grad]

    def untouched(self) -> bool:
        """Whether the adapter is as it began, and so changes nothing: B is still zero."""
        return not any(p.any() for name, p in self.model.named_parameters() if "lora_B" in name)

    def tokenise(self, texts: Sequence[str]) -> Texts:
        """Texts as tokens, on the encoder's device: done once, taken from many times."""
        tokens = self.model.tokenizer(list(texts), truncation=True, max_length=self.tokens)["input_ids"] if texts else []
        found = Texts.of(tokens)
        return Texts(found.offset.to(self.device), found.token.to(self.device))

    @torch.no_grad()
    def anchor(self, weight: Tensor, bias: Tensor) -> None:
        """Begin at the projection ``weight`` (D, width), ``bias`` (D,) of the frozen model, and remember it."""
        for linear in (self.projection, self.first):
            linear.weight.copy_(weight)
            linear.bias.copy_(bias)

    def forward(self, texts: Texts) -> Tensor:
        """Vectors in the collaborative space: (B, D)."""
        sentences = self.sentences(texts)
        return self.place(sentences, self.frozen(texts) if self.averaged and not self.training else None)

    @full_precision  # in half precision a projection would lose what tells like items apart
    def place(self, sentences: Tensor, frozen: Tensor | None) -> Tensor:
        """Vectors (B, D) of texts known as ``sentences`` and, where they are to be averaged, as ``frozen``, (B, width) each."""
        tuned = self.projection(sentences)
        return tuned if frozen is None else torch.lerp(self.first(frozen), tuned, self.mix)

    @property
    def averaged(self) -> bool:
        """Whether the frozen model has a say: it was anchored, and ``mix`` is below 1."""
        return self.mix < 1 and bool(self.first.weight.any())

    def frozen(self, texts: Texts) -> Tensor:
        """What the model gives without its adapter: (B, width)."""
        if not self.adapter():
            return self.sentences(texts)
        self.inner.disable_adapters()
        try:
            return self.sentences(texts)
        finally:
            self.inner.enable_adapters()

    def sentences(self, texts: Texts) -> Tensor:
        """What the sentence-transformers model itself gives, before the projection: (B, width) float32."""
        if not len(texts):
            return self.projection.weight.new_zeros(0, self.width)
        order = texts.lengths.argsort(stable=True)
        parts = []
        for start in range(0, len(order), self.chunk):
            # Texts of like length go together, so that little is spent on padding.
            some = texts.take(order[start : start + self.chunk]).padded(self.model.tokenizer.pad_token_id or 0)
            if torch.is_grad_enabled() and start + self.chunk > self.hold:
                parts.append(checkpoint(self._sentences, *some, use_reentrant=False))
            else:
                parts.append(self._sentences(*some))
        return torch.cat(parts)[order.argsort()]

    def _sentences(self, tokens: Tensor, mask: Tensor) -> Tensor:
        return self.model({"input_ids": tokens, "attention_mask": mask})["sentence_embedding"].float()

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Vectors (n, D) of ``texts``, without gradient or dropout, on the CPU."""
        return self.embed(texts)[1]

    def embed(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """The same, and before it what the model itself gives: (n, width) and (n, D)."""
        training = self.training
        self.eval()
        try:
            with torch.no_grad():
                tokens = self.tokenise(texts)
                sentences = self.sentences(tokens)
                return sentences.cpu(), self.place(sentences, self.frozen(tokens) if self.averaged else None).cpu()
        finally:
            self.train(training)

    def save(self, folder: str | Path) -> None:
        """Write ``config.json``, ``projection.safetensors`` and, in peft's own format, ``adapter/``. The base is only named.

        ``SentenceTransformer(base).load_adapter(folder / "adapter")`` gives what ``sentences`` gives.
        """
        from peft import get_peft_model_state_dict

        folder = make_folder(folder)
        save_file(state(self._head()), folder / PROJECTION)
        if self.adapter():
            # As the model's own save_pretrained would, but for asking the Hub whether the vocabulary has grown.
            self.inner.peft_config["default"].save_pretrained(str(folder / ADAPTER))
            adapter = get_peft_model_state_dict(self.inner, save_embedding_layers=False)
            tensors = {f"{PREFIX}{name}": x.detach().cpu().contiguous() for name, x in adapter.items()}
            save_file(tensors, folder / ADAPTER / ADAPTED, metadata={"format": "pt"})
        (folder / CONFIG).write_text(json.dumps(describe(self), indent=2), encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """What ``save`` wrote. Raises ArtifactError naming the file that is missing or damaged; EncoderError for the base."""
        folder = Path(folder)
        encoder = build(read_json(folder / CONFIG))
        if not isinstance(encoder, cls):
            raise ArtifactError(f"{folder / CONFIG} describes a {type(encoder).__name__}, wanted a {cls.__name__}")
        load_state(encoder._head(), read_weights(folder / PROJECTION), folder / PROJECTION)
        if encoder.adapter():
            _read_adapter(encoder.inner, folder / ADAPTER / ADAPTED)
        return encoder.eval()


def _read_adapter(model: Any, path: Path) -> None:
    """Give ``model`` the adapter saved at ``path``: every tensor, and no other. Raises ArtifactError."""
    from peft import get_peft_model_state_dict, set_peft_model_state_dict

    saved = {name.removeprefix(PREFIX): x for name, x in read_weights(path).items()}
    own = get_peft_model_state_dict(model, save_embedding_layers=False)
    if {k: x.shape for k, x in saved.items()} != {k: x.shape for k, x in own.items()}:
        raise ArtifactError(f"{path}: its tensors are not those of the adapter that config.json describes")
    set_peft_model_state_dict(model, saved)


def _linear_layers(model: nn.Module, endings: Sequence[str] | None, last: int | None) -> list[str]:
    """The full names of the linear layers of the ``last`` blocks of ``model`` whose names have one of ``endings``."""
    stacks = [(name, stack) for name, stack in model.named_modules() if isinstance(stack, nn.ModuleList)]
    if not stacks:
        raise EncoderError(f"{type(model).__name__} has no stack of blocks to adapt; use rank=0, a frozen encoder")
    stem, blocks = max(stacks, key=lambda s: sum(p.numel() for p in s[1].parameters()))
    found = [f"{stem}.{name}" for name, layer in _within(blocks, last) if isinstance(layer, nn.Linear)]
    chosen = [name for name in found if endings is None or any(name.endswith(f".{e}") for e in endings)]
    if not chosen:
        known = sorted({".".join(name.removeprefix(f"{stem}.").split(".")[1:]) for name in found})
        raise EncoderError(f"no linear layer ends in any of {list(endings or ())}; the blocks have {known}")
    return chosen


def _within(blocks: nn.ModuleList, last: int | None) -> Iterator[tuple[str, nn.Module]]:
    first = 0 if last is None else max(0, len(blocks) - last)
    return ((name, layer) for name, layer in blocks.named_modules() if name and int(name.split(".")[0]) >= first)
