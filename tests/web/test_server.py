"""The process: a plain word about a taken port, a clean end, and a page that stays up while the others are away."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from hub.web.server import listen
from streams.control import short_path
from streams.errors import MisuseError
from tests.web.peers import Hub, Processors, running

START = """
import logging, resource, sys
from pathlib import Path
from hub.web.server import run
from hub.web.settings import WebSettings
logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s")
logging.getLogger("httpx").setLevel(logging.WARNING)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, int(sys.argv[2])))
sys.exit(run(WebSettings(port=0), Path(sys.argv[1])))
"""


@dataclass
class Running:
    process: asyncio.subprocess.Process
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextlib.asynccontextmanager
async def server(data: Path, *, files_max: int = 1024) -> AsyncIterator[Running]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", START, str(data), str(files_max), stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    said = b""
    try:
        while not (ready := re.search(rb"ready: http://127\.0\.0\.1:(\d+)\n", said)):
            line = await asyncio.wait_for(process.stderr.readline(), 60)
            assert line, said.decode()
            said += line
        yield Running(process, int(ready.group(1)))
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def test_a_taken_port_is_named_with_the_remedy() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen(1)
        port = holder.getsockname()[1]
        with pytest.raises(MisuseError, match=f"port {port} on 127.0.0.1 is taken") as caught:
            listen("127.0.0.1", port)
    assert "web.port" in str(caught.value)


def test_an_address_of_another_machine_is_named() -> None:
    with pytest.raises(MisuseError, match=r"cannot listen on 203\.0\.113\.1:8080.*web\.host"):
        listen("203.0.113.1", 8080)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_cleanly(tmp_path: Path, how: signal.Signals) -> None:
    async with server(tmp_path) as web:
        web.process.send_signal(how)
        _, said = await asyncio.wait_for(web.process.communicate(), 20)
        assert web.process.returncode == 0 and b"stopped" in said and b"Traceback" not in said


async def test_the_front_door_stays_up_and_fills_when_the_others_come(tmp_path: Path) -> None:
    async with server(tmp_path) as web, httpx.AsyncClient(base_url=web.url) as client:
        page = await client.get("/")
        assert page.status_code == 200 and "hub is away" in page.text and "processors are away" in page.text
        assert (await client.get("/api/v1/devices")).status_code == 503
        async with running(tmp_path, Hub(), Processors()):
            while "press-001" not in (page := await client.get("/")).text:
                assert page.status_code == 200
            for path, shows in [
                ("/devices/press-001", "hydraulic press"),
                ("/alarms", "22 bar above"),
                ("/commands", "No commands yet"),
                ("/ledger", "Nothing produced yet"),
            ]:
                while shows not in (page := await client.get(path)).text:  # a page does not wait for a slow answer
                    assert page.status_code == 200, path
                assert not re.findall(r'(?:src|href|url\()\s*=?\s*["\']?https?://', page.text), path
            nope = await client.get("/devices/pres-001")
            assert nope.status_code == 404 and "No such device" in nope.text and "/devices/press-001" in nope.text
            style = await client.get("/assets/style.css")
            assert style.status_code == 200 and "http" not in style.text.replace("http://www.w3.org", "")
        page = await client.get("/devices/press-001")
        while "hub is away" not in page.text:
            page = await client.get("/devices/press-001")
        assert page.status_code == 200 and "hydraulic press" in page.text, "what was known stays"


async def test_a_page_does_not_wait_for_processors_that_hang(tmp_path: Path) -> None:
    async with (
        server(tmp_path) as web,
        httpx.AsyncClient(base_url=web.url) as client,
        running(tmp_path, Hub()),
        hanging(tmp_path / "run" / "processors.sock"),
    ):
        for path, shows in [("/", "press-001"), ("/devices/press-001", "hydraulic press"), ("/ledger", "Ledger")]:
            begun = time.monotonic()
            while shows not in (page := await client.get(path)).text:
                assert time.monotonic() - begun < 4, f"{path} waits for processors that hang"
        while "There is no answer from the processors" not in page.text:
            page = await client.get("/")
        assert "What they last said" not in page.text, "they never said anything"


@contextlib.asynccontextmanager
async def hanging(path: Path) -> AsyncIterator[None]:
    """A process that takes connections and never answers, as one that is stopped."""
    with socket.socket(socket.AF_UNIX) as listener:
        with short_path(path) as address:
            listener.bind(address)
        listener.listen(128)
        yield


async def test_more_idle_connections_than_files_neither_kill_the_page_nor_fill_the_log(tmp_path: Path) -> None:
    async with server(tmp_path, files_max=450) as web, httpx.AsyncClient(base_url=web.url) as client:
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(600):
                _, writer = await asyncio.open_connection("127.0.0.1", web.port)
                stack.callback(writer.close)
            with contextlib.suppress(httpx.TransportError):  # cut off, if too many are being told already
                assert (await client.get("/")).status_code == 503
        while True:
            with contextlib.suppress(httpx.TransportError):
                if (await client.get("/")).status_code == 200:
                    break
        web.process.send_signal(signal.SIGTERM)
        _, said = await asyncio.wait_for(web.process.communicate(), 20)
    assert said.count(b"turned away") == 1 and b"Traceback" not in said and len(said) < 10_000


async def test_strangers_are_refused_on_the_page_its_channel_and_the_api(tmp_path: Path) -> None:
    async with server(tmp_path) as web, httpx.AsyncClient(base_url=web.url) as client:
        for path in ("/", "/api/v1/devices", "/_nicegui_ws/socket.io/?EIO=4&transport=polling"):
            assert (await client.get(path, headers={"host": "evil.example"})).status_code == 403
        assert (await handshake(web.port, "http://evil.example")).startswith("HTTP/1.1 403")
        assert (await handshake(web.port, web.url)).startswith("HTTP/1.1 101")
        answer = await client.get("/")
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


async def handshake(port: int, origin: str) -> str:
    """The first line of the answer to a WebSocket handshake on the page's channel."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        (
            "GET /_nicegui_ws/socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n"
            f"Host: 127.0.0.1:{port}\r\nOrigin: {origin}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        ).encode()
    )
    line = await asyncio.wait_for(reader.readline(), 10)
    writer.close()
    return line.decode()
