"""A Modbus line: one serial bus, or one connection to a device or gateway, that several sensors share in turn.

The wire is one thing however many sensors are on it: two that spoke at the same time would break each other's messages,
and many gateways take one connection only.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from edge.sensors.sensor import SensorFailedError

_TABLES = {
    "holding": "read_holding_registers",
    "input": "read_input_registers",
    "coil": "read_coils",
    "discrete": "read_discrete_inputs",
}
BIT_TABLES = ("coil", "discrete")
_MEANINGS = {1: "illegal function", 2: "illegal data address", 3: "illegal data value", 4: "device failure",
             6: "device busy", 10: "gateway path unavailable", 11: "gateway target does not respond"}  # fmt: skip
ILLEGAL_ADDRESS = (2, 3)

_lines: dict[str, Line] = {}
_lines_lock = threading.Lock()


class RefusedError(SensorFailedError):
    """The device answered that it will not: `code` is the Modbus exception code."""

    def __init__(self, code: int) -> None:
        super().__init__(f"the device answers: {_MEANINGS.get(code, 'exception')} ({code})")
        self.code = code


class Line:
    """Made by `take`, given back by `release`. `ask` may be called from any thread."""

    def __init__(self, name: str, make_client: Callable[[float], Any]) -> None:
        self.name = name
        self.users = 0
        self._make_client = make_client
        self._turn = threading.Lock()
        self._client: Any = None

    def ask(self, table: str, address: int, count: int, device_id: int, *, deadline: float) -> Sequence[int]:
        """Registers or bits. SensorFailedError: no answer by `deadline` (monotonic s); RefusedError: it refuses."""
        if not self._turn.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise SensorFailedError(f"{self.name}: no turn on the line; others take too long")
        try:
            return self._ask(table, address, count, device_id, deadline - time.monotonic())
        except RefusedError:
            raise
        except Exception:
            self._close()  # a late answer must not be taken for the next one's
            raise
        finally:
            self._turn.release()

    def close(self) -> None:
        with self._turn:
            self._close()

    def _ask(self, table: str, address: int, count: int, device_id: int, limit_s: float) -> Sequence[int]:
        if limit_s <= 0:
            raise SensorFailedError(f"{self.name}: no time is left to ask device {device_id}")
        if self._client is None:
            client = self._make_client(limit_s)
            if not client.connect():
                client.close()
                raise SensorFailedError(f"{self.name} cannot be opened")
            self._client = client
        self._client.comm_params.timeout_connect = limit_s  # how long pymodbus waits for an answer, too
        try:
            answer = getattr(self._client, _TABLES[table])(address, count=count, device_id=device_id)
        except Exception as error:  # pymodbus has errors of its own, and lets others through
            raise SensorFailedError(f"{self.name}: device {device_id}: {error}") from None
        if answer.isError():
            raise RefusedError(answer.exception_code)
        found: Sequence[int] = answer.bits[:count] if table in BIT_TABLES else answer.registers
        if len(found) != count:
            raise SensorFailedError(f"{self.name}: device {device_id} gave {len(found)} values of {count}")
        return found

    def _close(self) -> None:
        if self._client is not None:
            self._client.close()
        self._client = None


def take(name: str, make_client: Callable[[float], Any]) -> Line:
    """The line of that name, made if there is none yet."""
    with _lines_lock:
        line = _lines.setdefault(name, Line(name, make_client))
        line.users += 1
        return line


def release(line: Line) -> None:
    """The last who releases a line closes it."""
    with _lines_lock:
        line.users -= 1
        if line.users == 0:
            del _lines[line.name]
            line.close()
