"""The event log: named, partitioned, durable sequences of records, in Kafka's record batches (docs/log-format.md).

One process writes a stream (`EventLog`); any process may read it, up to what is on disk (`StreamReader`).
"""

from streams.log.appends import Appended
from streams.log.batch import BatchHeader, decode_batch, encode_batch
from streams.log.event_log import EventLog
from streams.log.groups import GroupOffsets
from streams.log.reader import DamagedRange, OffsetOutOfRange, StreamReader, partitions
from streams.log.settings import LogSettings

__all__ = [
    "Appended",
    "BatchHeader",
    "DamagedRange",
    "EventLog",
    "GroupOffsets",
    "LogSettings",
    "OffsetOutOfRange",
    "StreamReader",
    "decode_batch",
    "encode_batch",
    "partitions",
]
