"""Markup is safe by construction: whatever text goes in comes out of a parser as that text, and nothing else."""

from __future__ import annotations

from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from hub.web.markup import Markup, join, tag

# NUL and CR are changed by every HTML parser, whatever escapes them
printable = st.text(st.characters(blacklist_characters="\x00\r", blacklist_categories=("Cs",)))


class Reader(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, list[tuple[str, str | None]]]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((name, attributes))

    def handle_data(self, data: str) -> None:
        self.text += data


@given(printable, printable)
def test_text_and_attributes_come_out_as_they_went_in(text: str, title: str) -> None:
    read = Reader(tag("p", text, title=title))
    assert read.tags == [("p", [("title", title)])]
    assert read.text == text


def test_attributes_are_spelt_as_html_spells_them() -> None:
    made = tag("a", "x", class_="b", aria_label="c", hidden=True, rel=None, disabled=False)
    assert made == '<a class="b" aria-label="c" hidden>x</a>'


def test_markup_is_not_escaped_twice_and_lists_are_joined() -> None:
    inner = tag("b", "1 < 2")
    assert tag("p", [inner, " & ", None, 3]) == "<p><b>1 &lt; 2</b> &amp; 3</p>"
    assert isinstance(join("<x>"), Markup) and join("<x>") == "&lt;x&gt;"


def test_an_element_that_cannot_have_children_closes_itself() -> None:
    assert tag("link", rel="icon") == '<link rel="icon"/>'
