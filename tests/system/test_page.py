"""The page in a real browser, on the real processes: what a person sees in the first minutes."""

from __future__ import annotations

import json
import re
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from hub.web import schema
from tests.servers import binary
from tests.system.stack import Stack, running, wait_for

pytestmark = [pytest.mark.system, pytest.mark.timeout(400)]

OUTPUT = Path(__file__).parent / "output"
DESKTOP, PHONE = (1440, 900), (390, 844)
ALARM_WITHIN_S = 240.0
ANSWER_MS = 15_000
BROWSER_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SETTINGS = {"fleet.fault_every_s": 40, "fleet.interval_s": 0.5, "fleet.devices": 30}  # more than a page of the list


@dataclass
class Watch:
    """What a browser asked for, and what it complained about."""

    requests: set[str] = field(default_factory=set)
    complaints: list[str] = field(default_factory=list)

    def over(self, context: BrowserContext) -> None:
        context.on("request", lambda request: self.requests.add(request.url))
        context.on("console", lambda line: self._heard(line.type, line.text))
        context.on("weberror", lambda error: self.complaints.append(str(error.error)))

    def _heard(self, kind: str, text: str) -> None:
        if kind == "error":
            self.complaints.append(text)

    def strangers(self) -> set[str]:
        hosts = {urlsplit(url).hostname for url in self.requests if not url.startswith(("data:", "blob:"))}
        return {str(host) for host in hosts - {"127.0.0.1"}}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running(tmp_path_factory.mktemp("page") / "data", SETTINGS) as started:
        started.wait_until_storing(20)
        wait_for("the page", lambda: urllib.request.urlopen(started.web_url, timeout=5).status == 200)
        yield started


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=ANSWER_MS)
    chromium = str(binary("chromium", variable="PENSTOCK_CHROMIUM"))
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, args=BROWSER_FLAGS)
        yield launched
        launched.close()


@contextmanager
def window(browser: Browser, stack: Stack, size: tuple[int, int], *, dark: bool = False) -> Iterator[Page]:
    """A fresh browser window; whatever it does, it asks nobody but us and has nothing to complain about."""
    watch = Watch()
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme="dark" if dark else "light",
        base_url=stack.web_url,
    )
    context.set_default_timeout(ANSWER_MS)
    watch.over(context)
    page = context.new_page()
    yield page
    context.close()
    assert watch.requests and watch.strangers() == set()
    assert watch.complaints == []


def picture(page: Page, name: str) -> None:
    OUTPUT.mkdir(exist_ok=True)
    page.screenshot(path=OUTPUT / f"{name}.png")


