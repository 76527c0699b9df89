"""Asking the peers: deep paths, a peer that is away and comes back, and what it refuses."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import pytest

from hub.web.backend import Backend, RefusedError
from streams.errors import TryLaterError
from tests.web.peers import Hub, Processors, running


async def test_a_peer_deep_in_the_file_system_is_reached(tmp_path: Path) -> None:
    data = tmp_path.joinpath(*["deep" * 10] * 4)
    async with running(data, Hub(), Processors()), Backend.of(data) as backend:
        assert (await backend.hub.get("/health"))["status"] == "ok"
        assert (await backend.processors.get("/health"))["store"] == "duckdb"
        assert "penstock_hub_frames_total 5" in await backend.hub.get("/metrics")


@pytest.mark.parametrize("deep", [False, True])
async def test_a_peer_that_comes_back_is_found_by_itself(tmp_path: Path, deep: bool) -> None:
    data = tmp_path.joinpath(*["deep" * 10] * 4) if deep else tmp_path
    async with Backend.of(data) as backend:
        for _ in range(2):
            with pytest.raises(TryLaterError, match="the hub is away"):
                await backend.hub.get("/health")
            async with running(data, Hub()):
                assert (await backend.hub.get("/health"))["status"] == "ok"


async def test_a_peer_is_found_in_a_directory_that_was_made_anew(tmp_path: Path) -> None:
    data = tmp_path.joinpath(*["deep" * 10] * 4)
    async with Backend.of(data) as backend:
        for _ in range(2):
            async with running(data, Hub()):
                with contextlib.suppress(TryLaterError):  # the first question after the loss may meet it
                    await backend.hub.get("/health")
                assert (await backend.hub.get("/health"))["status"] == "ok"
            shutil.rmtree(data / "run")


async def test_a_socket_that_nobody_listens_on_is_away(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "processors.sock").touch()
    async with Backend.of(tmp_path) as backend:
        with pytest.raises(TryLaterError, match="the processors are away") as caught:
            await backend.processors.get("/health")
    assert str(tmp_path) in str(caught.value) and "penstock up" in str(caught.value)


async def test_a_refusal_keeps_its_status_and_sentence(tmp_path: Path) -> None:
    async with running(tmp_path, Hub()), Backend.of(tmp_path) as backend:
        with pytest.raises(RefusedError, match="the nearest is press-001") as caught:
            await backend.hub.get("/devices/pres-001")
    assert caught.value.status == 404


async def test_a_busy_peer_says_when_to_ask_again(tmp_path: Path) -> None:
    async with running(tmp_path, Hub(busy=True)), Backend.of(tmp_path) as backend:
        with pytest.raises(TryLaterError, match="the disk is full") as caught:
            await backend.hub.get("/devices")
    assert caught.value.retry_after_s == 7
