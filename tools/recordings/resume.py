"""Goes on behind what an earlier run published of a recording, after a look whether it was the same video in the same form.

Rests on that each form gives the same records with the same numbers and bytes every time. Knows nothing of where they lie.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256

from stream.timestamps import to_rfc3339
from tools.errors import CommandError
from tools.recordings import Publication

_REMEDY = "give the videos and the arguments that it began with, or start without --resume"


@dataclass(frozen=True, slots=True)
class Sent:
    """The last record that was published of a camera."""

    camera: str
    stream: str
    """Uuid of the run that published it."""
    seq: int
    captured_at_s: float
    """Capture time of its (first) picture."""
    content_type: str
    digest: bytes
    """Of its payload, as `digest` gives it."""


def digest(payload: bytes) -> bytes:
    """Give a payload's SHA-256: enough to tell it from another."""
    return sha256(payload).digest()


def rest(publications: Iterator[Publication], sent: Sent, on_skipped: Callable[[Publication], None]) -> Iterator[Publication]:
    """Give a camera's publications behind the last one that was sent; `on_skipped` hears of those before.

    Raises:
        CommandError: that one would be another now, or there are fewer.
    """
    count = 0
    for one in publications:
        on_skipped(one)
        count += 1
        if one.seq == sent.seq:
            _check(one, sent)
            yield from publications
            return
    msg = f"--resume: camera {sent.camera!r} has {sent.seq + 1} records on the topic, but would have {count} now: {_REMEDY}"
    raise CommandError(msg)


def _check(one: Publication, sent: Sent) -> None:
    there, here = to_rfc3339(sent.captured_at_s), to_rfc3339(one.captured_at_s)
    if sent.content_type != one.content_type:
        differs = f"is {sent.content_type} on the topic, but would be {one.content_type} now"
    elif there != here:
        differs = f"was captured at {there} on the topic, but at {here} now"
    elif sent.digest != digest(one.payload):
        differs = "has other content on the topic than it would have now"
    else:
        return
    msg = f"--resume: record {sent.seq} of camera {sent.camera!r} {differs}: {_REMEDY}"
    raise CommandError(msg)
