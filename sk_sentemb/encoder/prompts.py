"""Prompts: literal text before each text, or one of the prompts of the checkpoint."""

from collections.abc import Mapping

from .._warn import warn
from ..exceptions import PromptWarning


def find_prompt(prompts: Mapping[str, str | None], name: str) -> str:
    """Return a prompt of the checkpoint by name."""
    if name not in prompts:
        advice = "one of these names, or the text itself" if prompts else "the text itself"
        raise ValueError(
            f"prompt_name={name!r}, but the checkpoint {_list_names(prompts)}. Pass {advice} as prompt."
        )
    return prompts[name] or ""


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
