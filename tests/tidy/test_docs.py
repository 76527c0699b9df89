"""The documentation is held against the code: every command, every setting, every link."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.__main__ import NAMES
from penstock.configuration import Configuration
from penstock.reference import commands, pages
from streams.settings import leaves

pytestmark = pytest.mark.tidy

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("name", sorted(pages()))
def test_generated_pages_are_up_to_date(name: str) -> None:
    assert (ROOT / "docs" / name).read_text("utf-8") == pages()[name], "run: make reference"


def test_the_page_of_benchmarks_says_what_was_measured() -> None:
    assert report.PAGE.read_text("utf-8") == report.page(report.read(), NAMES), "run: python -m benchmarks --report"


def test_every_command_says_what_it_does() -> None:
    for words, command in commands():
        assert command.help, f"{words} has no help"


def test_every_setting_says_what_it_means() -> None:
    for leaf in leaves(Configuration):
        assert leaf.doc.strip().endswith("."), f"{leaf.name} needs a sentence"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page}: {target} is not there"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_pages_name_exist(page: Path) -> None:
    for name in re.findall(
        r"`((?:streams|edge|hub|processors|simulators|penstock|deploy)/[\w./-]+\.\w+)`", page.read_text("utf-8")
    ):
        assert (ROOT / name).exists(), f"{page} names {name}, which is not there"


def test_decisions_are_numbered_without_gaps() -> None:
    numbers = [int(path.name[:4]) for path in sorted((ROOT / "docs" / "decisions").glob("*.md"))]
    assert numbers == list(range(1, len(numbers) + 1))
