"""What other gadgets publish at an MQTT broker nearby: the agent subscribes there, topic by topic."""

from __future__ import annotations

import dataclasses
import socket
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from edge.inlet import Inlet
from edge.sensors.declared import unique
from edge.sensors.lines import TextOptions, TextReader, TextSeriesOptions
from edge.sensors.sensor import SensorContext, SensorFailedError, Series
from streams.errors import JunkError
from streams.settings import setting

_LOOK_S = 0.25
_CONNECT_S = 10.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MqttSeriesOptions(TextSeriesOptions):
    """What is published under one topic, or a part of it."""

    topic: str = setting(doc="The topic, without wildcards.")
    format: str = setting("value", "How its messages are written.", choices=("value", "json", "pairs", "pattern"))
    pattern: str = setting("", "A regular expression with named groups, for the format pattern.")

    def __post_init__(self) -> None:
        TextSeriesOptions.__post_init__(self)
        if not self.topic or set(self.topic) & set("+#\0"):
            raise ValueError(f"topic {self.topic!r} of {self.name} must be one topic, without + and #")
        TextOptions(format=self.format, pattern=self.pattern, series=(self,))  # checks the two


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MqttOptions:
    """Which broker, and what to take from it."""

    host: str = setting("127.0.0.1", "Host name or address of the broker.")
    port: int = setting(1883, "Its TCP port; 8883 is usual with TLS.", minimum=1, maximum=65535)
    username: str = setting("", "MQTT user name; empty sends none.")
    password_file: str = setting("", "File with the password.")
    ca_file: str = setting("", "Certificates to trust, PEM; naming them switches TLS on.")
    client_id: str = setting(
        "", "Must be the agent's own; empty: penstock-HOST-NAME. The broker keeps messages for it."
    )
    qos: int = setting(1, "Quality of service of the subscriptions.", minimum=0, maximum=2)
    keepalive_s: int = setting(30, "Silence after which the connection is checked.", minimum=5, maximum=3600)
    retained: bool = setting(False, "Take retained messages too; they may be old, and have no time of their own.")
    silence_s_max: float = setting(0.0, "A series without a value for so long is BAD; 0: never.", minimum=0)
    series: tuple[MqttSeriesOptions, ...] = setting((), "What to take, one table a series.")

    def __post_init__(self) -> None:
        unique(self.series)


class MqttSensor:
    """Holds one connection; while it is away the broker keeps what comes with QoS 1 and 2."""

    def __init__(self, context: SensorContext) -> None:
        self._options = context.read_options(MqttOptions)
        self.name = context.name
        self.silence_s_max = self._options.silence_s_max
        self._readers = _readers(self._options.series)
        self._refusal: str | None = None

    def open(self) -> Sequence[Series]:
        return [each.declare(None) for each in self._options.series]

    def run(self, inlet: Inlet) -> None:
        where = f"{self._options.host}:{self._options.port}"
        client = self._client(inlet)
        try:
            try:
                client.connect(self._options.host, self._options.port, keepalive=self._options.keepalive_s)
            except OSError as error:
                raise SensorFailedError(f"{where}: {error}") from None
            while not inlet.stopping:
                status = client.loop(timeout=_LOOK_S)
                if self._refusal is not None:
                    raise SensorFailedError(f"{where}: {self._refusal}")
                if status != 0:
                    raise SensorFailedError(f"{where}: the connection is lost")
        finally:
            client.disconnect()

    def close(self) -> None:
        pass

    def _client(self, inlet: Inlet) -> Any:
        options = self._options
        self._refusal = None
        name = options.client_id or f"penstock-{socket.gethostname()}-{self.name}"
        client = mqtt.Client(CallbackAPIVersion.VERSION2, name, clean_session=False, protocol=mqtt.MQTTv311)
        client.connect_timeout = _CONNECT_S
        if options.username:
            client.username_pw_set(options.username, _password(options.password_file))
        if options.ca_file:
            client.tls_set_context(ssl.create_default_context(cafile=options.ca_file))

        def on_connect(client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
            if reason.is_failure:
                self._refusal = f"the broker refuses the connection: {reason}"
                return
            client.subscribe([(topic, options.qos) for topic in self._readers])

        def on_subscribe(_client: Any, _data: Any, _number: int, reasons: Any, _properties: Any) -> None:
            for topic, reason in zip(self._readers, reasons):
                if reason.is_failure:
                    self._refusal = f"the broker refuses the subscription to {topic}"

        def on_message(_client: Any, _data: Any, message: Any) -> None:
            if message.retain and not options.retained:
                return
            self._take(inlet, message.topic, message.payload.decode("utf-8", "replace"))

        client.on_connect, client.on_subscribe, client.on_message = on_connect, on_subscribe, on_message
        return client

    def _take(self, inlet: Inlet, topic: str, text: str) -> None:
        for reader in self._readers.get(topic, ()):  # a session may still have a topic that is no longer wanted
            try:
                inlet.put(reader.read(text))
            except JunkError as error:
                inlet.not_understood(text, f"{topic}: {error}")


def _readers(series: Sequence[MqttSeriesOptions]) -> dict[str, list[TextReader]]:
    """By topic; series that read its messages in the same way share a reader, and so a time."""
    alike: dict[tuple[str, str, str], list[MqttSeriesOptions]] = {}
    for each in series:
        alike.setdefault((each.topic, each.format, each.pattern), []).append(each)
    readers: dict[str, list[TextReader]] = {}
    for (topic, form, pattern), members in alike.items():
        readers.setdefault(topic, []).append(
            TextReader(TextOptions(format=form, pattern=pattern, series=tuple(members)))
        )
    return readers


def _password(path: str) -> str | None:
    if not path:
        return None
    try:
        return Path(path).read_text("utf-8").strip()
    except OSError as error:
        raise SensorFailedError(f"{path} cannot be read: {error.strerror}") from None
