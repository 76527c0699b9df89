"""Every kind of sensor has a page and a sample, and both say what the code says."""

from __future__ import annotations

import dataclasses
import importlib
import re
import tomllib
from pathlib import Path

import pytest

from edge.inspection import check
from edge.sensors.registry import HOST_SENSORS, SENSORS, make_sensors
from tests.edge.samples import PAGES, sample

ROOT = PAGES.parents[1]
KINDS = sorted(set(SENSORS) - set(HOST_SENSORS))


def fields(kind: str) -> set[str]:
    """Every option of a kind, those of tables in it too."""
    module = importlib.import_module(SENSORS[kind].partition(":")[0])
    options = [
        each for name, each in vars(module).items() if name.endswith("Options") and dataclasses.is_dataclass(each)
    ]
    return {field.name for each in options for field in dataclasses.fields(each)}


def test_the_sample_of_this_machine_is_in_order(tmp_path: Path) -> None:
    assert check(sample("host", tmp_path)) == []


@pytest.mark.parametrize("kind", ["host", *KINDS])
def test_a_sample_makes_sensors_of_its_kind(kind: str, tmp_path: Path) -> None:
    settings = sample(kind, tmp_path)
    assert make_sensors(settings.sensors)
    assert kind in {each.kind for each in settings.sensors}


@pytest.mark.parametrize("kind", ["host", *KINDS])
def test_a_kind_has_a_page_that_the_list_names(kind: str) -> None:
    page = (PAGES / f"{kind}.md").read_text("utf-8")
    assert page.startswith(f"# {kind}\n")
    assert f"]({kind}.toml)" in page, "it leads to the sample"
    assert f"[{kind}]({kind}.md)" in (PAGES / "README.md").read_text("utf-8")


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_names_every_option(kind: str) -> None:
    said = set(re.findall(r"`([a-z0-9_]+)`", (PAGES / f"{kind}.md").read_text("utf-8")))
    said |= set(re.findall(r"`([a-z0-9_]+)`", (PAGES / "README.md").read_text("utf-8")))
    assert fields(kind) <= said


def test_every_extra_of_a_sensor_is_among_those_that_the_tests_need() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    assert {name for name in extras if name.startswith("sensors-")} <= set(
        re.findall(r"[a-z0-9-]+", extras["dev"][0].partition("[")[2])
    )
