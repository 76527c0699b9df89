"""The containers: only settings and files that exist, nothing open to the network, every image of a fixed version."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from penstock.configuration import Configuration
from penstock.reference import commands
from streams.settings import leaves

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
OURS = ("hub", "processors", "web", "dashboards")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    made: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
    return made


def test_every_setting_exists(compose: dict[str, Any]) -> None:
    known = {leaf.variable for leaf in leaves(Configuration)}
    for name in OURS:
        for variable in compose["services"][name].get("environment", {}):
            assert variable in known, f"{name}: {variable}"


def test_every_command_exists(compose: dict[str, Any]) -> None:
    known = {words.removeprefix("penstock ") for words, _ in commands()}
    for name in OURS:
        words = [word for word in compose["services"][name]["command"] if not word.startswith(("-", "/"))]
        assert " ".join(words) in known, f"{name}: {words}"


def test_ports_are_open_to_this_machine_alone(compose: dict[str, Any]) -> None:
    ports = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert ports and all(port.startswith("127.0.0.1:") for port in ports)


def test_images_of_others_have_a_version(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        if name not in OURS:
            assert re.fullmatch(r"[\w/-]+:\d+\.\d+\.\d+", service["image"]), service["image"]


def test_no_secret_is_written_down(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        for name, value in service.get("environment", {}).items():
            if "TOKEN" in name or "PASSWORD" in name:
                assert value.startswith("${"), f"{name} is {value}"


def test_what_the_image_is_made_of_exists() -> None:
    for line in (DEPLOY / "Dockerfile").read_text("utf-8").splitlines():
        if line.startswith("COPY "):
            for name in line.split()[1:-1]:
                assert (DEPLOY.parent / name).exists(), name
