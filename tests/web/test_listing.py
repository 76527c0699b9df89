"""Long lists: each heading sorts both ways and lets go again, and a page is never empty while there are rows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hub.web.pages.listing import ROWS, Column, Order, frame, ordered, page_at

NAME: Column[tuple[str, int]] = Column("Name", "", lambda each: each[0], largest_first=False)
COUNT: Column[tuple[str, int]] = Column("Count", "right", lambda each: each[1])
TREND: Column[tuple[str, int]] = Column("Trend")
COLUMNS = (NAME, COUNT, TREND)
ITEMS = [("b", 1), ("a", 3), ("c", 3)]


def test_a_heading_sorts_the_natural_way_then_the_other_then_no_more() -> None:
    order = Order().after_click(COUNT)
    assert [name for name, _ in ordered(ITEMS, COLUMNS, order)] == ["a", "c", "b"]
    order = order.after_click(COUNT)
    assert [name for name, _ in ordered(ITEMS, COLUMNS, order)] == ["b", "a", "c"]
    order = order.after_click(COUNT)
    assert order == Order() and ordered(ITEMS, COLUMNS, order) == ITEMS


def test_another_heading_begins_anew_and_names_begin_with_the_first() -> None:
    order = Order("Count", True).after_click(NAME)
    assert [name for name, _ in ordered(ITEMS, COLUMNS, order)] == ["a", "b", "c"]


def test_the_frame_says_how_it_is_sorted_and_only_sortable_headings_are_buttons() -> None:
    shown = frame("Things", COLUMNS, "things", Order("Count", True))
    assert shown.count("<button") == 2 and shown.count("aria-sort") == 1
    assert 'class="right" scope="col" aria-sort="descending"' in shown and "data-parts" in shown


@given(st.integers(-5, 1000), st.integers(0, 1000))
def test_a_page_holds_rows_while_there_are_any_and_not_too_many(index: int, count: int) -> None:
    index, start, stop = page_at(index, count)
    assert index >= 0 and 0 <= start <= stop <= count and stop - start <= ROWS
    assert (stop > start) == (count > 0)


def test_the_pages_together_are_the_list() -> None:
    pages = [page_at(index, 60)[1:] for index in range(3)]
    assert pages == [(0, 25), (25, 50), (50, 60)]
    assert page_at(99, 60)[1:] == (50, 60), "rows that went away leave the last page that there is"
