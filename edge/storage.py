"""What the agent keeps on disk, opened together: identity, spool, journal, manifests."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

from edge.batcher import Batch
from edge.identity import Identity, load_identity, new_epoch
from edge.journal import Entry, Journal
from edge.manifest import Manifest, types_of
from edge.manifest_shelf import ManifestShelf
from edge.sensors.sensor import SeriesType, Value
from edge.settings import EdgeSettings
from edge.spool import Spool
from streams.clock import Clock
from streams.errors import PenstockError
from streams.files import Files
from streams.frames import ClockQuality, encode

_log = logging.getLogger(__name__)

POWER_CUT = "lost in a power cut"


@dataclasses.dataclass(slots=True)
class Storage:
    """All of it, open and consistent. `directory`, `files` and `clock` are what it was opened with."""

    identity: Identity
    spool: Spool
    journal: Journal
    shelf: ManifestShelf
    manifest: Manifest
    directory: Path
    files: Files
    clock: Clock
    started_at: int
    """The first number that this start gives."""

    def begin_epoch(self, above: int) -> Identity:
        """Number from 0 in a new epoch above `above`, because the hub has numbers that this device would use again.

        Blocks; nothing may wait in the journal. What this start has numbered gets new numbers; what earlier starts have
        left keeps its own, under which the hub may have it. Returns the identity for the caller to put in place.
        OSError or a PenstockError: the journal takes nothing; call it again.
        """
        above = max(above, self.identity.epoch, self.spool.epoch_seen)
        epoch = new_epoch(self.directory, self.identity.device, files=self.files, clock=self.clock, above=above)
        count = self.spool.renumber(epoch=self.identity.epoch, start=self.started_at, into=epoch)
        if count:
            _log.warning("%d readings that were not sent yet are numbered anew, in epoch %d", count, epoch)
        self.journal.start(epoch=epoch, manifest=self.manifest.number)
        return dataclasses.replace(self.identity, epoch=epoch)

    def close(self) -> None:
        """Write down what is freed, and let go of the files."""
        self.journal.close()
        try:
            self.spool.save()
        except (OSError, PenstockError) as error:
            _log.error("the spool's state cannot be written: %s; what was sent may be sent again", error)
        self.spool.close()


def open_storage(settings: EdgeSettings, directory: Path, manifest: Manifest, *, files: Files, clock: Clock) -> Storage:
    """Open or make the state in `directory`; what an earlier start left in the journal becomes frames of the spool.

    Blocks. OSError or a PenstockError when the disk does not let it: try again. MisuseError: another device's state.
    """
    spool = Spool(directory / "spool", files=files, clock=clock, bytes_max=settings.spool_bytes_max)
    journal = Journal(directory, files=files)
    shelf = ManifestShelf(directory / "manifests", files=files)
    try:
        files.make_directory(directory)
        known = files.exists(directory / "identity.json")
        spool.open()
        identity = load_identity(directory, settings.device_id, files=files, clock=clock, epoch_seen=spool.epoch_seen)

        def start_anew(why: str) -> Identity:
            _log.error("%s; numbering starts anew, so that no number is used twice", why)
            above = max(identity.epoch, spool.epoch_seen)
            epoch = new_epoch(directory, settings.device_id, files=files, clock=clock, above=above)
            return dataclasses.replace(identity, epoch=epoch)

        if known and spool.lost_state:  # before anything writes spool.json again
            identity = start_anew("the spool's state was lost")
        if damage := _recover(journal, spool, shelf):
            identity = start_anew("; ".join(damage))
        spool.save()
        shelf.keep(manifest.payload)
        shelf.prune({manifest.number, *spool.manifests()})
        journal.start(epoch=identity.epoch, manifest=manifest.number)
    except BaseException:
        journal.close()
        spool.close()
        raise
    started_at = spool.sealed_to(identity.epoch)
    return Storage(identity, spool, journal, shelf, manifest, directory, files, clock, started_at)


def _recover(journal: Journal, spool: Spool, shelf: ManifestShelf) -> list[str]:
    """Seal what the journal held; returns sentences about damage."""
    found = journal.recover(spool.sealed_to)
    if found.torn_bytes:
        _log.warning(
            "the journal ends in %d bytes that were being written when the agent was stopped", found.torn_bytes
        )
    for entries in _runs(found.entries):
        first, epoch = entries[0].sequence, entries[0].epoch
        sealed = spool.sealed_to(epoch)
        if first > sealed:
            spool.give_up(epoch=epoch, first=sealed, stop=first, reason=POWER_CUT)
        _seal(entries, spool, shelf)
    return found.damage


def _runs(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """Entries whose numbers follow each other, under one manifest."""
    run: list[Entry] = []
    for entry in entries:
        last = run[-1] if run else None
        if last and (last.epoch, last.manifest, last.stop) != (entry.epoch, entry.manifest, entry.sequence):
            yield run
            run = []
        run.append(entry)
    if run:
        yield run


def _seal(entries: list[Entry], spool: Spool, shelf: ManifestShelf) -> None:
    head = entries[0]
    batch = Batch(head.sequence)
    for entry in entries:
        batch.add(entry.tick, 0)
    kept = shelf.get(head.manifest)
    types = types_of(kept) if kept is not None else {}
    for entry in entries:
        for series, value in zip(entry.tick.series, entry.tick.values):
            types.setdefault(series, _type_of(value))
    frame = batch.frame(epoch=head.epoch, manifest=head.manifest, types=types, clock=ClockQuality.UNKNOWN)
    spool.append(encode(frame), epoch=head.epoch, first=batch.first, stop=batch.stop, manifest=head.manifest)
    _log.info("%d readings of an earlier start were in the journal; they go to the spool", batch.count)


def _type_of(value: Value) -> SeriesType:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int64"
    return "float64" if isinstance(value, float) else "text"
