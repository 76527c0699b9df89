"""What devices send that know nothing of frames: each format a pure function from bytes to readings, by name in a dict.

The sender needs no manifest: `hub/learning.py` makes one of what it sends, `hub/translator.py` the frames.
"""

from hub.payloads.reading import Reading
from hub.payloads.registry import READERS, format_of

__all__ = ["READERS", "Reading", "format_of"]