def fits(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


def alarmed_device(stack: Stack) -> str:
    """A device with an alarm on something that can be drawn."""
    found = stack.processors.get("/alarms", state="all", limit=100)["alarms"]
    drawn = [alarm for alarm in found if any(each in alarm["metric"] for each in measured(stack, alarm["device"]))]
    return drawn[0]["device"] if drawn else ""


def measured(stack: Stack, device: str) -> list[str]:
    manifest = stack.hub.get(f"/devices/{device}")["manifest"] or {"series": []}
    return [each["name"] for each in manifest["series"] if each["type"].startswith("float")]


def test_the_fleet_is_there_and_lives(browser: Browser, stack: Stack) -> None:
    with window(browser, stack, DESKTOP) as page:
        page.goto("/")
        rows = page.locator("table.fleet tbody tr")
        expect(rows.nth(19)).to_be_visible()
        expect(page.locator("table.fleet svg polyline").nth(10)).to_be_visible()
        expect(page.locator(".notice")).to_have_class("notice none")
        first = rows.nth(5).inner_text()
        page.wait_for_function(
            "(before) => document.querySelectorAll('table.fleet tbody tr')[5].innerText !== before", arg=first
        )
        picture(page, "fleet")
        page.get_by_role("searchbox").fill("pump-001")
        expect(rows).to_have_count(1)
        page.get_by_role("searchbox").fill("no such thing")
        expect(page.get_by_text("No device matches")).to_be_visible()
        page.get_by_role("searchbox").fill("")
        expect(rows).to_have_count(25)


def test_a_long_list_is_sorted_by_its_headings_and_read_in_pages(browser: Browser, stack: Stack) -> None:
    with window(browser, stack, DESKTOP) as page:
        page.goto("/")
        rows = page.locator("table.fleet tbody tr")
        expect(rows).to_have_count(25)
        by_name = page.get_by_role("button", name="Device")
        by_name.click()
        expect(rows.first).to_contain_text("freezer-001")
        by_name.click()
        expect(page.locator("th[aria-sort=descending]")).to_have_count(1)
        expect(by_name).to_be_focused()
        expect(rows.first).to_contain_text("weather-006")
        page.get_by_role("button", name="Next").click()
        expect(rows.last).to_contain_text("freezer-001")
        expect(page.locator(".pager")).to_contain_text("26 to 3")
        page.get_by_role("searchbox").fill("pump-00")
        expect(rows.first).to_contain_text("pump-006")
        expect(page.locator(".pager")).to_be_hidden()


def test_a_device_that_is_not_there_is_a_sentence_with_the_nearest_names(browser: Browser, stack: Stack) -> None:
    page = browser.new_page(base_url=stack.web_url, viewport={"width": PHONE[0], "height": PHONE[1]})
    response = page.goto("/devices/pres-01")
    assert response is not None and response.status == 404
    expect(page.get_by_role("heading", name="No such device")).to_be_visible()
    expect(page.get_by_role("button", name="Identify")).to_be_hidden()
    expect(page.locator(".sheet:visible")).to_have_count(0)
    page.get_by_role("link", name="press-001").click()
    expect(page.get_by_role("button", name="Identify")).to_be_visible()
    page.close()


def test_a_device_draws_its_series_with_an_alarm_in_them(browser: Browser, stack: Stack) -> None:
    device = wait_for(
        "an alarm on a drawn series", lambda: alarmed_device(stack), timeout_s=ALARM_WITHIN_S, every_s=1.0
    )
    with window(browser, stack, DESKTOP) as page:
        page.goto(f"/devices/{device}")
        expect(page.locator(".chart canvas").first).to_be_visible()
        page.get_by_role("button", name="1 h").click()
        expect(page.get_by_role("button", name="1 h")).to_have_attribute("aria-pressed", "true")
        expect(page.locator("table.alarm-list tbody tr").first).to_be_visible()
        metric = page.locator("table.alarm-list tbody tr th span:not(.mark)").first.inner_text()
        toggle = page.locator(f'[data-pick="{metric}"][aria-pressed="false"]')
        if toggle.count():
            toggle.click()
        wait_for("readings and an alarm in the chart", lambda: drawn_with_alarm(page))
        page.get_by_role("button", name="5 min").click()
        expect(page.get_by_role("button", name="5 min")).to_have_attribute("aria-pressed", "true")
        wait_for("the last minutes in the chart", lambda: drawn(page))
        picture(page, "device")


def drawn_with_alarm(page: Page) -> bool:
    """A line with readings, and a shaded alarm."""
    return any(readings > 5 and alarms > 0 for readings, alarms in drawings(page))


def drawn(page: Page) -> bool:
    """A line with readings."""
    return any(readings > 5 for readings, _ in drawings(page))


def drawings(page: Page) -> list[tuple[int, int]]:
    """What ECharts has drawn, asked of itself: readings and shaded alarms of each chart."""
    found: list[tuple[int, int]] = page.evaluate(
        """() => [...document.querySelectorAll('.chart')].map((node) => {
             const id = node.id.replace(/^c/, '');
             const chart = getElement(Number(id))?.chart;
             const mean = chart?.getOption().series.find((each) => each.id === 'mean');
             return [mean?.data.length ?? 0, mean?.markArea?.data.length ?? 0];
           })"""
    )
    return found


def test_identify_runs_and_its_result_is_shown(browser: Browser, stack: Stack) -> None:
    with window(browser, stack, DESKTOP) as page:
        page.goto("/devices/press-001")
        page.get_by_role("button", name="Identify").click()
        row = page.locator("table.command-list tbody tr").first
        expect(row.get_by_text("succeeded", exact=True)).to_be_visible()
        expect(row.get_by_text("press-001", exact=True)).to_be_visible()
        row.scroll_into_view_if_needed()
        picture(page, "command")
        page.goto("/commands")
        expect(page.locator("table.command-list tbody tr").first).to_contain_text("identify")
        picture(page, "commands")


def test_the_ledger_says_that_nothing_is_lost(browser: Browser, stack: Stack) -> None:
    with window(browser, stack, DESKTOP) as page:
        page.goto("/ledger")
        expect(page.get_by_role("heading", name="Every reading accounted for")).to_be_visible()
        expect(page.locator(".term.lost b")).to_have_text("0")
        expect(page.locator("nav .mark.good")).to_have_text("0 lost")
        expect(page.locator("table.accounts tbody tr").nth(19)).to_be_visible()
        terms = [int(each.replace(",", "")) for each in page.locator(".sum .term b").all_inner_texts()]
        assert terms[0] == sum(terms[1:]) > 0
        before = page.locator(".term.produced b").inner_text()
        page.wait_for_function(
            "(before) => document.querySelector('.term.produced b').innerText !== before", arg=before
        )
        picture(page, "ledger")


def test_alarms_carry_evidence(browser: Browser, stack: Stack) -> None:
    wait_for("an alarm", lambda: stack.processors.get("/alarms", state="all")["alarms"], timeout_s=ALARM_WITHIN_S)
    with window(browser, stack, DESKTOP) as page:
        page.goto("/alarms")
        page.get_by_role("button", name="All", exact=True).click()
        page.locator("details summary").first.click()
        evidence = page.locator("details[open]")  # by what was opened: a new alarm may come above it
        expect(evidence.get_by_text("in the log")).to_be_visible()
        page.wait_for_timeout(2500)  # two refreshes: what the reader opened stays open
        expect(evidence.get_by_text("in the log")).to_be_visible()
        picture(page, "alarms")


@pytest.mark.parametrize("path", ["/", "/devices/press-001", "/alarms", "/commands", "/ledger"])
@pytest.mark.parametrize("dark", [False, True])
def test_every_page_fits_a_phone(browser: Browser, stack: Stack, path: str, dark: bool) -> None:
    with window(browser, stack, PHONE, dark=dark) as page:
        page.goto(path)
        expect(page.locator(".content > *").first).to_be_visible()
        page.wait_for_timeout(1500)
        assert fits(page)
        assert page.evaluate("document.documentElement.dataset.theme") == ("dark" if dark else "light")
        name = path.strip("/").split("/")[0] or "fleet"
        picture(page, f"{name}-phone{'-dark' if dark else ''}")


def test_the_page_says_when_the_processors_are_away_and_goes_on_when_they_are_back(
    browser: Browser, stack: Stack
) -> None:
    with window(browser, stack, DESKTOP) as page:
        page.goto("/")
        expect(page.locator("table.fleet tbody tr").nth(19)).to_be_visible()
        wait_for("the processors to be killed", lambda: stack.kill("processors"))
        expect(page.locator(".notice")).to_contain_text("processors are away")
        expect(page.locator(".notice")).to_have_class("notice none", timeout=60_000)


def test_the_api_answers_in_the_shapes_that_it_documents(stack: Stack) -> None:
    end_ns = time.time_ns()
    metric = measured(stack, "press-001")[0]
    series = f"/series?device=press-001&metric={metric}&start_ns={end_ns - 60 * 10**9}&end_ns={end_ns}"
    shapes: list[tuple[str, type[schema.Shape]]] = [
        ("/devices", schema.Devices),
        ("/devices/press-001", schema.DeviceDetail),
        (series, schema.Series),
        ("/alarms", schema.Alarms),
        ("/commands", schema.Commands),
        ("/ledger", schema.Ledger),
        ("/health", schema.Health),
    ]
    for path, shape in shapes:
        shape.model_validate(get(stack, path))
    assert get(stack, series)["count"]


def get(stack: Stack, path: str) -> Any:
    with urllib.request.urlopen(f"{stack.web_url}/api/v1{path}", timeout=20) as response:
        return json.loads(response.read())


def test_metrics_can_be_scraped(stack: Stack) -> None:
    with urllib.request.urlopen(f"{stack.web_url}/api/v1/metrics", timeout=20) as response:
        lines = response.read().decode().splitlines()
    assert 'penstock_up{process="hub"} 1' in lines and 'penstock_up{process="processors"} 1' in lines
    sample = re.compile(r'[a-zA-Z_:][\w:]*(\{([a-z_]\w*="[^"]*",?)*\})? (-?[\d.e+-]+|NaN|\+Inf|-Inf)')
    assert all(line.startswith("#") or sample.fullmatch(line) for line in lines), lines
    families = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(families) == len(set(families)), "each family is described once"
