"""Event time as text: RFC 3339, the only form in which times leave or enter the stream's records."""

import re
from datetime import UTC, datetime, timedelta

from stream.clock import MICROSECONDS_PER_S, whole_microseconds

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# RFC 3339, section 5.6 (date-time). `datetime.fromisoformat` takes much more of ISO 8601: dates alone, weeks, no offset.
_DATE_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})")


def to_rfc3339(seconds: float) -> str:
    """Write seconds since the epoch in UTC with all six digits of the microseconds, so that texts sort as times do."""
    moment = EPOCH + timedelta(microseconds=whole_microseconds(seconds))
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def from_rfc3339(text: str) -> float:
    """Read a time with any offset as seconds since the epoch, in whole microseconds (further digits are cut off).

    Raises:
        ValueError: not a date-time of RFC 3339.
    """
    if not _DATE_TIME.fullmatch(text):
        msg = f"{text!r} is no RFC 3339 time such as 2026-01-31T12:00:00.5Z"
        raise ValueError(msg)
    try:
        since_epoch = datetime.fromisoformat(text.upper()) - EPOCH
    except ValueError as exc:
        msg = f"{text!r} is no RFC 3339 time: {exc}"
        raise ValueError(msg) from exc
    return since_epoch // timedelta(microseconds=1) / MICROSECONDS_PER_S
