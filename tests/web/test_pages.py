"""What the pages show, as HTML: right figures, what to do when there is nothing, and no device's own markup."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from hub.ledger import reconcile
from hub.web.markup import Markup
from hub.web.pages import alarms, commands, fleet, ledger
from hub.web.pages import device as device_page
from hub.web.pages.frame import navigation, notice
from hub.web.sharing import Answer
from hub.web.trends import Trends
from tests.web.peers import EPOCH, NOW_MS, NOW_NS, account, alarm, command, device, stored

EVIL = "<img src=x onerror=alert(1)>"


def text(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html)).strip()


def answer(value: Any, problem: str | None = None) -> Answer:
    return Answer(value=value, time_ms=NOW_MS, problem=problem)


def trends() -> Trends:
    made = Trends()
    for time_ns in (1, 2, 3):
        latest = {"press-001": {"oil.pressure": {"time_ns": time_ns, "value": 200.0 + time_ns}}}
        made.learn([device()], latest)
    return made


def fleet_row(each: dict[str, Any], *, open_alarms: int = 0) -> Markup:
    latest = {"oil.pressure": {"time_ns": NOW_NS, "value": 203.25, "quality": 0, "unit": "bar"}}
    return fleet.row(each, latest, trends(), alarms=open_alarms, now_ms=NOW_MS + 1000)


class TestFleet:
    def test_a_row_shows_the_device_at_a_glance(self) -> None:
        shown = fleet_row(device(), open_alarms=2)
        assert text(shown) == "online press-001 hydraulic press · hall-2 203.2 bar oil.pressure 2 1,000 now"
        assert "<polyline" in shown and 'href="/devices/press-001"' in shown

    def test_a_device_that_is_away_says_since_when(self) -> None:
        shown = fleet_row(device(connected=False, last_seen_ms=NOW_MS - 400_000))
        assert "offline" in shown and "6 min ago" in shown and 'class="away"' in shown

    def test_what_a_device_says_is_text(self) -> None:
        about = {"model": EVIL, "labels": {"site": EVIL}}
        series = [{"id": 0, "name": EVIL, "unit": EVIL, "type": "float64"}]
        each = device(manifest={"series": series, "device": about})
        made = Trends()
        made.learn([each], {"press-001": {EVIL: {"time_ns": 1, "value": 1.0}}})
        shown = fleet.row(each, {EVIL: {"time_ns": 1, "value": EVIL, "unit": EVIL}}, made, alarms=0, now_ms=NOW_MS)
        assert "<img" not in shown and shown.count("&lt;img") >= 4

    @pytest.mark.parametrize(
        ("words", "only", "open_alarms", "connected", "shown"),
        [
            ("", "all", 0, True, True),
            ("PRESS hall", "all", 0, True, True),
            ("hydraulic", "all", 0, True, True),
            ("pump", "all", 0, True, False),
            ("", "alarms", 0, True, False),
            ("", "alarms", 1, True, True),
            ("", "offline", 0, True, False),
            ("", "offline", 0, False, True),
        ],
    )
    def test_search_and_filter(self, words: str, only: str, open_alarms: int, connected: bool, shown: bool) -> None:
        each = device(connected=connected)
        assert fleet.is_shown(each, words=words, only=only, alarms=open_alarms) is shown

    def test_what_needs_attention_comes_first(self) -> None:
        devices = [device("a"), device("b", connected=False), device("c")]
        assert [each["device"] for each in fleet.by_urgency(devices, {"c": 1})] == ["c", "b", "a"]

    def test_nothing_says_what_to_do(self) -> None:
        data = Path("/srv/plant one")
        shown = text(fleet.nothing([], None, data, 2883)).replace("&#x27;", "'")
        assert "penstock simulate --hub-port 2883 --data '/srv/plant one'" in shown
        assert "penstock edge run --hub-port 2883 --data '/srv/plant one'" in shown
        assert "--hub-port" not in fleet.nothing([], None, data, 1883)
        assert "hub does not answer" in fleet.nothing([], "away", data, None)
        assert "No device matches" in fleet.nothing([device()], None, data, 1883)

    def test_without_devices_the_head_says_nothing_that_the_rest_says_again(self) -> None:
        assert text(fleet.facts([], {}, 0.0)) == "Fleet"
        assert text(fleet.facts([device()], {}, 0.0)) == "Fleet 1 device all online no open alarms 0 readings/s"


class TestAlarms:
    def test_a_row_carries_its_evidence(self) -> None:
        shown = text(alarms.row(alarm(), now_ms=NOW_MS))
        for part in ("open", "press-001", "oil.pressure", "22 bar above", "1 min", "7.5", "level, version 1"):
            assert part in shown
        assert f"77 of epoch {EPOCH}" in shown and "partition 0, offset 12" in shown and "window s 300" in shown

    def test_what_is_missing_or_hostile_does_no_harm(self) -> None:
        shown = alarms.row(
            alarm(message=EVIL, evidence={}, parameters=None, value=EVIL, state="closed", closed_ns=NOW_NS),
            now_ms=NOW_MS,
        )
        assert "<img" not in shown and "closed" in shown

    def test_no_alarms_says_why(self) -> None:
        assert "Every detector is quiet" in alarms.nothing("open", None)
        assert "processors do not answer" in alarms.nothing("open", "away")


class TestCommands:
    def test_a_command_under_way_shows_how_far_it_is(self) -> None:
        history = [{"state": state, "time_ms": NOW_MS} for state in ("queued", "sent", "accepted", "running")]
        shown = commands.row(command(state="running", progress=0.5, history=history))
        assert shown.count('class="done"') == 4 and "50%" in shown

    def test_a_result_is_pairs(self) -> None:
        shown = commands.row(
            command(
                state="succeeded", ended_ms=NOW_MS + 1500, result={"device": "press-001", "blinked": None, "n": [1]}
            )
        )
        assert text(shown).endswith("device press-001 n [1] 2026-09-21T14:15:00Z 1.50 s") and "blinked" not in shown

    def test_readings_show_their_values_and_units(self) -> None:
        readings = {"oil.pressure": {"time_ns": 1, "value": 203.125, "unit": "bar", "quality": "good"}, "state": "on"}
        assert "oil.pressure 203.1 bar state on" in text(commands.result({"readings": readings}))

    @pytest.mark.parametrize("result", [EVIL, {EVIL: EVIL}, [EVIL], 5, None, {"readings": [EVIL]}])
    def test_results_are_text(self, result: Any) -> None:
        assert "<img" not in commands.row(command(state="succeeded", ended_ms=NOW_MS, result=result))

    def test_an_error_and_a_wait_are_said(self) -> None:
        assert EVIL not in commands.row(command(state="failed", error=EVIL, ended_ms=NOW_MS))
        assert "waits for the device" in commands.row(command())


def drawn(accounts: list[dict[str, Any]]) -> dict[str, Markup]:
    return dict(map(ledger.draw, ledger.entries(accounts)))


class TestLedger:
    def make(self, received: list[list[int]], kept: list[list[int]], produced: int = 1000) -> dict[str, Any]:
        hub = {"accounts": [account(produced, received)], "partitions": [{"partition": 0, "offset": 10}]}
        processors = {"accounts": [stored(kept)], "partitions": [{"partition": 0, "offset": 10}], "undecodable": 0}
        return {**reconcile(hub, processors).to_json(), "processors_away": None}

    def test_the_statement_adds_up(self) -> None:
        made = self.make([[0, 1000]], [[0, 1000]])
        shown = text(ledger.statement(made))
        assert shown == "Every reading accounted for 1,000 Produced = 1,000 Stored + 0 In flight + 0 Lost"
        assert "broken" not in ledger.statement(made)

    def test_what_is_lost_is_said_first_and_by_name(self) -> None:
        made = self.make([[0, 600], [610, 1000]], [[0, 600], [610, 1000]])
        parts = ledger.top(answer(made))
        assert text(parts["statement"]).startswith("10 readings lost") and "broken" in parts["statement"]
        assert text(parts["missing"]) == f"press-001 readings 600 to 609 (10) of epoch {EPOCH}"
        assert 'class="right bad"' in drawn(made["accounts"])[f"press-001/{EPOCH}"]

    def test_a_row_stored_twice_is_not_balanced(self) -> None:
        made = self.make([[0, 10]], [[0, 10]], 10)
        made["totals"]["duplicate_rows"], made["verdict"] = 3, "not balanced"
        assert ledger.verdict(made) == "3 rows stored twice" and "broken" in ledger.statement(made)

    def test_readings_under_the_numbers_of_others_are_not_balanced_and_explained(self) -> None:
        made = self.make([[0, 10]], [[0, 10]], 10)
        made["totals"]["conflicts"], made["verdict"] = 2, "not balanced"
        assert ledger.verdict(made) == "2 readings under numbers that others have"
        assert "not stored" in ledger.top(answer(made))["notes"] and "broken" in ledger.statement(made)

    def test_the_bar_is_to_scale_and_can_be_read_aloud(self) -> None:
        made = self.make([[0, 500], [600, 1000]], [[0, 500], [600, 1000]])
        drawn = ledger.bar(made["totals"])
        assert re.findall(r'class="(\w+)" style="flex-grow:([\d.]+)"', drawn) == [
            ("stored", "0.900000"),
            ("lost", "0.100000"),
        ]
        assert 'role="img"' in drawn and "lost 100" in drawn

    def test_without_the_hub_or_readings_it_says_so(self) -> None:
        assert "hub does not answer" in ledger.top(answer(None, "away"))["empty"]
        nothing = {**reconcile({"accounts": []}, None).to_json(), "processors_away": None}
        assert "Nothing produced yet" in ledger.top(answer(nothing))["empty"]

    def test_without_the_processors_nothing_is_said_of_what_is_stored(self) -> None:
        hub = {"accounts": [account(1000, [[0, 900]])], "partitions": [{"partition": 0, "offset": 10}]}
        hub["accounts"][0]["held"] = [[900, 1000]]
        made = {**reconcile(hub, None).to_json(), "processors_away": "the processors are away"}
        parts = ledger.top(answer(made))
        assert text(parts["statement"]) == "Not known just now 1,000 Produced = 900 Received + 100 Held"
        assert "do not answer" in parts["away"] and "broken" not in parts["statement"]
        (entry,) = ledger.entries(made["accounts"], is_unknown=True)
        assert [text(each) for each in re.findall(r"<td.*?</td>", ledger.row(entry))] == [
            *("1,000", "–", "–", "0", "0", "–", "–", "0")
        ]

    def test_what_is_wrong_comes_first_and_a_search_finds_by_name(self) -> None:
        account = self.make([[0, 10]], [[0, 10]], 10)["accounts"][0]
        accounts = [
            {**account, "device": "a"},
            {**account, "device": "pump-2", "duplicate_rows": 1},
            {**account, "device": "pump-1", "lost": 1},
        ]
        assert [each.account["device"] for each in ledger.entries(accounts)] == ["pump-1", "pump-2", "a"]
        assert [each.account["device"] for each in ledger.entries(accounts, "PUMP 1")] == ["pump-1"]

    def test_a_phone_leaves_out_what_is_0_but_never_what_is_lost(self) -> None:
        shown = drawn(self.make([[0, 10]], [[0, 10]], 10)["accounts"])[f"press-001/{EPOCH}"]
        left_out = re.findall(r'class="[^"]* none" data-label="([^"]*)"', shown)
        assert left_out == ["In flight", "Thinned", "Dropped", "Quarantined", "Repeats"]
        assert 'data-label="Lost"' in shown

    def test_an_earlier_epoch_is_named_as_such(self) -> None:
        older = {**self.make([[0, 10]], [[0, 10]], 10)["accounts"][0], "epoch": EPOCH - 5}
        rows = drawn([older, self.make([[0, 10]], [[0, 10]], 10)["accounts"][0]])
        assert "before it began anew" in rows[f"press-001/{EPOCH - 5}"]
        assert "before it began anew" not in rows[f"press-001/{EPOCH}"]


class TestDevice:
    def test_alarmed_series_are_drawn_first_then_what_is_measured(self) -> None:
        series = device_page.series_of(device())
        assert device_page.first_choice(series, []) == ["oil.pressure", "oil.temperature", "running"]
        assert device_page.first_choice(series, ["oil.temperature", "state"])[0] == "oil.temperature"

    def test_values_follow_the_resolution_and_can_be_charted(self) -> None:
        series = device_page.series_of(device())
        shown = device_page.value_row(series[1], {"value": 201.0, "quality": "good"}, drawn=False, alarms=1)
        assert text(shown) == "oil.pressure 1 201.0 bar Show" and 'data-pick="oil.pressure"' in shown
        assert (
            text(device_page.value_row(series[0], {"value": 1.0, "quality": "good"}, drawn=True, alarms=0))
            == "running on Hide"
        )
        assert "data-pick" not in device_page.value_row(
            series[3], {"value": "on", "quality": "good"}, drawn=False, alarms=0
        )

    def test_what_the_device_calls_bad_is_marked(self) -> None:
        entry = device_page.series_of(device())[1]
        bad = {"value": None, "quality": "bad"}
        assert text(device_page.value_row(entry, bad, drawn=False, alarms=0)) == "oil.pressure bad – Show"
        assert text(device_page.chart_head(entry, bad, [])) == "oil.pressure bad –"
        assert "bad" not in device_page.chart_head(entry, {"value": 1.0, "quality": "uncertain"}, [])

    def test_while_the_hub_is_away_nothing_is_called_online(self) -> None:
        assert "online" in text(device_page.title("press-001", answer(device()), NOW_MS))
        shown = text(device_page.title("press-001", answer(device(), "away"), NOW_MS))
        assert "not known while the hub is away" in shown and "online" not in shown

    def test_what_it_says_of_itself_is_text(self) -> None:
        about = {"device": {"model": EVIL, "labels": {EVIL: EVIL}}, "series": [{"name": EVIL, "type": EVIL}]}
        each = device(agent=EVIL, address=EVIL, manifest=about)
        entry = {"name": EVIL, "unit": EVIL, "type": "float64", "description": EVIL}
        for shown in (
            device_page.identity(each),
            device_page.title(EVIL, answer(each), NOW_MS),
            device_page.value_row(entry, {"value": EVIL, "quality": "good"}, drawn=True, alarms=0),
            device_page.chart_head(entry, {"value": EVIL, "quality": "good"}, [alarm(detector=EVIL)]),
        ):
            assert "<img" not in shown

    def test_the_nearest_names_are_those_that_are_alike_or_hold_it(self) -> None:
        names = ["press-002", "press-001", "freezer-001", "vm", "cold-store-17"]
        assert device_page.nearest("Pres-01", names) == ["press-001", "press-002"]
        assert device_page.nearest("store", names) == ["cold-store-17"]
        assert device_page.nearest("zzz", names) == []
        assert len(device_page.nearest("press", [f"press-{number:03}" for number in range(100)])) == 5

    def test_no_such_device_is_a_sentence_with_links(self) -> None:
        shown = device_page.no_such_device(EVIL, ["press-001"])
        assert "<img" not in shown and 'href="/devices/press-001"' in shown and "<button" not in shown
        assert text(device_page.no_such_device("x", [])) == "No device has ever connected as x . All devices"

    def test_a_list_is_called_empty_only_when_that_is_known(self) -> None:
        never = Answer(value=None, time_ms=None, problem=None)
        assert text(device_page.none_so_far(never, False, "None so far.")) == ""
        assert "None so far" in device_page.none_so_far(answer({}), False, "None so far.")
        assert "Not known" in device_page.none_so_far(answer(None, "away"), False, "None so far.")

    def test_longer_spans_are_drawn_less_often(self) -> None:
        assert [device_page.refresh_every_s(span) for span in (300, 3600, 86400)] == [1.0, 6.0, 30.0]


class TestFrame:
    def test_the_ledger_is_in_view_on_every_page(self) -> None:
        good = {"verdict": "balanced", "totals": {"lost": 0}, "processors_away": None}
        shown = navigation("/", answer({"alarms": [alarm()]}), answer(good))
        assert text(shown) == "Fleet Alarms 1 Commands Ledger 0 lost"
        assert '<a href="/" aria-current="page">' in shown
        bad = navigation("/", answer(None), answer({"verdict": "not balanced", "totals": {"lost": 5}}))
        assert "5 lost" in bad and "mark bad" in bad
        for unknown in (
            answer(good, "the hub is away"),
            answer(None, "the hub is away"),
            answer({**good, "verdict": "unknown", "processors_away": "the processors are away"}),
        ):
            shown = navigation("/", answer(None), unknown)
            assert text(shown).endswith("Ledger unknown") and "mark good" not in shown and "away" in shown
        assert text(navigation("/", answer(None), Answer(value=None, time_ms=None, problem=None))).endswith("Ledger")

    def test_what_is_wrong_is_said_and_since_when(self) -> None:
        well = answer({"problems": []})
        assert text(notice([well, well], [well])) == ""
        assert "The disk is full." in text(notice([answer({"problems": ["the disk is full"]})], []))
        away = text(notice([answer({"problems": []}, "the hub is away")], [answer({}, "the hub is away")]))
        assert away.startswith("The hub is away. What they last said") and "2026-" in away

    def test_nothing_is_claimed_of_what_was_never_said(self) -> None:
        never = Answer(value=None, time_ms=None, problem="the hub is away")
        away = text(notice([answer({"problems": []}, "the hub is away")], [never, answer({})]))
        assert away == "The hub is away."
