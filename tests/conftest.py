"""What holds for every test: properties are examined on the same examples in every run, and there is one Kafka broker for all."""

import asyncio
import itertools
from collections.abc import Iterator

import pytest
from hypothesis import settings

from stream.kafka.topology import TopicNames
from tools.broker.find import FoundBroker, find_broker, why_no_broker
from tools.settings import apply

# small models on busy cores: threads that wait for each other cost more than they share. Before torch is imported, children too
apply({"OMP_NUM_THREADS": "1"})

settings.register_profile("pawsight", derandomize=True, deadline=None, max_examples=120)
settings.load_profile("pawsight")

# without this looptime makes a loop for every plain test, and nobody closes it when the test itself runs one
asyncio.set_event_loop(None)

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def broker() -> Iterator[FoundBroker]:
    """A real Apache Kafka, started once; only a machine without Java or Maven skips what needs it."""
    reason = why_no_broker()
    if reason is not None:
        pytest.skip(f"NO KAFKA BROKER, so nothing that needs one is tested: {reason}")
    with find_broker(None) as found:
        yield found


@pytest.fixture
def names() -> TopicNames:
    """Topics and a group that no other test of this run uses; not created yet."""
    number = next(_numbers)
    return TopicNames(frames=f"frames-{number}", alerts=f"alerts-{number}", group=f"group-{number}")
