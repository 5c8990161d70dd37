"""Watching the alerts topic while the run goes on: what a subscriber would never have seen right, however it ends.

Knows the rules that hold for any camera, not the expected list: an alert comes once, episodes of a behaviour follow each other, a
camera is seen and lost in turn, and time goes on unless the camera's clock is known to go back.
"""

import asyncio
import time
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from stream.errors import SourceLost
from stream.kafka.connection import KafkaConnection
from tools.chaos.check import Published
from tools.chaos.reading import consumer, places
from tools.chaos.records import is_of_group, published

_AGAIN_AFTER_S = 0.5
_STARTED, _ENDED = "pawsight.behavior.started", "pawsight.behavior.ended"
_SEEN = "pawsight.camera.seen"


@dataclass(slots=True)
class _Watched:
    """What was last heard of one camera."""

    at_us: int | None = None
    is_there: bool = False
    open_episode: dict[str, int] = field(default_factory=dict)
    last_episode: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))


@dataclass(slots=True)
class OrderWatch:
    """Judges alerts one by one, in the order in which a subscriber gets them."""

    steady: Collection[str]
    """Cameras whose clock never goes back."""
    violations: list[str] = field(default_factory=list)
    older: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """By camera, alerts that are older than the one before. A publisher that was killed may repeat more than max_gap_s under a
    new stream, which sets the camera's clock back: how often that was the frames topic tells."""
    _ids: set[str] = field(default_factory=set)
    _cameras: defaultdict[tuple[str, int], _Watched] = field(default_factory=lambda: defaultdict(_Watched))
    """By camera and partition, for each of which the order holds."""

    def take(self, one: Published) -> None:
        """Judge the next alert."""
        alert, camera = one.alert, self._cameras[one.alert.camera, one.partition]
        if alert.id in self._ids:
            self._note("came twice", one)
            return
        self._ids.add(alert.id)
        if alert.camera in self.steady and camera.at_us is not None and alert.at_us < camera.at_us:
            self.older[alert.camera].append(_noted("is older than the one before", one))
        camera.at_us = alert.at_us
        if alert.behavior is None:
            is_seen = alert.type == _SEEN
            if is_seen == camera.is_there:
                self._note("seen and lost do not take turns", one)
            camera.is_there = is_seen
        elif alert.episode is None or not _follows(camera, alert.type, alert.behavior, alert.episode):
            self._note("does not follow the episode before", one)

    def unexpected(self, set_back: Mapping[str, int]) -> list[str]:
        """What should not have been seen; `set_back` says how often each camera's clock went back."""
        return self.violations + [each for camera, found in self.older.items() for each in found[set_back.get(camera, 0) :]]

    def _note(self, what: str, one: Published) -> None:
        self.violations.append(_noted(what, one))


def _noted(what: str, one: Published) -> str:
    return f"alerts[{one.partition}] {one.offset} {what}: {one.alert}"


def _follows(camera: _Watched, kind: str, behavior: str, episode: int) -> bool:
    """Take an episode's start or end, and tell whether it was due."""
    if kind == _STARTED:
        is_due = behavior not in camera.open_episode and episode == camera.last_episode[behavior] + 1
        camera.open_episode[behavior] = camera.last_episode[behavior] = episode
        return is_due
    return kind == _ENDED and camera.open_episode.pop(behavior, None) == episode


class OrderReader:
    """A subscriber that follows the alerts topic, committed alerts only, through every fault of the brokers."""

    def __init__(self, connection: KafkaConnection, topic: str, steady: Collection[str], group: str | None = None) -> None:
        """Prepare; `follow` reads the alerts, of one group if given. `steady` are the cameras whose clock never goes back."""
        self.watch = OrderWatch(steady)
        self.arrivals_s: defaultdict[int, list[float]] = defaultdict(list)
        """Wall times at which the alerts of each partition came, seconds since the epoch."""
        self._connection = connection
        self._topic = topic
        self._group = group
        self._next: dict[TopicPartition, int] = {}

    async def follow(self) -> None:
        """Read from the beginning until cancelled."""
        while not self._next:
            try:
                self._next = dict.fromkeys(await places(self._connection, self._topic), 0)
            except (KafkaError, SourceLost):
                await asyncio.sleep(_AGAIN_AFTER_S)
        while True:
            try:
                await self._read()
            except KafkaError:
                await asyncio.sleep(_AGAIN_AFTER_S)

    def longest_pause_s(self, from_s: float, to_s: float) -> float:
        """Give the longest time without an alert on any partition; a silence that reaches over an end counts whole."""
        longest_s = 0.0
        for arrivals_s in self.arrivals_s.values():
            first, last = bisect_left(arrivals_s, from_s), bisect_right(arrivals_s, to_s)
            around = arrivals_s[max(0, first - 1) : last + 1]
            longest_s = max([longest_s, *(later - earlier for earlier, later in pairwise(around))])
        return longest_s

    async def _read(self) -> None:
        """Go on where the last reader stopped.

        Raises:
            KafkaError: the client gave up; a new one is needed.
        """
        async with consumer(self._connection, "read_committed") as reader:
            reader.assign(list(self._next))
            for place, offset in self._next.items():
                reader.seek(place, offset)
            while True:
                for place, records in (await reader.getmany(timeout_ms=500)).items():
                    now_s = time.time()
                    own = [record for record in records if self._group is None or is_of_group(record, self._group)]
                    for record in own:
                        self.watch.take(published(record))
                    self._next[place] = records[-1].offset + 1
                    self.arrivals_s[place.partition] += [now_s] * len(own)
