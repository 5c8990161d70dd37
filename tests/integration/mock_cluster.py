"""librdkafka's mock cluster, which answers with the error codes that it is told; confluent-kafka brings it along.

It is no judge of transactions (it keeps no fence and delivers aborted records); it only says what a client does with an answer.
"""

import ctypes
import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "rd_kafka_conf_new": (ctypes.c_void_p, []),
    "rd_kafka_conf_set": (
        ctypes.c_int,
        [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t],
    ),
    "rd_kafka_new": (ctypes.c_void_p, [ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]),
    "rd_kafka_destroy": (None, [ctypes.c_void_p]),
    "rd_kafka_mock_cluster_new": (ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_int]),
    "rd_kafka_mock_cluster_destroy": (None, [ctypes.c_void_p]),
    "rd_kafka_mock_cluster_bootstraps": (ctypes.c_char_p, [ctypes.c_void_p]),
    "rd_kafka_mock_topic_create": (ctypes.c_int, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_int]),
    "rd_kafka_mock_topic_set_error": (None, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int]),
    "rd_kafka_mock_group_initial_rebalance_delay_ms": (None, [ctypes.c_void_p, ctypes.c_int32]),
    "rd_kafka_mock_push_request_errors_array": (
        None,
        [ctypes.c_void_p, ctypes.c_int16, ctypes.c_size_t, ctypes.POINTER(ctypes.c_int)],
    ),
    "rd_kafka_mock_broker_push_request_error_rtts": (  # as many pairs of code and ms as the count before them says
        ctypes.c_int,
        [ctypes.c_void_p, ctypes.c_int32, ctypes.c_int16, ctypes.c_size_t, ctypes.c_int, ctypes.c_int],
    ),
    "rd_kafka_mock_clear_request_errors": (None, [ctypes.c_void_p, ctypes.c_int16]),
}
_ERRORS_ONLY = b"3"
"""syslog's severity."""


def _load() -> ctypes.CDLL:
    spec = importlib.util.find_spec("confluent_kafka")
    assert spec is not None
    assert spec.origin is not None
    (path,) = (Path(spec.origin).parents[1] / "confluent_kafka.libs").glob("librdkafka-*.so*")
    library = ctypes.CDLL(str(path))
    for name, (result, arguments) in _SIGNATURES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class MockCluster:
    """One broker that may be told what to answer."""

    def __init__(self, library: ctypes.CDLL, handle: int) -> None:
        """Start it."""
        self._library = library
        self._cluster = library.rd_kafka_mock_cluster_new(handle, 1)
        library.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, 0)
        self.bootstrap_servers: str = library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()

    def create_topic(self, name: str, partitions: int = 1) -> None:
        """Make a topic."""
        assert self._library.rd_kafka_mock_topic_create(self._cluster, name.encode(), partitions, 1) == 0

    def answer(self, api: int, codes: Sequence[int]) -> None:
        """Answer the next requests of this kind with these error codes."""
        self._library.rd_kafka_mock_push_request_errors_array(self._cluster, api, len(codes), (ctypes.c_int * len(codes))(*codes))

    def answer_late(self, api: int, code: int, after_ms: int) -> None:
        """Answer the next request of this kind with this error code, so long after it came."""
        assert self._library.rd_kafka_mock_broker_push_request_error_rtts(self._cluster, 1, api, 1, code, after_ms) == 0

    def calm(self, api: int) -> None:
        """Take back what has not been answered yet."""
        self._library.rd_kafka_mock_clear_request_errors(self._cluster, api)

    def spoil(self, topic: str, code: int) -> None:
        """Answer for this topic with an error code from now on, in metadata too; 0 mends it."""
        self._library.rd_kafka_mock_topic_set_error(self._cluster, topic.encode(), code)

    def close(self) -> None:
        """Stop it."""
        self._library.rd_kafka_mock_cluster_destroy(self._cluster)


@contextmanager
def mock_clusters(count: int) -> Iterator[list[MockCluster]]:
    """Start several clusters of one broker each."""
    library = _load()
    settings = library.rd_kafka_conf_new()
    assert library.rd_kafka_conf_set(settings, b"log_level", _ERRORS_ONLY, None, 0) == 0
    handle = library.rd_kafka_new(0, settings, ctypes.create_string_buffer(512), 512)
    assert handle
    clusters = [MockCluster(library, handle) for _ in range(count)]
    try:
        yield clusters
    finally:
        for cluster in clusters:
            cluster.close()
        library.rd_kafka_destroy(handle)
