"""penstock up: everything on this machine, with one command."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from penstock.commands.common import (
    ConfigOption,
    DataOption,
    assignments,
    called,
    console,
    data_directory,
    hub_client,
    processors_client,
)
from penstock.configuration import Configuration, configure
from penstock.ports import free_port, holder, is_free
from penstock.supervisor import Job, Supervisor
from streams.clock import SystemClock
from streams.control import ControlClient
from streams.errors import MisuseError, PenstockError
from streams.files import DirectoryLock, DiskFiles

STOP_ORDER = ("fleet", "edge", "hub", "processors", "web")
START_TIMEOUT_S = 60.0
HEALTH_EVERY_S = 5.0


def register(app: typer.Typer) -> None:
    app.command("up")(up)


def up(
    config: ConfigOption = None,
    data: DataOption = None,
    sets: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A setting; may be given several times.")
    ] = None,
    fleet: Annotated[bool, typer.Option("--fleet/--no-fleet", help="Run the simulated fleet.")] = True,
    edge: Annotated[bool, typer.Option("--edge/--no-edge", help="Run the edge agent of this machine.")] = True,
) -> None:
    """Start everything on this machine and keep it running; Ctrl-C drains and stops it, twice forces."""
    flags = assignments(sets or [])
    configuration = configure(config, flags)
    warning = check_store(configuration)
    check_detectors(configuration)
    directory = data_directory(data)
    if not directory.exists():
        check_ports(configuration)  # a start that is refused leaves nothing behind
    lock = DirectoryLock(directory, owner="penstock up")
    try:
        check_ports(configuration)
        flags = with_free_ports(configuration, flags)
        configuration = configure(config, flags)
        if warning:
            console.print(
                f"  [yellow]![/yellow] {warning}; what comes waits in the log", soft_wrap=True, highlight=False
            )
        jobs = plan(config, directory, fleet=fleet, edge=edge)
        status = asyncio.run(_run(configuration, directory, jobs, job_environment(configuration, flags)))
    finally:
        lock.release()
    raise typer.Exit(status)


def check_store(configuration: Configuration) -> str | None:
    """Refuse to start with a store that cannot be; a sentence says what is only away just now."""
    from processors.stores.registry import check_store as check

    return check(configuration.processors.store)


def check_detectors(configuration: Configuration) -> None:
    """Refuse to start with detectors that are not there, by name."""
    from processors.detectors.registry import detectors

    detectors(configuration.processors.alarms.detectors)


def check_ports(configuration: Configuration) -> None:
    """Refuse to start on ports that somebody holds, by name."""
    taken: dict[int, str] = {}
    for name, host, port in _ports(configuration):
        if port == 0:
            continue
        other = port + 1 if port < 65535 else port - 1
        remedy = f"--set {name}={other} (with make: make up ARGS='--set {name}={other}')"
        if port in taken:
            raise MisuseError(f"{name} and {taken[port]} are both {port}; choose another for one of them: {remedy}")
        taken[port] = name
        if not is_free(host, port):
            raise MisuseError(
                f"port {port} on {host} is taken by {holder(port)}; stop that one, or choose another port: {remedy}"
            )


def with_free_ports(configuration: Configuration, flags: dict[str, str]) -> dict[str, str]:
    """The flags, with a free port in place of each that is 0: every process must know the same one."""
    chosen = {name: str(free_port(host)) for name, host, port in _ports(configuration) if port == 0}
    return {**flags, **chosen}


def _ports(configuration: Configuration) -> list[tuple[str, str, int]]:
    mqtt, web = configuration.hub.mqtt, configuration.web
    return [("hub.mqtt.port", mqtt.host, mqtt.port), ("web.port", web.host, web.port)]


def plan(config: Path | None, data: Path, *, fleet: bool, edge: bool) -> list[Job]:
    """The processes to run."""
    common = ["--data", str(data), *(["--config", str(config.resolve())] if config else [])]
    jobs = [
        Job(name="hub", arguments=["hub", "run", *common]),
        Job(name="processors", arguments=["process", "run", *common]),
        Job(name="web", arguments=["web", "run", *common], drain_s=5.0),
    ]
    if edge:
        jobs.append(Job(name="edge", arguments=["edge", "run", *common]))
    if fleet:
        jobs.append(Job(name="fleet", arguments=["simulate", *common]))
    return jobs


def job_environment(configuration: Configuration, flags: dict[str, str]) -> dict[str, str]:
    """The flags of `up` for the processes it starts; agents that are told no other hub are sent to this one."""
    mqtt = configuration.hub.mqtt
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(mqtt.host, mqtt.host)
    defaults = Configuration()
    settings: dict[str, str] = {}
    for name in ("edge", "fleet"):
        told, default = getattr(configuration, name), getattr(defaults, name)
        if (told.hub_host, told.hub_port) == (default.hub_host, default.hub_port):
            settings |= {f"{name}.hub_host": host, f"{name}.hub_port": str(mqtt.port)}
    variables = {"PENSTOCK_" + name.replace(".", "__").upper(): value for name, value in (settings | flags).items()}
    return {**os.environ, **variables}


async def _run(configuration: Configuration, data: Path, jobs: list[Job], environment: dict[str, str]) -> int:
    started = time.monotonic()
    files = DiskFiles()
    for folder in ("run", "logs"):
        files.make_directory(data / folder)
    console.print("[bold]Penstock[/bold]  data in", escape(str(data)), soft_wrap=True)
    supervisor = Supervisor(
        data,
        jobs,
        files=files,
        clock=SystemClock(),
        tell=_tell,
        environment=environment,
    )
    stop = asyncio.Event()
    forced = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        if stop.is_set():
            forced.set()
            supervisor.force()
        stop.set()

    for each in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(each, on_signal)
    supervisor.start()
    watch = asyncio.create_task(_watch(configuration, data, [job.name for job in jobs], started), name="progress")
    waits = [asyncio.create_task(event.wait()) for event in (stop, supervisor.refused)]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for task in (watch, *waits):
        task.cancel()
    console.print("\nstopping: what is on the way is brought to disk (Ctrl-C again to force)")
    await supervisor.drain(STOP_ORDER)
    console.print("killed" if forced.is_set() else f"stopped; all data is in {escape(str(data))}", soft_wrap=True)
    return 1 if forced.is_set() else 2 if supervisor.refused.is_set() else 0


def _tell(text: str) -> None:
    console.print(f"  [yellow]![/yellow] {escape(text)}", soft_wrap=True)


async def _watch(configuration: Configuration, data: Path, names: list[str], started: float) -> None:
    """Say when each part is ready, then what to open and what to try; from then on, what goes wrong."""
    hub, processors = hub_client(data), processors_client(data)
    web_url = f"http://{configuration.web.host}:{configuration.web.port}"
    steps: list[tuple[str, Callable[[], Any]]] = [
        (
            f"hub         MQTT on {configuration.hub.mqtt.host}:{configuration.hub.mqtt.port}",
            lambda: hub.get("/health"),
        ),
        (f"processors  store: {configuration.processors.store.kind}", lambda: processors.get("/health")),
    ]
    for text, probe in steps:
        await _ready(text, probe, started)
    await _ready(
        f"web         {web_url}", lambda: is_free(configuration.web.host, configuration.web.port) is False, started
    )
    if "edge" in names or "fleet" in names:
        await _ready("devices     first readings stored", lambda: processors.get("/latest")["devices"], started)
    device = next(iter(sorted(processors.get("/latest")["devices"])), "DEVICE") if "fleet" in names else "DEVICE"
    calls = (("ledger",), ("command", "send", device, "identify"), ("device", "list"))
    tries = "\n            ".join(escape(called(*words, data=data)) for words in calls)
    console.print(
        f"\n  Open      [bold]{web_url}[/bold]\n  Try       {tries}\n"
        f"  Logs      {escape(str(data / 'logs'))}\n  Stop      Ctrl-C\n",
        soft_wrap=True,
        highlight=False,
    )
    await _follow_health({"hub": hub, "processors": processors})


async def _follow_health(clients: Mapping[str, ControlClient]) -> None:
    """Tell each problem once when it comes, and when it is over."""
    told: dict[str, list[str]] = {name: [] for name in clients}
    while True:
        await asyncio.sleep(HEALTH_EVERY_S)
        for name, client in clients.items():
            try:
                problems = (await asyncio.to_thread(client.get, "/health"))["problems"]
            except PenstockError:
                continue  # the supervisor tells when a process has ended
            if problems and not told[name]:
                _tell(f"{name}: {'; '.join(problems)}")
            elif told[name] and not problems:
                console.print(f"  [green]✓[/green] {name} is well again", soft_wrap=True)
            told[name] = problems


async def _ready(text: str, probe: Callable[[], Any], started: float) -> None:
    with console.status(f"{text} ..."):
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                if await asyncio.to_thread(probe):
                    break
            except (PenstockError, OSError):
                pass
            if time.monotonic() > deadline:
                console.print(
                    f"  [red]✗[/red] {text}: not ready after {START_TIMEOUT_S:.0f} s; see the logs", soft_wrap=True
                )
                return
            await asyncio.sleep(0.1)
    console.print(f"  [green]✓[/green] {text}  [dim]{time.monotonic() - started:.1f} s[/dim]", soft_wrap=True)
