"""I2C buses that answer as the data sheets say: registers of chips that measure when they are told to."""

from __future__ import annotations

import errno
import struct

# BMP280 data sheet, 3.12: the example of a compensation
T = (27504, 26435, -1000)
P = (36477, -10685, 3024, 2855, 140, -7, 15500, -14600, 6000)
RAW_TEMPERATURE, RAW_PRESSURE = 519888, 415148
# trimming of a real BME280, and a raw humidity; the data sheet has no example for it
H = (75, 362, 0, 313, 50, 30)
RAW_HUMIDITY = 0x6A3C


class Bme280Chip:
    """Measures when ctrl_meas says forced mode; before that its data registers hold what they do after a reset."""

    address = 0x76

    def __init__(self, *, number: int = 0x60, busy_looks: int = 1) -> None:
        self.registers = bytearray(256)
        self.registers[0xD0] = number
        self.registers[0x88:0xA0] = struct.pack("<Hhh", *T) + struct.pack("<Hhhhhhhhh", *P)
        h1, h2, h3, h4, h5, h6 = H
        self.registers[0xA1] = h1
        self.registers[0xE1:0xE8] = struct.pack("<hBbBbb", h2, h3, h4 >> 4, (h4 & 0x0F) | (h5 & 0x0F) << 4, h5 >> 4, h6)
        self.busy_looks = busy_looks
        self.measurements = 0
        self._busy = 0
        self.reset()

    def reset(self) -> None:
        self.registers[0xF2:0xF6] = bytes(4)
        self.registers[0xF7:0xFF] = bytes.fromhex("8000008000008000")

    def write(self, register: int, data: bytes) -> None:
        for at, byte in enumerate(data):
            self.registers[register + at] = byte
            if register + at == 0xF4 and byte & 0b11 in (0b01, 0b10):
                assert byte >> 5, "the temperature is needed for the others"
                self.measurements += 1
                self._busy = self.busy_looks
                self.registers[0xF7:0xFD] = (RAW_PRESSURE << 4).to_bytes(3, "big") + (RAW_TEMPERATURE << 4).to_bytes(
                    3, "big"
                )
                measures_humidity = self.registers[0xF2] & 0b111 and self.registers[0xD0] == 0x60
                self.registers[0xFD:0xFF] = (RAW_HUMIDITY if measures_humidity else 0x8000).to_bytes(2, "big")

    def read(self, register: int, length: int) -> bytes:
        if register == 0xF3:
            self._busy, busy = max(0, self._busy - 1), self._busy > 0
            return bytes([0b1000 if busy else 0])
        return bytes(self.registers[register : register + length])


class Ads1115Chip:
    """Its inputs have voltages; a conversion gives the code for the range and inputs that the config register names."""

    address = 0x48

    def __init__(self, **volts: float) -> None:
        self.volts = {f"A{number}": 0.0 for number in range(4)} | volts
        self.code = 0
        self.looks = 0

    def write(self, register: int, data: bytes) -> None:
        assert register == 0x01
        (config,) = struct.unpack(">H", data)
        assert config & 0x8000, "a conversion is begun"
        assert config & 0x0100, "single shot"
        inputs = ["A0-A1", "A0-A3", "A1-A3", "A2-A3", "A0", "A1", "A2", "A3"][config >> 12 & 0b111]
        full_scale = [6.144, 4.096, 2.048, 1.024, 0.512, 0.256, 0.256, 0.256][config >> 9 & 0b111]
        plus, _, minus = inputs.partition("-")
        volts = self.volts[plus] - (self.volts[minus] if minus else 0.0)
        self.code = max(-32768, min(32767, round(volts * 32768 / full_scale)))
        self.looks = 1

    def read(self, register: int, length: int) -> bytes:
        if register == 0x01:
            self.looks, busy = max(0, self.looks - 1), self.looks > 0
            return struct.pack(">H", 0 if busy else 0x8000)
        return struct.pack(">h", self.code)


Chip = Bme280Chip | Ads1115Chip


class ChipBus:
    """A bus with chips on it; nobody answers at other addresses."""

    def __init__(self, *chips: Chip) -> None:
        self.chips = list(chips)
        self.opened = 0

    def open(self, number: int) -> ChipBus:
        assert number == 1
        self.opened += 1
        return self

    def read_i2c_block_data(self, address: int, register: int, length: int, /) -> list[int]:
        return list(self._chip(address).read(register, length))

    def write_i2c_block_data(self, address: int, register: int, data: list[int], /) -> None:
        self._chip(address).write(register, bytes(data))

    def close(self) -> None:
        self.opened -= 1

    def _chip(self, address: int) -> Chip:
        for chip in self.chips:
            if chip.address == address:
                return chip
        raise OSError(errno.EREMOTEIO, "Remote I/O error")
