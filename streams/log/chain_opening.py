"""How the chain of a partition is taken up when its log is opened, and what is left of it when segments are removed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from streams.errors import MisuseError
from streams.files import Files
from streams.log.chain import GENESIS, SUFFIX, UNKNOWN, Chain, ChainFile, Entry, Head, digest_at
from streams.log.index import open_table
from streams.log.scan import Damaged, walk
from streams.log.segment import segment_path

CHECKPOINT = "removed"
"""Names the head where the log began after the last removal of segments."""
_SETTLE_AFTER = 1000


def open_chain(directory: Path, bases: Sequence[int], end: int, *, files: Files) -> Chain:
    """The chain of the last segment, `end` being where it ends; what is missing of it is made from the segments.

    It goes on from the last segment whose chain says where it begins. Where there is none, it begins with the last one.
    """
    place, head = len(bases) - 1, GENESIS
    while place >= 0 and start_of(directory, bases[place], files=files) is None:
        place -= 1
    while place > 0 and _is_unfinished(directory, bases[place - 1], files):
        place -= 1
    if place < 0:
        checkpoint = read_checkpoint(directory, files=files)
        place = len(bases) - 1
        if checkpoint is not None and checkpoint.offset == bases[0]:
            place, head = 0, checkpoint.head
    for base, following in zip(bases[place:-1], bases[place + 1 :]):
        head = _finished(directory, base, following, head, files)
    return _restored(directory, bases[-1], end, head, files)


def finish_chain(chain: Chain, directory: Path, end: int, *, files: Files) -> Head:
    """The segment of a chain ends at offset `end`, for good: the head there. OSError when that is not on disk."""
    if chain.is_doubtful:
        chain.begin(chain.start)
        _make_anew(chain, directory, chain.base, end, files)
    return chain.finish()


def start_of(directory: Path, base: int, *, files: Files) -> bytes | None:
    """The head at the begin of a segment; None when its chain does not say."""
    try:
        file = files.open(segment_path(directory, base, SUFFIX))
    except FileNotFoundError:
        return None
    with closing(file):
        return ChainFile(file, base).start


def read_checkpoint(directory: Path, *, files: Files) -> Head | None:
    """Where the log began after the last removal, and the head there."""
    try:
        file = files.open(directory / CHECKPOINT)
    except FileNotFoundError:
        return None
    with closing(file):
        try:
            return Head.parse(file.read(0, 200).decode("ascii", "replace"))
        except MisuseError:
            return None


def note_removal(directory: Path, kept: int, *, files: Files) -> None:
    """Everything before the segment `kept` is about to be removed: that is no loss. OSError: do not remove it."""
    head = start_of(directory, kept, files=files)
    if head is not None:
        files.replace(directory / CHECKPOINT, f"{Head(kept, head)}\n".encode())


def _finished(directory: Path, base: int, following: int, head: bytes, files: Files) -> bytes:
    """The head at the end of a segment that is not the last."""
    found = _end_of(directory, base, files)
    if found is not None:
        return found.head
    with closing(_restored(directory, base, following, head, files)) as chain:
        return chain.finish().head


def _end_of(directory: Path, base: int, files: Files) -> Head | None:
    """The head at the end of a segment whose chain is finished."""
    if start_of(directory, base, files=files) is None:
        return None
    with closing(files.open(segment_path(directory, base, SUFFIX))) as file:
        return ChainFile(file, base).end()


def _is_unfinished(directory: Path, base: int, files: Files) -> bool:
    """Whether a segment has a chain that was not brought to its end."""
    return start_of(directory, base, files=files) is not None and _end_of(directory, base, files) is None


def _restored(directory: Path, base: int, end: int, head: bytes, files: Files) -> Chain:
    """The chain of one segment, up to where it ends."""
    chain = Chain(directory, base, files=files)
    try:
        if chain.restore(end) is None:
            chain.begin(head)
        if chain.settled.offset < end:
            _make_anew(chain, directory, base, end, files)
    except BaseException:
        chain.close()
        raise
    return chain


def links(directory: Path, base: int, stop: int, noted: int, end: int, *, files: Files) -> Iterator[Entry]:
    """Entries for what stands in a segment from offset `noted` on, up to `end`, in its first `stop` bytes."""
    with closing(files.open(segment_path(directory, base))) as file:
        with open_table(directory, base, files=files) as table:
            entry = table.by_offset(noted, file, stop)
        for each in walk(file, entry.position, stop, base + entry.relative, offset_end=end):
            if isinstance(each, Damaged):
                following, digest = end if each.resume is None else each.resume, UNKNOWN
            else:
                following, digest = each.header.next_offset, digest_at(each.data, each.at, each.header.size)
            if following > noted:
                yield Entry(noted, following - noted, digest)
                noted = following


def _make_anew(chain: Chain, directory: Path, base: int, end: int, files: Files) -> None:
    """Add what stands in the segment and is not in its chain."""
    with closing(files.open(segment_path(directory, base))) as file:
        size = file.size()
    for count, entry in enumerate(links(directory, base, size, chain.settled.offset, end, files=files)):
        chain.note(*entry)
        if count % _SETTLE_AFTER == 0:
            chain.settle()
    chain.settle()
