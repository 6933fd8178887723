"""Prompts: literal text before each text, or one of the prompts of the checkpoint."""

import re
from collections.abc import Mapping
from typing import Any

from .._warn import warn
from ..exceptions import PromptWarning

# The names that checkpoints give to the prompts of each side, as sentence-transformers looks for them.
# Translations are compared with texts like themselves, for which E5 models have the prompt of queries.
_SEARCH_PROMPTS = {
    "query": ("query",),
    "document": ("document", "passage", "corpus"),
    "translation": ("BitextMining", "query"),
}

# Models of the E5 family that instructions were not trained into have these prompts, and many of their
# checkpoints do not say so.
_E5_PROMPTS = {"query": "query: ", "document": "passage: ", "translation": "query: "}
_E5_NAME = re.compile(r"(?:^|[-_/\\])e5(?:[-_]|$)", re.IGNORECASE)
_NO_E5_PROMPTS = re.compile(r"instruct|mistral|omni", re.IGNORECASE)


def find_prompt(prompts: Mapping[str, str | None], name: str) -> str:
    """Return a prompt of the checkpoint by name."""
    if name not in prompts:
        advice = "one of these names, or the text itself" if prompts else "the text itself"
        raise ValueError(
            f"prompt_name={name!r}, but the checkpoint {_list_names(prompts)}. Pass {advice} as prompt."
        )
    return prompts[name] or ""


def find_search_prompt(side: str, encoder: Any, model: Any) -> tuple[str | None, str | None]:
    """Return the prompt of a checkpoint for one side of a search, as literal text or by name."""
    for name in _SEARCH_PROMPTS[side]:
        if name in encoder.prompts:
            return None, name
    if not encoder.prompts and _is_e5(encoder.source.model if encoder.source else model):
        return _E5_PROMPTS[side], None
    return None, None


def _is_e5(model: Any) -> bool:
    last = re.split(r"[/\\]", str(model).rstrip("/\\"))[-1]
    return bool(_E5_NAME.search(last)) and not _NO_E5_PROMPTS.search(last)


def warn_literal_prompt(prompts: Mapping[str, str | None], prompt: str | None) -> None:
    """Warn of a literal prompt that is probably meant as a name, or lacks a final space."""
    if not prompt or prompts.get(prompt) == prompt:
        return
    if prompt in prompts:
        problem = (
            f"the checkpoint has a prompt of that name, {prompts[prompt] or ''!r}, which is not used. "
            f"Pass prompt_name={prompt!r} to use it."
        )
    elif prompt[-1].isascii() and prompt[-1].isalnum():
        problem = (
            "its end is joined to the first word of the text. End it with a space or a colon; or, for a "
            f"prompt of the checkpoint, pass prompt_name (the checkpoint {_list_names(prompts)})."
        )
    else:
        return
    warn(
        f"prompt={prompt!r} is literal text that is prepended to each text, and {problem}",
        PromptWarning,
    )


def _list_names(prompts: Mapping[str, str | None]) -> str:
    return f"has the prompts {sorted(prompts)}" if prompts else "has no prompts"
