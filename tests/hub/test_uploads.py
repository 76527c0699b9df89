"""Files from devices: taken in parts in any order, kept on the log, given back whole or not at all."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.events import JunkEvent
from hub.uploads import UnknownUploadError, Uploads
from streams import names
from streams.errors import JunkError
from streams.uploads import FILE_BYTES_MAX, PART_BYTES, Part, join, read_part, split
from tests.hub.conftest import Parts

DATA = bytes(range(256)) * 600
HEADS = st.dictionaries(
    st.sampled_from(["key", "part", "parts", "size", "crc32"]), st.integers(-2, 3) | st.text(max_size=2) | st.none()
)


@pytest.mark.parametrize("size", [0, 1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, FILE_BYTES_MAX])
def test_what_is_split_is_joined_again(size: int) -> None:
    data = (DATA * (size // len(DATA) + 1))[:size]
    parts = [read_part(each) for each in split("k", data)]
    assert join({each.part: each for each in reversed(parts)}) == data
    assert join({each.part: each for each in parts[1:]}) is None


@given(
    st.binary(max_size=200)
    | st.builds(lambda head, data: json.dumps(head).encode() + b"\n" + data, HEADS, st.binary(max_size=5))
)
def test_anything_is_a_part_or_junk(payload: bytes) -> None:
    try:
        part = read_part(payload)
    except JunkError:
        return
    assert 0 <= part.part < part.parts
    assert len(part.data) <= PART_BYTES


def test_a_wrong_checksum_is_refused() -> None:
    with pytest.raises(JunkError, match="checksum"):
        join({0: Part("k", 0, 1, 1, 7, b"x")})


async def send(parts: Parts, client: Any, key: str, data: bytes, *, only: slice = slice(None)) -> None:
    for payload in list(split(key, data))[only]:
        assert await parts.take(client, (names.UPLOADS, payload)) is None


async def test_a_file_is_kept_in_parts_and_given_back_whole(parts: Parts) -> None:
    press, lathe = await parts.meet("press"), await parts.meet("lathe")
    await send(parts, press, "a", DATA, only=slice(None, None, -1))
    await send(parts, press, "a", DATA, only=slice(1, 2))  # the PUBACK was lost
    await send(parts, lathe, "a", b"another")
    assert parts.upload("press", "a") == DATA
    assert parts.upload("lathe", "a") == b"another"
    (file,) = parts.uploads.of("press")
    assert (file["key"], file["size"], file["complete"]) == ("a", len(DATA), True)


async def test_a_file_that_is_not_all_there_is_not_given(parts: Parts) -> None:
    press = await parts.meet("press")
    await send(parts, press, "a", DATA, only=slice(0, 2))
    with pytest.raises(UnknownUploadError, match="not all of it"):
        parts.upload("press", "a")
    assert not parts.uploads.of("press")[0]["complete"]
    await send(parts, press, "a", DATA[::-1])  # collected anew
    assert parts.upload("press", "a") == DATA[::-1]


async def test_junk_is_kept_and_passed_over(parts: Parts) -> None:
    press = await parts.meet("press")
    await parts.take(press, (names.UPLOADS, b"nothing"))
    assert any(isinstance(each, JunkEvent) and each.channel == names.UPLOADS for each in parts.events)
    assert parts.uploads.of("press") == []


async def test_the_list_is_the_same_from_its_snapshot(parts: Parts) -> None:
    press = await parts.meet("press")
    await send(parts, press, "a", DATA)
    again = Uploads()
    again.restore(json.loads(json.dumps(parts.uploads.snapshot())))
    assert again.of("press") == parts.uploads.of("press")
