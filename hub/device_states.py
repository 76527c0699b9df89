"""Of which state a record of `devices` is the value, so that compaction keeps the last of each and forgets nothing.

A device has more than one of each kind: every manifest that it ever sent, because frames name theirs; the account of
every epoch; and its last birth beside its last death, because a death that comes late is of an earlier start.
"""

from __future__ import annotations

from hub.events import AccountEvent, ConnectionEvent, JunkEvent, StateEvent, decode
from hub.manifest import manifest_id
from streams import names
from streams.record import Record


def state_key(record: Record) -> bytes | None:
    """None: it has no key, and is kept."""
    key, value = record.key, record.value
    if key is None or value is None:
        return key
    if key.endswith(b"/" + names.MANIFEST.encode()):
        return b"%b/%d" % (key, manifest_id(value))
    match decode(names.DEVICES, key, value, record.timestamp_ms, record.headers):
        case AccountEvent(accounts=accounts):  # one that tells of fewer epochs does not replace it
            return key + "/".join(["", *map(str, sorted(each.epoch for each in accounts))]).encode()
        case StateEvent(online=True) | ConnectionEvent(connected=True):
            return key + b"/begun"
        case StateEvent() | ConnectionEvent():
            return key + b"/ended"
        case JunkEvent():
            return key + b"/junk"
        case _:
            return key
