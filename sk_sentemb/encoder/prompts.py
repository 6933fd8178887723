"""Prompts: a literal text before each text, or one that the checkpoint has by name."""

from collections.abc import Mapping

from .._warn import warn
from ..exceptions import PromptWarning


def find_prompt(prompts: Mapping[str, str | None], name: str) -> str:
    """Return the prompt that a checkpoint has under a name."""
    if name not in prompts:
        raise ValueError(
            f"prompt_name={name!r}, but the checkpoint {_list_names(prompts)}. Pass one that it has, or "
            "the text itself as prompt."
        )
    return prompts[name] or ""


def warn_of_literal_prompt(prompts: Mapping[str, str | None], prompt: str | None) -> None:
    """Warn of a literal prompt that was probably meant to be a name, or lacks its last space."""
    if not prompt or prompts.get(prompt) == prompt:
        return
    if prompt in prompts:
        problem = (
            f"the checkpoint has a prompt of that name, {prompts[prompt] or ''!r}, which is not used. "
            f"Pass prompt_name={prompt!r} to use it."
        )
    elif prompt[-1].isascii() and prompt[-1].isalnum():
        problem = (
            "its end is joined to the first word of the text. Let it end in a space or a colon; or, for "
            f"a prompt of the checkpoint, pass prompt_name (the checkpoint {_list_names(prompts)})."
        )
    else:
        return
    warn(
        f"prompt={prompt!r} is literal text, put before each text as it is, and {problem}",
        PromptWarning,
    )


def _list_names(prompts: Mapping[str, str | None]) -> str:
    return f"has the prompts {sorted(prompts)}" if prompts else "has no prompts"
