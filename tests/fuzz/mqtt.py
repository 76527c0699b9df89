"""Invariant: bytes are packets, malformed, or too few; a packet means the same when it is encoded again; and a client
that sends any bytes is answered the same however they are cut, without harm to another client.

    python -m tests.fuzz.mqtt [--seconds 600] [--seed 1] [--plain]

Guided by coverage when atheris is installed (`pip install penstock[soak]`), else, or with --plain, a seeded loop of
mutations of good packets. A failure is printed with its bytes and seed; atheris also keeps the bytes in `crash-...`.
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import random
import sys
import tempfile
import time
from pathlib import Path

STREAM_BYTES_MAX = 4096


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.mqtt", description=__doc__)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plain", action="store_true", help="without atheris")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)  # every malformed packet is worth a line to the hub, not here
    if options.plain or importlib.util.find_spec("atheris") is None:
        return plain(options.seconds, options.seed)
    guided(options.seconds, options.seed)
    return 0


def plain(seconds: float, seed: int) -> int:
    """Mutations of good packets, until the time is over."""
    from tests.hub.mqtt_damage import check_stream, damaged_stream

    stop = time.monotonic() + seconds
    streams = 0
    while time.monotonic() < stop:
        data = damaged_stream(random.Random(seed))
        try:
            check_stream(data)
        except BaseException:
            print(f"FAILED with --plain --seed {seed}: {data.hex()}", file=sys.stderr)
            raise
        streams += 1
        seed += 1
    print(f"mqtt: {streams} damaged streams, seeds to {seed - 1}, all answered alike")
    return 0


def guided(seconds: int, seed: int) -> None:
    """By atheris; ends the process."""
    import atheris

    with atheris.instrument_imports(
        include=["streams.mqtt", "hub.connection", "hub.broker", "hub.session", "hub.subscriptions"]
    ):
        from tests.hub.mqtt_damage import check_stream, good_streams

    def one(data: bytes) -> None:
        check_stream(data[:STREAM_BYTES_MAX])

    with tempfile.TemporaryDirectory() as folder:
        for number, data in enumerate(good_streams()):
            (Path(folder) / f"{number:04d}").write_bytes(data)
        atheris.Setup([sys.argv[0], f"-max_total_time={seconds}", f"-seed={seed}", "-close_fd_mask=0", folder], one)
        atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
