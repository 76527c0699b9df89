"""The document is enough: C that was written from it alone makes frames that decode equal, and reads their integers."""

from __future__ import annotations

import random
import re
import shutil
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from streams.frames import Block, ClockQuality, Column, Frame, FrameError, Kind, decode, packing
from streams.frames.decode_compiled import decode_many
from streams.frames.integers import put_integers
from streams.frames.reader import Reader
from tests.streams.frame_samples import INT64_MAX, INT64_MIN, decoded_rows, rows
from tests.streams.test_frames_document import section

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]
FIRMWARE = ROOT / "examples" / "firmware"
SOURCES = Path(__file__).with_name("c")
STRICT = ("-std=c99", "-O2", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsanitize=address,undefined")
STARTS = {0: 1_790_000_000 * 10**9, 3: 1_790_000_000 * 10**6, 6: 1_790_000_000_000, 9: 1_790_000_000}


def compiled(target: Path, *arguments: Path | str) -> Path:
    compiler = shutil.which("gcc") or shutil.which("cc")
    assert compiler, "there is no C compiler; install gcc"
    subprocess.run([compiler, *STRICT, "-fno-sanitize-recover", "-o", target, *arguments], check=True)
    return target


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("c") / "write_frames"
    return compiled(target, SOURCES / "write_frames.c", FIRMWARE / "frame.c", f"-I{FIRMWARE}", "-Wconversion")


def said(program: Path, lines: Sequence[str]) -> list[str]:
    """What the program prints for these lines."""
    done = subprocess.run([program], input="\n".join(lines) + "\n", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def integers(dice: random.Random, size: int) -> list[int]:
    """Columns as sensors make them, and columns of anything."""
    base, slope = dice.randrange(-(10**6), 10**6), dice.choice((0, 0, 1, -7, 1000))
    noise = dice.choice((0, 1, 3, 40, 5000))
    match dice.randrange(5):
        case 0:
            return [
                dice.choice((INT64_MIN, INT64_MAX, 0, -1, dice.randrange(INT64_MIN, INT64_MAX))) for _ in range(size)
            ]
        case 1:
            return [dice.randrange(1 << 39) - (1 << 38) for _ in range(size)]
        case 2:
            values = [base] * size
            values[dice.randrange(size)] += dice.choice((1, 10**6, -(10**11)))
            return values
        case _:
            return [base + row * slope + dice.randint(-noise, noise) for row in range(size)]


def script(dice: random.Random) -> tuple[Frame, list[str]]:
    """A frame, and what tells the program to write it."""
    blocks: list[Block] = []
    lines: list[str] = []
    for _ in range(dice.randint(0, 3)):
        size, unit = dice.choice((0, 1, 2, 3, 50, 100)), dice.choice((0, 3, 6, 6, 9))
        ticks = [STARTS[unit] + row * 1000 + dice.randint(-30, 30) for row in range(size)]
        columns = [_column(dice, size) for _ in range(dice.randint(1, 4))]
        lines += [f"block {size} {len(columns)}", f"times {unit} {_words(ticks)}"]
        for column, told in columns:
            lines += told
            if column.quality is not None:
                lines.append(f"qualities 0 {_words(column.quality)}")
        blocks.append(Block([tick * 10**unit for tick in ticks], [column for column, _ in columns]))
    clock = dice.choice(list(ClockQuality))
    sequence, epoch = dice.choice((0, 5, 1 << 62)), dice.choice((0, 1_790_000_000, INT64_MAX))
    frame = Frame(epoch, sequence, dice.randrange(1 << 32), clock, blocks)
    begin = f"begin {frame.manifest} {frame.epoch} {frame.sequence} {frame.count} {int(clock)} {1 << 20}"
    return frame, [begin, *lines, "end"]


def _column(dice: random.Random, size: int) -> tuple[Column, list[str]]:
    series = dice.randrange(65_536)
    quality = bytes(dice.choice((0, 0, 1, 2)) for _ in range(size)) if size and dice.random() < 0.3 else None
    quality = quality if quality and any(quality) else None
    numbers = integers(dice, size) if size else []
    match dice.randrange(4):
        case 0:
            digits = dice.randrange(16)
            values = [number / 10.0**digits for number in numbers]
            return Column(series, Kind.FLOAT64, values, quality), [f"decimals{digits} {series} {_words(numbers)}"]
        case 1:
            doubles = [struct.unpack("<d", struct.pack("<q", number))[0] for number in numbers]
            return Column(series, Kind.FLOAT64, doubles, quality), [f"doubles {series} {_words(numbers)}"]
        case 2:
            return Column(series, Kind.INT64, numbers, quality), [f"int64s {series} {_words(numbers)}"]
        case _:
            bools = [dice.random() < 0.4 for _ in range(size)]
            return Column(series, Kind.BOOL, bools, quality), [f"bools {series} {_words(map(int, bools))}"]


def _words(numbers: object) -> str:
    return " ".join(map(str, numbers))  # type: ignore[call-overload]


def test_frames_written_in_c_decode_equal(writer: Path) -> None:
    dice = random.Random(4)
    made = [script(dice) for _ in range(600)]
    data = [bytes.fromhex(line) for line in said(writer, [line for _, lines in made for line in lines])]
    assert len(data) == len(made)
    decoded = decode_many(data)
    assert not decoded.errors
    for index, (frame, _) in enumerate(made):
        back = decode(data[index])
        assert rows(back) == rows(frame)
        assert (back.epoch, back.sequence, back.manifest) == (frame.epoch, frame.sequence, frame.manifest)
        assert back.clock_quality is frame.clock_quality
        assert decoded_rows(decoded, index) == rows(frame)


def test_what_does_not_fit_or_is_out_of_its_limits_fails_in_c(writer: Path) -> None:
    def written(begin: str, *lines: str) -> str:
        return said(writer, [f"begin {begin}", *lines, "end"])[0]

    block = ("block 3 1", "times 6 1 2 3")
    size = len(written("1 1 1 3 0 99", *block, "int64s 5 7 8 9", "qualities 0 0 1 0")) // 2
    for room in range(size):
        assert written(f"1 1 1 3 0 {room}", *block, "int64s 5 7 8 9", "qualities 0 0 1 0") == "failed"
    assert written("1 1 1 3 0 99", *block, "bools 5 0 1 2") == "failed"
    assert written("1 1 1 3 0 99", *block, "int64s 65536 7 8 9") == "failed"
    assert written("1 1 1 3 0 99", *block, "int64s 5 7 8 9", "qualities 0 0 3 0") == "failed"
    assert written("1 1 1 3 4 99", *block, "int64s 5 7 8 9") == "failed"
    assert written("1 1 9223372036854775807 3 0 99", *block, "int64s 5 7 8 9") == "failed"
    assert written("1 1 1 2000000 0 99") == "failed"
    assert written("1 1 1 4 0 99", *block, "int64s 5 7 8 9") == "failed"
    assert written("1 1 1 2 0 99", *block, "int64s 5 7 8 9") == "failed"
    assert written("1 1 1 3 0 99", *block, "int64s 5 7 8 9") != "failed"


def test_frames_written_in_c_are_small(writer: Path) -> None:
    dice = random.Random(5)
    ticks = [1_790_000_000_000 + row * 1000 + dice.randint(0, 9) for row in range(100)]
    columns = [[dice.randrange(2100, 2108) for _ in ticks] for _ in range(20)]
    lines = ["begin 1 1 0 2000 2 9999", "block 100 20", f"times 6 {_words(ticks)}"]
    lines += [f"decimals2 {number} {_words(column)}" for number, column in enumerate(columns)]
    (line,) = said(writer, [*lines, "end"])
    assert len(line) / 2 / 2000 < 0.55


def test_the_example_of_the_document_in_c(tmp_path: Path) -> None:
    program = compiled(tmp_path / "example", FIRMWARE / "example.c", FIRMWARE / "frame.c", "-Wconversion")
    (line,) = said(program, [])
    shown = re.findall(r"^    ((?:[0-9a-f]{2} )+) ", section("6. An example"), re.MULTILINE)
    assert rows(decode(bytes.fromhex(line))) == rows(decode(bytes.fromhex("".join(shown))))


def test_the_reader_in_the_document_reads_integer_columns(tmp_path: Path) -> None:
    code = [line[4:] for line in section("9. A reader").splitlines() if line.startswith("    ") or not line]
    (tmp_path / "section_9.h").write_text("\n".join(code))
    reader = compiled(tmp_path / "read_integers", SOURCES / "read_integers.c", f"-I{tmp_path}")
    dice = random.Random(6)
    columns: list[tuple[int, bytes]] = []
    for _ in range(3000):
        out = bytearray()
        numbers = integers(dice, dice.choice((1, 2, 3, 30)))
        put_integers(out, numbers, dice.choice((packing.VALUE_PREDICTORS, (packing.TIME_PREDICTORS))))
        out += bytes(dice.randrange(3))
        if dice.random() < 0.5:
            out[dice.randrange(len(out))] = dice.randrange(256)
        columns.append((len(numbers), bytes(out)))
    answers = said(reader, [f"{count} {data.hex()}" for count, data in columns])
    refused = 0
    for (count, data), answer in zip(columns, answers, strict=True):
        assert answer == _read(data, count), data.hex()
        refused += answer == "refused"
    assert 100 < refused < 1500


def _read(data: bytes, count: int) -> str:
    reader = Reader(data)
    try:
        found = reader.integers(count)
    except FrameError:
        return "refused"
    return f"{reader.at} {_words(found)}"
