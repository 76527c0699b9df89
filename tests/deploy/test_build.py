"""Provisioning files: complete, the same on every build, without secrets, and not in the way of their readers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.dashboards import build
from deploy.dashboards.catalogue import DASHBOARDS
from deploy.dashboards.source import REFERENCE, Source


@dataclass(frozen=True)
class StoreSettings:
    influx_url: str = "http://influxdb:8086"
    influx_bucket: str = "penstock"
    influx_token: str = "very secret"


def test_the_files_are_complete_and_the_same_on_every_build(tmp_path: Path) -> None:
    first = {path.relative_to(tmp_path / "a"): path.read_bytes() for path in build(tmp_path / "a", StoreSettings())}
    second = {path.relative_to(tmp_path / "b"): path.read_bytes() for path in build(tmp_path / "b", StoreSettings())}
    assert first == second
    assert {str(path) for path in first} == {
        "datasources/penstock.yaml",
        "dashboards/penstock.yaml",
        *(f"dashboards/penstock/{name}.json" for name in DASHBOARDS),
    }


def test_the_token_stays_out_of_the_files(tmp_path: Path) -> None:
    build(tmp_path, StoreSettings())
    for path in tmp_path.rglob("*.*"):
        assert "very secret" not in path.read_text("utf-8")
    source = yaml.safe_load((tmp_path / "datasources" / "penstock.yaml").read_text())["datasources"][0]
    assert source["secureJsonData"] == {"httpHeaderValue1": "Token $PENSTOCK_INFLUX_TOKEN"}
    assert source["jsonData"]["httpHeaderName1"] == "Authorization"
    assert (source["type"], source["url"], source["jsonData"]["dbName"]) == (
        "influxdb",
        "http://influxdb:8086",
        "penstock",
    )


def test_a_reader_may_save_changes_and_finds_the_dashboards_where_they_are_mounted(tmp_path: Path) -> None:
    build(tmp_path, StoreSettings(), mounted_at="/mnt/here")
    provider = yaml.safe_load((tmp_path / "dashboards" / "penstock.yaml").read_text())["providers"][0]
    assert provider["allowUiUpdates"] is True
    assert provider["options"]["path"] == "/mnt/here/dashboards/penstock"
    assert (tmp_path / "dashboards" / "penstock" / "fleet.json").exists()


def test_a_token_does_not_print() -> None:
    assert "secret" not in repr(Source(url="http://x", bucket="b", token="secret"))


def test_without_a_token_no_header_is_sent() -> None:
    assert "secureJsonData" not in Source(url="http://x", bucket="b", token="").to_json()


@pytest.mark.parametrize("name", sorted(DASHBOARDS))
def test_a_dashboard_has_fixed_ids_and_its_panels_do_not_overlap(name: str) -> None:
    made = DASHBOARDS[name]()
    assert made["uid"].startswith("penstock-") and made["id"] is None and made["editable"] is True
    panels = made["panels"]
    assert [panel["id"] for panel in panels] == list(range(1, len(panels) + 1))
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken and max(x for x, _ in cells) < 24
        taken |= cells


@pytest.mark.parametrize("name", sorted(DASHBOARDS))
def test_every_question_goes_to_our_source_within_the_chosen_time(name: str) -> None:
    made = DASHBOARDS[name]()
    for panel in made["panels"]:
        assert panel["datasource"] == REFERENCE and panel["targets"]
        for target in panel["targets"]:
            assert target["datasource"] == REFERENCE
            assert "$timeFilter" in target["query"]
        refs = [target["refId"] for target in panel["targets"]]
        assert len(set(refs)) == len(refs)


@pytest.mark.parametrize("name", sorted(DASHBOARDS))
def test_variables_in_questions_are_declared(name: str) -> None:
    made = DASHBOARDS[name]()
    declared = {variable["name"] for variable in made["templating"]["list"]}
    for target in questions(made):
        for wanted in ("device", "metric"):
            if f"${wanted}" in target["query"]:
                assert wanted in declared


def test_uids_differ() -> None:
    assert len({make()["uid"] for make in DASHBOARDS.values()}) == len(DASHBOARDS)


def test_links_between_dashboards_lead_to_one_that_exists() -> None:
    uids = {make()["uid"] for make in DASHBOARDS.values()}
    text = json.dumps([make() for make in DASHBOARDS.values()])
    linked = {part.split("?")[0].split("/")[0] for part in text.split('"/d/')[1:]}
    assert linked and linked <= uids


def questions(made: dict[str, Any]) -> list[dict[str, Any]]:
    return [target for panel in made["panels"] for target in panel["targets"]]
