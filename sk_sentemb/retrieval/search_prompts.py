"""Which prompt the queries get, and which the documents."""

import logging
import re
from collections.abc import Mapping
from copy import copy
from typing import Any, NamedTuple

from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

from ..embedder import SentenceEmbedder
from ..encoder import Encoder, warn_literal_prompt

logger = logging.getLogger(__name__)

# The names that checkpoints give to the prompts of each side, as sentence-transformers looks for them.
# Translations are compared with texts like themselves, for which E5 models have the prompt of queries.
_NAMES = {
    "query": ("query",),
    "document": ("document", "passage", "corpus"),
    "translation": ("BitextMining", "query"),
}

# Models of the E5 family that instructions were not trained into have these prompts, and many of their
# checkpoints do not say so.
_E5 = {"query": "query: ", "document": "passage: ", "translation": "query: "}
_E5_NAME = re.compile(r"(?:^|[-_/\\])e5(?:[-_]|$)", re.IGNORECASE)
_NO_E5_PROMPTS = re.compile(r"instruct|mistral|omni", re.IGNORECASE)


class Prompt(NamedTuple):
    """The prompt parameters of an embedder."""

    prompt: str | None = None
    prompt_name: str | None = None


def resolve_prompt(side: str, prompt: str | None, embedder: SentenceEmbedder) -> Prompt:
    """Return the prompt of one side: the requested one, or for "auto" that of the checkpoint."""
    own = Prompt(embedder.prompt, embedder.prompt_name)
    encoder = get_encoder(embedder)
    if prompt is None:
        return Prompt(prompt="")
    if prompt != "auto":
        if prompt in encoder.prompts:
            return Prompt(prompt_name=prompt)
        warn_literal_prompt(encoder.prompts, prompt)
        return Prompt(prompt=prompt)
    return own if own != Prompt() else _find_prompt(side, encoder, embedder.model)


def get_encoder(embedder: SentenceEmbedder) -> Encoder:
    """Return the model of an embedder, fitted or not; all embedders share it."""
    return getattr(embedder, "encoder_", None) or embedder._load()


def log_prompts(prompts: Mapping[str, str]) -> None:
    """Say which prompts were chosen, for the log of an application."""
    if any(prompts.values()):
        logger.info(
            "queries are embedded with the prompt %r, documents with %r.",
            prompts["query"],
            prompts["document"],
        )


def find_text_embedder(embedder: Any) -> SentenceEmbedder | None:
    """Return the SentenceEmbedder that an embedder is or begins with."""
    if isinstance(embedder, FrozenEstimator):
        return find_text_embedder(embedder.estimator)
    if isinstance(embedder, Pipeline):
        found = (find_text_embedder(step) for _, step in embedder.steps)
        return next((step for step in found if step is not None), None)
    return embedder if isinstance(embedder, SentenceEmbedder) else None


def with_parameters(embedder: Any, **parameters: Any) -> Any:
    """Return a copy, fitted or not, whose SentenceEmbedder has other parameters."""
    if find_text_embedder(embedder) is None:
        return embedder
    copied = copy(embedder)
    if isinstance(embedder, FrozenEstimator):
        copied.estimator = with_parameters(embedder.estimator, **parameters)
    elif isinstance(embedder, Pipeline):
        copied.steps = [
            (name, with_parameters(step, **parameters)) for name, step in embedder.steps
        ]
    else:
        vars(copied).update(parameters)
    return copied


def _find_prompt(side: str, encoder: Encoder, model: Any) -> Prompt:
    """Return the prompt that a checkpoint has for one side, or its default."""
    for name in _NAMES[side]:
        if name in encoder.prompts:
            return Prompt(prompt_name=name)
    if not encoder.prompts and _is_e5(encoder, model):
        return Prompt(prompt=_E5[side])
    return Prompt()


def _is_e5(encoder: Encoder, model: Any) -> bool:
    name = encoder.source.model if encoder.source else model
    last = re.split(r"[/\\]", str(name).rstrip("/\\"))[-1]
    return bool(_E5_NAME.search(last)) and not _NO_E5_PROMPTS.search(last)
