from __future__ import annotations

from typing import Any

import pytest

from hub.ledger import reconcile
from penstock.commands.ledger import _show

PROCESSORS = {
    "partitions": [{"partition": 0, "offset": 1}],
    "accounts": [{"device": "press-7", "epoch": 1, "stored": [[0, 10]]}],
    "undecodable": 0,
}


def shown(capsys: pytest.CaptureFixture[str], conflicts: int, **processors: Any) -> str:
    row = {"device": "press-7", "epoch": 1, "produced": 10, "received": [[0, 10]], "conflicts": conflicts}
    hub = {"partitions": [{"partition": 0, "offset": 1}], "accounts": [row]}
    _show({**reconcile(hub, {**PROCESSORS, **processors}).to_json(), "processors_away": None})
    return capsys.readouterr().out


def test_readings_under_the_numbers_of_others_are_shown_by_device(capsys: pytest.CaptureFixture[str]) -> None:
    said = shown(capsys, 3)
    assert "press-7: 3 came under numbers that other readings have; they are on the hub's log and not stored" in said
    assert said.endswith("NOT balanced\n")


def test_messages_that_cannot_be_read_are_shown_beside_the_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    said = shown(capsys, 0, undecodable=2)
    assert "2 messages cannot be read" in said
    assert said.endswith("every reading is accounted for, but for what 2 messages may hold\n")
    assert shown(capsys, 0).endswith("every reading is accounted for\n")
