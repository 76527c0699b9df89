"""Diagnostics from a real agent by a real hub."""

from __future__ import annotations

import base64
import io
import json
import tarfile
from pathlib import Path

from edge.keeper import Keeper
from edge.log_tail import keep_log_tail
from edge.settings import LinkSettings, SensorSettings
from tests.edge.test_keeper import Hub, running, settings
from tests.edge.test_with_hub import running_hub

MEMBERS = {"log.txt", "about.json", "settings.json", "readings.json", "doctor.json", "spool.json", "files.txt"}


async def test_an_archive_comes_whole_and_without_secrets(tmp_path: Path) -> None:
    keep_log_tail()
    async with running_hub(tmp_path / "hub") as port:
        view = Hub(tmp_path / "hub")
        chosen = settings(
            port,
            link=LinkSettings(retry_s_min=0.01, retry_s_max=0.05, password="hush-1", username="u"),
            sensors=(SensorSettings(kind="load", interval_s=0.02),),
        )
        async with running(Keeper(chosen, tmp_path / "edge")):
            await view.met()
            body = {"device": "press-7", "name": "collect_diagnostics", "deadline_s": 60}
            key = (await view.ask("POST", "/commands", body))["key"]
            ended = await view.ask("GET", f"/commands/{key}", wait_s=30)
            assert ended["state"] == "succeeded", ended
        (listed,) = (await view.ask("GET", "/devices/press-7/uploads"))["uploads"]
        assert (listed["key"], listed["complete"], listed["size"]) == (key, True, ended["result"]["size"])
        found = await view.ask("GET", f"/devices/press-7/uploads/{key}")
    members: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(base64.b64decode(found["base64"]))) as archive:
        for each in archive.getmembers():
            file = archive.extractfile(each)
            assert file is not None
            members[each.name] = file.read()
    assert members.keys() >= MEMBERS
    assert json.loads(members["about.json"])["device"] == "press-7"
    assert json.loads(members["spool.json"])["running"] is True
    assert "load.1m" in json.loads(members["readings.json"])
    assert not any(b"hush-1" in each for each in members.values())
