"""Reading a record batch as bytes: the same records as the client where it can read them, the others told apart."""

import struct

import pytest
from aiokafka.record import MemoryRecords
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from hypothesis import given
from hypothesis import strategies as st

from stream.kafka.salvage import SavedRecord, read_batch

RECORDS = st.lists(
    st.tuples(
        st.none() | st.binary(max_size=200),
        st.none() | st.binary(max_size=200),
        st.lists(st.tuples(st.text(max_size=8), st.none() | st.binary(max_size=8)), max_size=3),
        st.integers(0, 2**41),
    ),
    min_size=1,
    max_size=6,
)


def batch(records: list[tuple[bytes | None, bytes | None, list[tuple[str, bytes | None]], int]], base: int) -> bytes:
    """Records as a broker stores them, the first at offset `base`."""
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 2**20)
    for index, (key, value, headers, timestamp) in enumerate(records):
        assert builder.append(index, timestamp, key, value, headers) is not None
    built = builder.build()
    return struct.pack(">q", base) + bytes(built[8:])


@given(RECORDS, st.integers(0, 2**40), st.integers(0, 5))
def test_readable_records_are_read_as_the_client_reads_them(records: list, base: int, skipped: int) -> None:
    """Keys, values, headers, offsets and timestamps are the client's own, from the offset asked for on."""
    raw = batch(records, base)
    expected = [
        SavedRecord(each.offset, each.timestamp, each.key, each.value, tuple(each.headers))
        for each in MemoryRecords(raw).next_batch()
        if each.offset >= base + skipped
    ]
    found = read_batch(raw + b"the next batch, cut", base + skipped)
    assert list(found.records) == expected
    assert found.next_offset == base + max(len(records), skipped + 1)
    assert found.is_healthy == bool(expected)


@given(RECORDS, st.data())
def test_damage_is_never_read_as_records(records: list, data: st.DataObject) -> None:
    """A batch with one byte changed behind its checksum, or cut short, is refused."""
    raw = bytearray(batch(records, 7))
    at = data.draw(st.integers(21, len(raw) - 1))
    changed = bytes(raw[:at]) + bytes([raw[at] ^ 0x40]) + bytes(raw[at + 1 :])
    for damaged in (changed, bytes(raw[:at])):
        with pytest.raises((ValueError, IndexError, struct.error)):
            read_batch(damaged, 7)
