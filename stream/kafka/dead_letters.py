"""What is written to the dead-letter topic for a record that could not be used: the record itself, or a reference to it.

Pure. A reference stands for a record that with its error headers is larger than the topic takes.
"""

import hashlib
from dataclasses import dataclass, replace

from stream.kafka.topology import DEAD_LETTER_MAX_BYTES
from stream.types import DeadLetter
from stream.wire import DEAD_LETTER_PREFIX, dead_letter_headers

_RECORD_OVERHEAD_BYTES = 128
"""Batch header (61 bytes) and the record's own fields, generously."""
_HEADER_OVERHEAD_BYTES = 10
_KEPT_KEY_BYTES = 1024


@dataclass(frozen=True, slots=True)
class DeadLetterRecord:
    """A record of the dead-letter topic."""

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]

    @property
    def size_bytes(self) -> int:
        """Size of its batch, at the most."""
        headers = sum(len(name.encode()) + len(value or b"") + _HEADER_OVERHEAD_BYTES for name, value in self.headers)
        return len(self.key or b"") + len(self.value or b"") + headers + _RECORD_OVERHEAD_BYTES


def dead_letter_record(letter: DeadLetter, max_bytes: int = DEAD_LETTER_MAX_BYTES) -> DeadLetterRecord:
    """Give the record with its key, value and headers and the reason; a reference if that is larger than `max_bytes`."""
    record = DeadLetterRecord(letter.record.key, letter.record.value, tuple(dead_letter_headers(letter)))
    return record if record.size_bytes <= max_bytes else reference(letter)


def reference(letter: DeadLetter) -> DeadLetterRecord:
    """Give the reason, the record's place, and the size and SHA-256 of its value, instead of the value and its headers."""
    value = letter.record.value or b""
    place = dead_letter_headers(replace(letter, record=replace(letter.record, headers=())))
    digest = [
        (DEAD_LETTER_PREFIX + "value.bytes", str(len(value)).encode()),
        (DEAD_LETTER_PREFIX + "value.sha256", hashlib.sha256(value).hexdigest().encode()),
    ]
    key = letter.record.key
    return DeadLetterRecord(key if len(key or b"") <= _KEPT_KEY_BYTES else None, None, (*place, *digest))
