"""The text of an HTML, for people: nothing of it can run, and no HTML can exhaust us.

Read tag by tag in one pass. Parsers that build the tree which HTML5 prescribes need time with the square of its depth:
lexbor took a minute for 1 MB of nested `<div>`.
"""

import re
from collections.abc import Iterator, Mapping
from html import unescape
from typing import Final

_LONGEST: Final = 1024 * 1024
"""Characters that are looked at; the HTML itself stays whole."""
_UNSEEN: Final = frozenset(
    {"head", "iframe", "math", "noscript", "object", "script", "style", "svg", "template", "title"}
)
"""Elements whose content nobody sees."""
_PARAGRAPHS: Final = frozenset({"p", "h1", "h2", "h3", "h4", "h5", "h6", "table", "ul", "ol", "blockquote"})
_BLOCKS: Final = frozenset(
    {
        *(
            "address",
            "article",
            "aside",
            "body",
            "br",
            "center",
            "dd",
            "div",
            "dl",
            "dt",
            "fieldset",
            "figure",
            "footer",
        ),
        *("form", "header", "hr", "li", "main", "nav", "pre", "section", "tbody", "thead", "tr"),
    }
)
_CELLS: Final = frozenset({"td", "th"})
_LINKS: Final = ("http://", "https://", "mailto:")
_TAG: Final = re.compile(r"(/?)([A-Za-z][A-Za-z0-9]{0,20})")
_ATTRIBUTE: Final = re.compile(r"""\b(href|alt)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>"']+))""", re.IGNORECASE)
_LONGEST_TAG: Final = 8 * 1024
_BLANKS: Final = re.compile(r"[\x01-\x20\x7f\u00a0]+")
_AROUND_BREAKS: Final = re.compile(r" ?\n ?")
_MANY_BREAKS: Final = re.compile(r"\n{3,}")
_BREAK: Final = "\x00"
"""Stands for a line end while blanks of the source are made one; no text holds it."""


def text_of(html: str) -> str:
    """The visible text: a line for each block, `- ` before list items, links with where they lead."""
    joined = "".join(_pieces(html[:_LONGEST].replace(_BREAK, "")))
    text = _BLANKS.sub(" ", joined).replace(_BREAK, "\n")
    return _MANY_BREAKS.sub("\n\n", _AROUND_BREAKS.sub("\n", text)).strip()


def with_text(data: Mapping[str, object]) -> dict[str, object]:
    """The data of an e-mail, with a text derived from its HTML where it has none."""
    html = data.get("html")
    return {**data, "text": text_of(html)} if isinstance(html, str) and not data.get("text") else dict(data)


def _pieces(html: str) -> Iterator[str]:
    lowered = html.lower() if html.isascii() else "".join(c.lower() if c < "\x80" else c for c in html)
    link = shown = ""
    place = 0
    while place < len(html):
        start = html.find("<", place)
        text = unescape(html[place : start if start >= 0 else len(html)])
        shown = shown[-_LONGEST_TAG:] + text if link else ""
        yield text
        if start < 0:
            return
        tag = _TAG.match(html, start + 1)
        if tag is None:
            place = _after_no_tag(html, start)
            if place == start + 1:
                yield "<"
            continue
        end = _end_of_tag(html, start)
        name, is_end = tag[2].lower(), bool(tag[1])
        if name in _UNSEEN and not is_end:
            place = lowered.find(f"</{name}", end)
            if place < 0:
                return
            continue
        attributes = _attributes(html[tag.end() : min(end, start + _LONGEST_TAG)]) if name in ("a", "img") else {}
        if name == "a":
            yield f" ({link})" if is_end and link and link.removeprefix("mailto:") not in shown else ""
            href = attributes.get("href", "").strip()
            link = href if not is_end and href.lower().startswith(_LINKS) else ""
        else:
            yield attributes.get("alt", "") if name == "img" else _break(name, is_end)
        place = end


def _after_no_tag(html: str, start: int) -> int:
    """Where it goes on after a comment, a declaration, or a mere `<`."""
    if html.startswith("<!--", start):
        end = html.find("-->", start + 4)
        return len(html) if end < 0 else end + 3
    if html.startswith(("<!", "<?", "</"), start):
        end = html.find(">", start)
        return len(html) if end < 0 else end + 1
    return start + 1


def _end_of_tag(html: str, start: int) -> int:
    """Behind the tag's `>`; one inside quotes does not end it."""
    end = html.find(">", start)
    while 0 <= end < start + _LONGEST_TAG and html.count('"', start, end) % 2:
        end = html.find(">", end + 1)
    return len(html) if end < 0 else end + 1


def _attributes(inside: str) -> dict[str, str]:
    return {
        name.lower(): unescape(quoted or single or bare) for name, quoted, single, bare in _ATTRIBUTE.findall(inside)
    }


def _break(name: str, is_end: bool) -> str:
    if name in _CELLS:
        return " "
    if name in _PARAGRAPHS:
        return _BREAK * 2
    if name not in _BLOCKS:
        return ""
    return f"{_BREAK}- " if name == "li" and not is_end else _BREAK
