"""Sends what the spool holds to the hub and takes its commands and requests: a shell around `UplinkWindow` and `Link`.

Over each new connection: the manifest, the birth message, the account, what was said last about commands, then frames
from the oldest on. A frame is freed when its PUBACK comes, and not before. A frame that names another manifest than the
last one sent gets its manifest sent before it. Birth and account are acknowledged before the first frame goes out: a
hub that has numbers which this device would use again says so by then, and numbering starts anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import logging
import random
from typing import Any

from paho.mqtt.enums import MQTTProtocolVersion

from edge.backoff import Backoff
from edge.command_runner import CommandRunner
from edge.inbox_entry import JsonObject
from edge.link import Link, LinkDownError, Message, PublishRefusedError, VersionRefusedError
from edge.recorder import Recorder
from edge.settings import EdgeSettings
from edge.spooled import SpooledFrame
from edge.storage import Storage
from edge.uplink_window import UplinkWindow
from edge.version import agent_name
from edge.waiting import wait_at_most
from streams import names
from streams.clock import Clock
from streams.errors import PenstockError

_log = logging.getLogger(__name__)

_CONTENDED_S_MAX = 60.0
"""Longest pause at least, when another agent takes the session again and again."""


class Uplink:
    """Keeps a connection up as long as `run` runs."""

    def __init__(
        self,
        settings: EdgeSettings,
        storage: Storage,
        recorder: Recorder,
        *,
        clock: Clock,
        randomness: random.Random,
    ) -> None:
        self._settings = settings
        self._storage = storage
        self._recorder = recorder
        self._clock = clock
        self._device = settings.device_id
        self._window = UplinkWindow(settings.inflight_frames_max)
        self._backoff = Backoff(
            first_s=settings.link.retry_s_min, longest_s=settings.link.retry_s_max, randomness=randomness
        )
        self._contended = Backoff(
            first_s=settings.link.retry_s_min,
            longest_s=max(_CONTENDED_S_MAX, settings.link.retry_s_max),
            randomness=randomness,
        )
        self._takeovers = 0
        """Connections that another agent took over, in a row."""
        self._new_epoch: asyncio.Task[None] | None = None
        self._version = int(MQTTProtocolVersion.MQTTv5)
        self._link: Link | None = None
        self._manifest_sent = -1
        self._changed = asyncio.Event()
        self._requests: set[asyncio.Task[Any]] = set()
        self._reason = ""
        self.commands: CommandRunner | None = None
        """Set before `run`: takes commands and is asked for what the hub has not heard."""

    @property
    def connected(self) -> bool:
        """Whether frames can go out at present."""
        return self._link is not None and not self._link.ended.done()

    def on_sealed(self) -> None:
        """There is something new in the spool, or something was freed."""
        self._changed.set()

    def send_result(self, step: JsonObject) -> None:
        """Publish one step of a command, if there is a connection; otherwise it goes out over the next one."""
        if self._link is None or self.commands is None:
            return
        commands = self.commands
        sent = self._link.publish(self._topic(names.RESULTS), _json(step))
        sent.add_done_callback(lambda done: None if done.exception() else commands.on_reported(step))

    async def run(self, stop: asyncio.Event) -> None:
        """Connect, send, and connect again, until `stop`; then send what is left, within the stop time-out."""
        while not stop.is_set():
            link = None
            try:
                link = await self._connect()
            except LinkDownError as error:
                self._tell(f"no connection to {self._where}: {error}")
            else:
                try:
                    await self._serve(link, stop)
                except (LinkDownError, PenstockError, OSError) as error:
                    self._tell(f"the connection to {self._where} has ended: {error}")
                finally:
                    link.abort("given up")
                    self._link = None
            await wait_at_most(stop, self._pause_s(taken_over=link is not None and link.taken_over))

    def _pause_s(self, *, taken_over: bool) -> float:
        """Seconds until the next attempt. Two agents that take each other's session at once would do nothing else."""
        if not taken_over:
            self._takeovers = 0
            self._contended.reset()
            return self._backoff.next_s()
        self._takeovers += 1
        pause_s = self._contended.next_s()
        _log.error(
            "another agent connects to %s as %r and takes over the connection (%d in a row); stop it, or give it a "
            "device id (edge.device) and a state directory of its own; trying again in %.1f s",
            *(self._where, self._device, self._takeovers, pause_s),
        )
        return pause_s

    # -- one connection ----------------------------------------------------------------------------------------------

    @property
    def _where(self) -> str:
        return f"{self._settings.hub_host}:{self._settings.hub_port}"

    async def _connect(self) -> Link:
        will = (self._topic(names.STATE), _json({"online": False, "boot": self._storage.identity.boot}))
        link = Link(self._settings, version=self._version, will=will, on_message=self._on_message)
        self._link = link
        try:
            await link.connect()
        except VersionRefusedError:
            older, newer = int(MQTTProtocolVersion.MQTTv311), int(MQTTProtocolVersion.MQTTv5)
            self._version = older if self._version == newer else newer
            link.abort("MQTT version refused")
            raise
        except BaseException:
            link.abort("not connected")
            raise
        return link

    async def _serve(self, link: Link, stop: asyncio.Event) -> None:
        spool = self._storage.spool
        self._window.on_connected(oldest=spool.oldest, inflight_max=link.inflight_max)
        self._manifest_sent = -1
        await link.subscribe(self._topic(names.COMMAND), self._topic(names.REQUESTS))
        self._send_manifest(link, self._storage.manifest.number, self._storage.manifest.payload)
        born = link.publish(self._topic(names.STATE), self._birth())
        born.add_done_callback(_look_at)
        await self._acknowledged(link, born)
        await self._acknowledged(link, await self._send_account(link))  # what the hub asks at a birth comes before
        for step in self.commands.unreported() if self.commands is not None else ():
            self.send_result(step)
        self._backoff.reset()
        self._tell(f"connected to {self._where}", level=logging.INFO)
        accounts = asyncio.create_task(self._accounts(link), name="accounts")
        try:
            await self._send_frames(link, stop)
        finally:
            accounts.cancel()
        await self._say_goodbye(link)

    async def _send_frames(self, link: Link, stop: asyncio.Event) -> None:
        """Keep the window full until the connection ends; after `stop` until the spool is empty or time is up."""
        spool, deadline_ns = self._storage.spool, None
        while True:
            self._changed.clear()
            if self._new_epoch is not None:
                begun, self._new_epoch = self._new_epoch, None
                await begun
                raise LinkDownError("readings are numbered in a new epoch from now on")
            if link.ended.done():
                raise LinkDownError(link.ended.result())
            self._check_acknowledgements(link)
            if stop.is_set():
                now_ns = self._clock.monotonic_ns()
                deadline_ns = deadline_ns or now_ns + round(self._settings.stop_timeout_s * 1e9)
                if spool.frames == 0 or now_ns >= deadline_ns:
                    return
            wanted = self._window.wanted(oldest=spool.oldest, end=spool.end)
            if wanted is None:
                await self._wait(link, stop)
                continue
            frames = await self._recorder.in_disk_order(functools.partial(spool.read, *wanted))
            for frame in frames:
                await self._send_frame(link, frame)
            if not frames:  # damaged on disk, and declared
                await self._wait(link, stop)

    async def _acknowledged(self, link: Link, sent: asyncio.Future[None] | None) -> None:
        """Wait for the PUBACK. LinkDownError when the connection ends, or it takes too long."""
        if sent is None:
            return
        limit_s = self._settings.link.ack_timeout_s
        try:
            async with asyncio.timeout(limit_s):
                await link.until_down(sent)
        except PublishRefusedError:
            pass  # `_look_at` has said so
        except TimeoutError:
            raise LinkDownError(f"a message was not acknowledged within {limit_s:g} s") from None

    async def _wait(self, link: Link, stop: asyncio.Event) -> None:
        """Until something happens; with a limit, for the time-outs."""
        waits: list[asyncio.Future[Any]] = [asyncio.ensure_future(self._changed.wait()), link.ended]
        if not stop.is_set():
            waits.append(asyncio.ensure_future(stop.wait()))
        try:
            await asyncio.wait(waits, timeout=0.2 if stop.is_set() else 5.0, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                if each is not link.ended:
                    each.cancel()

    async def _send_frame(self, link: Link, frame: SpooledFrame) -> None:
        if frame.manifest != self._manifest_sent:
            payload = await self._recorder.in_disk_order(lambda: self._storage.shelf.get(frame.manifest))
            if payload is not None:
                self._send_manifest(link, frame.manifest, payload)
        self._window.on_sent(frame, self._clock.monotonic_ns())
        sent = link.publish(self._topic(names.FRAMES), frame.payload)
        sent.add_done_callback(lambda done: self._on_answer(link, frame.offset, done.exception()))

    def _on_answer(self, link: Link, offset: int, error: BaseException | None) -> None:
        if link is not self._link:
            return
        if isinstance(error, PublishRefusedError):
            link.abort(str(error))  # it stays in the spool and is tried again after a pause
        elif error is None and (frame := self._window.on_acknowledged(offset)) is not None:
            self._storage.spool.acknowledge(frame)
        self._changed.set()

    def _check_acknowledgements(self, link: Link) -> None:
        since_ns = self._window.waiting_since_ns()
        if since_ns is not None and self._clock.monotonic_ns() - since_ns > self._settings.link.ack_timeout_s * 1e9:
            link.abort("overdue PUBACK")
            raise LinkDownError(f"a frame was not acknowledged within {self._settings.link.ack_timeout_s:g} s")

    async def _say_goodbye(self, link: Link) -> None:
        """A clean stop: the last account, and the will's payload by our own hand."""
        with contextlib.suppress(LinkDownError, PublishRefusedError, TimeoutError, OSError):
            async with asyncio.timeout(max(0.5, self._settings.stop_timeout_s)):
                await self._send_account(link)
                offline = _json({"online": False, "boot": self._storage.identity.boot})
                await link.until_down(link.publish(self._topic(names.STATE), offline))
        link.close()

    # -- what is sent beside frames ----------------------------------------------------------------------------------

    def _send_manifest(self, link: Link, number: int, payload: bytes) -> None:
        self._manifest_sent = number
        link.publish(self._topic(names.MANIFEST), payload).add_done_callback(_look_at)

    def _birth(self) -> bytes:
        identity = self._storage.identity
        produced = max(self._recorder.produced, self._storage.spool.sealed_to(identity.epoch))
        birth = {"online": True, "epoch": identity.epoch, "produced": produced, "boot": identity.boot}
        return _json({**birth, "agent": agent_name(), "time_ms": self._clock.time_ns() // 1_000_000})

    async def _accounts(self, link: Link) -> None:
        while True:
            await asyncio.sleep(self._settings.account_interval_s)
            await self._send_account(link)

    async def _send_account(self, link: Link) -> asyncio.Future[None] | None:
        """Publish the account as it is now; None when it cannot be told."""
        epoch = self._storage.identity.epoch
        try:
            produced = await self._recorder.sync()
        except OSError:
            return None  # reported by the recorder; what is not durable is not told
        if epoch != self._storage.identity.epoch:
            return None  # another has begun meanwhile
        now_ms = self._clock.time_ns() // 1_000_000
        told = self._storage.spool.account(epoch=epoch, produced=produced, time_ms=now_ms)
        sent = link.publish(self._topic(names.ACCOUNT), _json(told))
        sent.add_done_callback(_look_at)
        return sent

    # -- what comes in -----------------------------------------------------------------------------------------------

    def _on_message(self, message: Message) -> None:
        link = self._link
        if link is None:
            return
        place = names.parse_topic(message.topic)
        if place is not None and place.channel == names.COMMAND and self.commands is not None:
            self.commands.on_message(message.payload, lambda: link.acknowledge(message))
            return
        if place is not None and place.channel == names.REQUESTS:
            self._answer(link, message.payload)
        else:
            _log.warning("a message on %s is passed over", message.topic)
        link.acknowledge(message)

    def _answer(self, link: Link, payload: bytes) -> None:
        try:
            asked = json.loads(payload)
            request = asked["request"]
        except (ValueError, KeyError, TypeError, RecursionError):
            _log.warning("a request is passed over, it is not what the protocol says: %r", payload[:80])
            return
        if request == "manifest":
            self._send_manifest(link, self._storage.manifest.number, self._storage.manifest.payload)
        elif request == "account" and not self._requests:  # one answer at a time is enough
            task = asyncio.create_task(self._send_account(link), name="account on request")
            self._requests.add(task)
            task.add_done_callback(self._requests.discard)
        elif request == "epoch":
            self._begin_epoch(asked.get("epoch"), asked.get("received"), asked.get("after"))
        elif request != "account":
            _log.warning("a request is passed over: this agent does not know %r", request)

    def _begin_epoch(self, epoch: Any, received: Any, after: Any) -> None:
        """The hub has numbers that this device would use again."""
        if epoch != self._storage.identity.epoch or self._new_epoch is not None:
            return  # it speaks of an earlier birth
        if not isinstance(after, int) or not epoch <= after < names.EPOCH_TRANSLATED - (1 << 20):
            _log.warning("a request is passed over: no epoch can begin after %r", after)
            return
        _log.error(
            "the state of this device was set back (a restored card or disk?): the hub has its readings up to number "
            "%r of epoch %d, and epochs up to %d; numbering starts anew, so that no number is used twice",
            *(received, epoch, after),
        )
        self._new_epoch = asyncio.create_task(self._recorder.begin_epoch(after), name="new epoch")
        self._changed.set()

    def _topic(self, channel: str) -> str:
        return names.topic(self._device, channel)

    def _tell(self, sentence: str, *, level: int = logging.WARNING) -> None:
        """Log what changed, once: an outage of a day is not a day of the same line."""
        if sentence != self._reason:
            _log.log(level, "%s", sentence)
        self._reason = sentence


def _json(document: JsonObject) -> bytes:
    return json.dumps(document, separators=(",", ":"), allow_nan=False).encode()


def _look_at(done: asyncio.Future[None]) -> None:
    """A lost manifest or account is sent again over the next connection; a refused one is worth a line."""
    if isinstance(error := done.exception(), PublishRefusedError):
        _log.warning("%s", error)
