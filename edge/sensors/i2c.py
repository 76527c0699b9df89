"""The I2C bus of the machine, by smbus2 (/dev/i2c-N)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from edge.sensors.library import library
from edge.sensors.sensor import SensorFailedError


class Bus(Protocol):
    """What sensors use of it, as in the SMBus protocol."""

    def read_i2c_block_data(self, address: int, register: int, length: int, /) -> list[int]: ...

    def write_i2c_block_data(self, address: int, register: int, data: list[int], /) -> None: ...

    def close(self) -> None: ...


OpenBus = Callable[[int], Bus]


def open_bus(number: int) -> Bus:
    """Open /dev/i2c-`number`. SensorFailedError says what to do when it is not there."""
    try:
        bus: Bus = library("smbus2", extra="sensors-i2c").SMBus(number)
    except FileNotFoundError:
        raise SensorFailedError(
            f"there is no /dev/i2c-{number}; switch I2C on (raspi-config, or dtparam=i2c_arm=on in config.txt)"
        ) from None
    except PermissionError:
        raise SensorFailedError(f"/dev/i2c-{number} is not for this user; add it to the group i2c") from None
    return bus


def read(bus: Bus, address: int, register: int, length: int) -> bytes:
    """Registers from `register` on. SensorFailedError names the chip that does not answer."""
    try:
        return bytes(bus.read_i2c_block_data(address, register, length))
    except OSError as error:
        raise SensorFailedError(f"nothing answers at I2C address 0x{address:02x}: {error.strerror or error}") from None


def write(bus: Bus, address: int, register: int, *data: int) -> None:
    """Write `data` from `register` on. SensorFailedError names the chip that does not answer."""
    try:
        bus.write_i2c_block_data(address, register, list(data))
    except OSError as error:
        raise SensorFailedError(f"nothing answers at I2C address 0x{address:02x}: {error.strerror or error}") from None
