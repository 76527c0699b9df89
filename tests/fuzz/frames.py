"""Invariant: whatever bytes arrive, header check, reference decoder and compiled decoder agree on refusal and values.

    python -m tests.fuzz.frames [--seconds 600] [--seed 1] [--plain]

Guided by the coverage of the reference decoder when atheris is installed (`pip install penstock[soak]`), else, or with
--plain, a seeded loop of mutations. The checksum is made right after each mutation, so that the checks behind it are
reached. A failure is printed with its bytes and seed; atheris also keeps the bytes in a file `crash-...`.
"""

from __future__ import annotations

import argparse
import importlib.util
import random
import sys
import tempfile
import time
from pathlib import Path

BATCH = 500


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.frames", description=__doc__)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plain", action="store_true", help="without atheris")
    options = parser.parse_args()
    if options.plain or importlib.util.find_spec("atheris") is None:
        return plain(options.seconds, options.seed)
    guided(options.seconds, options.seed)
    return 0


def plain(seconds: float, seed: int) -> int:
    """Mutations of the vectors, and of what was made of them, until the time is over."""
    from tests.streams.frame_damage import ACCEPTED, VECTORS, check_agreement, mutated

    stop = time.monotonic() + seconds
    frames = refused = 0
    while time.monotonic() < stop:
        dice = random.Random(seed)
        damaged = [mutated(dice.choice(VECTORS if each % 4 == 0 else ACCEPTED), dice) for each in range(BATCH)]
        damaged += [mutated(data, dice) for data in damaged]
        try:
            refused += check_agreement(damaged)
        except AssertionError:
            print(f"FAILED with --plain --seed {seed}", file=sys.stderr)
            raise
        frames += len(damaged)
        seed += 1
    print(f"frames: {frames} damaged frames, {refused} refused, seeds to {seed - 1}, no disagreement")
    return 0


def guided(seconds: int, seed: int) -> None:
    """By atheris; ends the process."""
    import atheris

    import streams.frames.decode_compiled  # noqa: F401  # before the others are instrumented: numba reads the bytecode

    for name in ("decode", "header", "reader"):
        del sys.modules[f"streams.frames.{name}"]
    with atheris.instrument_imports(
        include=["streams.frames.decode", "streams.frames.header", "streams.frames.reader"]
    ):
        import streams.frames.decode as reference
    import tests.streams.frame_damage as damage
    from tests.streams.frame_samples import resealed

    # decode_compiled has the uninstrumented header check: two copies of one file, that must agree as well
    damage.decode, damage.read_header = reference.decode, reference.read_header

    def mutate(data: bytes, size_max: int, number: int) -> bytes:
        if number % 4 == 0:
            return damage.mutated(data, random.Random(number)) if len(data) > 8 else data + bytes(9)
        changed = bytes(atheris.Mutate(data[:-4], max(1, size_max - 4)))
        return resealed(changed + bytes(4)) if number % 16 else changed

    with tempfile.TemporaryDirectory() as folder:
        for number, data in enumerate(damage.VECTORS):
            (Path(folder) / f"vector-{number:03}").write_bytes(data)
        arguments = [sys.argv[0], f"-max_total_time={seconds}", f"-seed={seed}", "-max_len=4096", "-timeout=30"]
        atheris.Setup([*arguments, folder], lambda data: damage.check_agreement([data]) and None, custom_mutator=mutate)
        atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
