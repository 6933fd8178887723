"""HTML to text: what is markup is told here, and read by Beautiful Soup."""

import re
from html import escape, unescape
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

# Comments and sections without an end have all that follows in them, as in browsers.
_COMMENT = re.compile(
    r"<!--.*?(?:-->|\Z)|<!doctype\b[^<>]*>|<\?[a-z][^<>]*>", re.IGNORECASE | re.DOTALL
)
_SECTION = re.compile(r"<!\[CDATA\[(.*?)(?:\]\]>|\Z)", re.DOTALL)
_BLOCK = re.compile(rf"<(/?)(?:{_BLOCKS})[\s/>]", re.IGNORECASE)


def html_to_text(text: str) -> str:
    r"""Return what a reader sees of HTML, and other text as it is.

    Parameters
    ----------
    text : str
        HTML, or text with or without character references. A tag is one of HTML's or of Word's; a
        reference has a semicolon.

    Returns
    -------
    str
        Without tags, comments, scripts and styles; a line for each block; references are the
        characters that they stand for.

    Examples
    --------
    >>> from sk_sentemb.preprocessing.markup import html_to_text
    >>> html_to_text("<b>bo</b>ld &amp; bright<br>a <b, AT&T, ?a=1&copy=2")
    'bold & bright\na <b, AT&T, ?a=1&copy=2'
    """
    if "<" not in text:
        return _MARKUP.sub(_character, text) if "&" in text else text
    text = _COMMENT.sub("", _SECTION.sub(r"\1", text))
    tags = False

    def written(found: re.Match[str]) -> str:
        nonlocal tags
        markup = found[0]
        if markup[0] == "&":
            return escape(_character(found))
        if markup == "<":
            return "&lt;"
        tags = True
        if block := _BLOCK.match(markup):
            return f"{markup}\n" if block[1] else f"\n{markup}"
        return markup

    markup = _MARKUP.sub(written, text)
    if not tags:
        return unescape(markup)

    from bs4 import BeautifulSoup

    # Its text has no scripts, styles, templates and comments.
    return BeautifulSoup(markup, "html.parser").get_text()


def _character(found: re.Match[str]) -> str:
    """Return what a reference stands for."""
    reference = found[0]
    if reference.startswith("&#"):
        return unescape(reference)
    return html5.get(reference[1:], reference)
