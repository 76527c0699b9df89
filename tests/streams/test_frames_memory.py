"""No frame is a memory bomb: with little memory left, what strangers may send is refused or read within it."""

from __future__ import annotations

import subprocess
import sys
import textwrap

from tests.streams.frame_bombs import BOMBS, READINGS, REFUSED

SCRIPT = """
    import json, resource, sys
    from streams.frames import FrameError, decode
    from streams.frames.decode_compiled import batches, decode_many, warm

    warm()
    frames = [bytes.fromhex(line) for line in sys.stdin]
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + int(sys.argv[1]), resource.RLIM_INFINITY))
    readings = refused = 0
    for batch in batches(frames):
        decoded = decode_many([frames[index] for index in batch])
        readings, refused = readings + len(decoded.value), refused + len(decoded.errors)
    for data in frames[2:]:  # one of the three good ones is enough for the slow decoder
        try:
            decode(data)
        except FrameError:
            refused += 1
    print(json.dumps([readings, refused]))
"""


def test_hostile_frames_with_160_megabytes_to_live_in() -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SCRIPT), str(160 << 20)],
        input="\n".join(data.hex() for data in BOMBS),
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == f"[{READINGS}, {2 * REFUSED}]"
