"""HTML to text, in one pass over its tags: time grows with the length alone, however tags nest."""

import re
from html import unescape
from html.entities import html5

# What HTML knows, so that <int>, <name> and "a <b" stay what they are.
_BLOCKS = (
    "address|article|aside|blockquote|body|br|caption|center|col|colgroup|dd|details|dialog"
    "|dir|div|dl|dt|fieldset|figcaption|figure|footer|form|frameset|h1|h2|h3|h4|h5|h6|head"
    "|header|hgroup|hr|html|img|legend|li|main|menu|nav|ol|optgroup|option|p|pre|search"
    "|section|select|summary|table|tbody|td|textarea|tfoot|th|thead|title|tr|ul"
)
_WITHIN_LINES = (
    "a|abbr|acronym|area|audio|b|base|basefont|bdi|bdo|big|button|canvas|cite|code|data"
    "|datalist|del|dfn|em|embed|font|frame|i|iframe|input|ins|kbd|label|link|map|mark|meta"
    "|meter|noframes|noscript|object|output|param|picture|progress|q|rb|rp|rt|rtc|ruby|s|samp"
    "|script|slot|small|source|span|strike|strong|style|sub|sup|svg|template|time|track|tt|u"
    "|var|video|wbr"
)
# Of Word's HTML.
_OF_NAMESPACES = r"(?:o|v|w|m|st1):[a-z]+"
_WITHOUT_VALUE = (
    "allowfullscreen|async|autofocus|autoplay|checked|controls|default|defer|disabled"
    "|download|hidden|ismap|itemscope|loop|multiple|muted|nomodule|noshade|novalidate|nowrap"
    "|open|readonly|required|reversed|selected"
)

_NAME = f"(?:{_BLOCKS}|{_WITHIN_LINES}|{_OF_NAMESPACES})"
_VALUE = r"(?:\"[^\"]*\"|'[^']*'|[^\s\"'<>`]+)"
_ATTRIBUTE = rf"(?:[^\s\"'<>/=]+\s*=\s*{_VALUE}|(?:{_WITHOUT_VALUE}|[a-z]+-[\w-]+)(?=[\s/>]))"
_TAG = rf"</{_NAME}\s*>|<{_NAME}(?:(?:\s+|(?<=[\"'])){_ATTRIBUTE})*\s*/?>"
_REFERENCE = r"&(?:\#[0-9]{1,7}|\#x[0-9a-f]{1,6}|[a-z][a-z0-9]{1,31});"
_MARKUP = re.compile(rf"{_TAG}|{_REFERENCE}|[&<]", re.IGNORECASE)

# Without an end, browsers take all that follows for a part of these. Here they are text then, since
# people write about "the <style> tag" as well.
_SWALLOWING = "script|style|template|textarea|title"
_SWALLOWS = re.compile(rf"<(?:({_SWALLOWING})\b|/({_SWALLOWING})\s*>)", re.IGNORECASE)

# A tag of nothing but a name may be a word in brackets, <b> of "a<b>c" or <title> of a form letter.
# The ones that need no end are hardly ever, and where one of them or any other tag is, all are tags.
_WITHOUT_END = "br|dd|dt|hr|html|li|p|td|th|tr|wbr"
_NAME_ALONE = re.compile(rf"<(?!(?:{_WITHOUT_END})\b)[a-z0-9:]+\s*>", re.IGNORECASE)

_COMMENT = re.compile(r"<!--(?:-?>|.*?-->)", re.DOTALL)
_SECTION = re.compile(r"<!\[CDATA\[(.*?)\]\]>", re.DOTALL)
_DECLARATION = re.compile(r"<!doctype\b[^<>]*>|<\?[a-z][^<>]*>", re.IGNORECASE)
_BLOCK = re.compile(rf"</?(?:{_BLOCKS})[\s/>]", re.IGNORECASE)

# What browsers do not show the text of.
_HIDING = re.compile(r"<(?:script|style|template)\b", re.IGNORECASE)


def html_to_text(text: str) -> str:
    r"""Return what a reader sees of HTML, and other text as it is."""
    if "<" not in text:
        return _MARKUP.sub(_character, text) if "&" in text else text
    text = _sub_closed(_SECTION, "]]>", r"\1", text)
    text = _DECLARATION.sub("", _sub_closed(_COMMENT, "-->", "", text))
    ends = _find_ends(text)

    def is_tag(found: re.Match[str]) -> bool:
        if len(found[0]) == 1 or found[0][0] == "&":
            return False
        swallows = _SWALLOWS.match(found[0])
        return not swallows or not swallows[1] or found.start() in ends

    if not any(
        is_tag(found) and not _NAME_ALONE.fullmatch(found[0]) for found in _MARKUP.finditer(text)
    ):
        return _MARKUP.sub(_character, text)
    shown: list[str] = []
    position = 0
    while found := _MARKUP.search(text, position):
        if between := text[position : found.start()]:
            shown.append(between)
        position = found.end()
        if not is_tag(found):
            shown.append(_character(found))
        elif _HIDING.match(found[0]) and not found[0].endswith("/>"):
            position = ends[found.start()]
        elif _BLOCK.match(found[0]) and shown[-1:] != ["\n"]:
            shown.append("\n")
    shown.append(text[position:])
    return "".join(shown)


def _find_ends(text: str) -> dict[int, int]:
    """Map where scripts, styles and the like begin to where their end tag ends, if they have one."""
    starts: dict[str, list[int]] = {name: [] for name in _SWALLOWING.split("|")}
    ends: dict[int, int] = {}
    for found in _SWALLOWS.finditer(text):
        if found[1]:
            starts[found[1].lower()].append(found.start())
            continue
        name = found[2].lower()
        # Templates stand in templates; in the others, what looks like a start is text.
        n_ended = 1 if name == "template" else len(starts[name])
        for _ in range(min(n_ended, len(starts[name]))):
            ends[starts[name].pop()] = found.end()
    return ends


def _sub_closed(pattern: re.Pattern[str], end: str, new: str, text: str) -> str:
    """Replace what has an end; only up to the last one, since looking for more takes long."""
    last = text.rfind(end) + len(end)
    if last < len(end):
        return text
    return pattern.sub(new, text[:last]) + text[last:]


def _character(found: re.Match[str]) -> str:
    """Return what a reference stands for, and other markup as it is."""
    reference = found[0]
    if reference.startswith("&#"):
        return unescape(reference)
    return html5.get(reference[1:], reference)
