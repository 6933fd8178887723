"""Extract the text of HTML, in time that grows with its length alone, however deeply tags nest."""

import re
from html import unescape
from html.entities import html5
from html.parser import HTMLParser

_BLOCKS = (
    "address article aside blockquote body br caption center col colgroup dd details dialog dir "
    "div dl dt fieldset figcaption figure footer form frameset h1 h2 h3 h4 h5 h6 head header "
    "hgroup hr html img legend li main menu nav ol optgroup option p pre search section select "
    "summary table tbody td textarea tfoot th thead title tr ul"
)
_INLINE = (
    "a abbr acronym area audio b base basefont bdi bdo big button canvas cite code data datalist "
    "del dfn em embed font frame i iframe input ins kbd label link map mark meta meter noframes "
    "noscript object output param picture progress q rb rp rt rtc ruby s samp script slot small "
    "source span strike strong style sub sup svg template time track tt u var video wbr"
)
_BLOCK_TAGS = set(_BLOCKS.split())
_TAGS = {*_BLOCK_TAGS, *_INLINE.split()}
# Other start tags without attributes may be words in brackets, such as <b> and <title>.
_UNAMBIGUOUS_TAGS = {"br", "dd", "dt", "hr", "html", "li", "p", "td", "th", "tr", "wbr"}
_HIDDEN_TAGS = {"script", "style", "template"}
# What needs an end: pairs of patterns for the "<" of the start and for everything up to the last end.
_SECTIONS = [
    (re.compile(f"<(?={start})", re.IGNORECASE), re.compile(f".*{end}", re.IGNORECASE | re.DOTALL))
    for start, end in [("!--", "-->")]
    + [(rf"{tag}\b", rf"</{tag}\s*>") for tag in [*_HIDDEN_TAGS, "textarea", "title"]]
]
_TAG_START = re.compile(r"<(?=/?([a-z][^\s/<>]*))", re.IGNORECASE)
# References need their semicolon, so that "?a=1&copy=2" is unchanged.
_REFERENCE = re.compile(r"&(?:#\d{1,7}|#x[0-9a-f]{1,6}|[a-z][a-z0-9]{1,31});", re.IGNORECASE)


class _TextCollector(HTMLParser):
    """Collect what a browser shows, and whether anything is clearly HTML."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.shown: list[str] = []
        self.is_html = "<!--" in source
        self.hidden_tag = ""
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._break_line(tag)
        if tag in _UNAMBIGUOUS_TAGS or any(value is not None for _, value in attrs):
            self.is_html = True
        if tag in _HIDDEN_TAGS and not self.hidden_tag:
            self.hidden_tag = tag

    def handle_endtag(self, tag: str) -> None:
        self._break_line(tag)
        self.is_html = True
        if tag == self.hidden_tag:
            self.hidden_tag = ""

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_endtag(tag)

    def handle_decl(self, decl: str) -> None:
        self.is_html = True

    def handle_data(self, data: str) -> None:
        if not self.hidden_tag:
            self.shown.append(data)

    def _break_line(self, tag: str) -> None:
        if tag in _BLOCK_TAGS and self.shown[-1:] != ["\n"]:
            self.handle_data("\n")


def html_to_text(text: str) -> str:
    """Return the text that a browser shows for HTML, and other text unchanged."""
    if "<" in text:
        *parts, last = text.split("]]>")
        text = "".join([*map(_unwrap_cdata, parts), last])
        collector = _TextCollector(_escape_other_markup(text))
        if collector.is_html and not collector.hidden_tag:
            # What the parser still holds is an incomplete tag, which is text; close() may drop it.
            text = "".join([*collector.shown, unescape(collector.rawdata)])
    return _REFERENCE.sub(_resolve_reference, text) if "&" in text else text


def _unwrap_cdata(part: str) -> str:
    before, start, content = part.partition("<![CDATA[")
    return f"{before}{content}" if start else f"{part}]]>"


def _escape_other_markup(text: str) -> str:
    """Escape unknown tags and sections without an end, which the parser then returns as text."""
    text = text.replace("&", "&amp;").replace("<![", "&lt;![")
    text = _TAG_START.sub(_escape_unknown_tag, text)
    for start, up_to_end in _SECTIONS:
        if start.search(text):
            closed = up_to_end.match(text)
            n = closed.end() if closed else 0
            text = text[:n] + start.sub("&lt;", text[n:])
    return text


def _escape_unknown_tag(found: re.Match[str]) -> str:
    name = found[1].lower()
    is_office = name.startswith(("o:", "v:", "w:", "m:", "st1:"))
    return "<" if name in _TAGS or is_office else "&lt;"


def _resolve_reference(found: re.Match[str]) -> str:
    reference = found[0]
    return unescape(reference) if reference[1] == "#" else html5.get(reference[1:], reference)
