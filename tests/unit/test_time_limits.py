"""Which time limit must be longer than which."""

from dataclasses import fields

from stream.kafka.consumer import SourceConfig
from stream.worker import WorkerConfig


def test_device_is_given_up_before_the_group_is_left() -> None:
    """A batch holds the polls up for as long as the device may take: a worker must end of that, not lose its partitions."""
    (device_timeout_s,) = (each.default for each in fields(WorkerConfig) if each.name == "device_timeout_s")
    max_poll_interval_ms = SourceConfig("frames", "group").client_options()["max_poll_interval_ms"]
    assert isinstance(max_poll_interval_ms, int)
    assert max_poll_interval_ms > 1000 * device_timeout_s
