"""The control socket: answers, errors by kind, deep paths, a socket that a killed process left."""

from __future__ import annotations

import asyncio
import socket
import threading
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from streams.control import ControlClient, listen, serving
from streams.errors import MisuseError, PenstockError, TryLaterError


async def echo(request: Request) -> JSONResponse:
    return JSONResponse({"query": dict(request.query_params), "path": request.path_params})


async def refuse(request: Request) -> JSONResponse:
    return JSONResponse({"error": "no such thing; try another"}, status_code=int(request.path_params["status"]))


APP = Starlette(routes=[Route("/echo/{name}", echo), Route("/refuse/{status}", refuse)])


async def test_a_client_asks_and_errors_come_back_as_ours(tmp_path: Path) -> None:
    deep = tmp_path / ("deep" * 12) / ("deeper" * 12) / "hub.sock"  # longer than a socket address
    client = ControlClient(deep, what="the hub")
    async with serving(APP, deep):
        answer = await asyncio.to_thread(client.get, "/echo/a b", n=3, left_out=None)
        assert answer == {"query": {"n": "3"}, "path": {"name": "a b"}}
        for status, kind in ((400, MisuseError), (404, MisuseError), (503, TryLaterError), (500, PenstockError)):
            with pytest.raises(kind, match="no such thing; try another"):
                await asyncio.to_thread(client.get, f"/refuse/{status}")
        assert deep.stat().st_mode & 0o077 == 0, "for this user alone"
    with pytest.raises(TryLaterError, match="the hub cannot be reached"):
        client.get("/echo/x")


async def test_a_socket_left_behind_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "hub.sock"
    path.touch()
    async with serving(APP, path):
        answer = await asyncio.to_thread(ControlClient(path, what="the hub").get, "/echo/x")
    assert answer["path"] == {"name": "x"}


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"a":', "gave no whole answer"),
        (b"nonsense\r\n\r\n", "gave no whole answer"),
        (b"", "gave no whole answer"),
    ],
)
def test_a_process_that_dies_in_the_middle_of_an_answer(tmp_path: Path, sent: bytes, said: str) -> None:
    path = tmp_path / "hub.sock"
    server = listen(path)
    server.setblocking(True)

    def answer() -> None:
        peer, _ = server.accept()
        peer.recv(65536)
        peer.sendall(sent)
        peer.shutdown(socket.SHUT_RDWR)
        peer.close()

    thread = threading.Thread(target=answer)
    thread.start()
    with pytest.raises(TryLaterError, match=said):
        ControlClient(path, what="the hub").get("/ledger")
    thread.join()
    server.close()
