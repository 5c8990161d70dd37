"""One partition's keeper on a cluster in memory, in virtual time: whatever fails, nothing is lost, repeated or half done."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from aiokafka.errors import KafkaError, TransactionalIdAuthorizationFailed

from stream.errors import SourceLost, StreamError, StreamRefused, TopicMissing
from stream.protocol import MAX_FAILURES
from stream.state_codec import decode_camera
from stream.state_records import PartitionRecord
from tests.unit.keeper_world import ASKING, DEADLINE_S, DEN, EVENTS, MARK, OWNER, PAST, kept, tick
from tests.unit.memory_cluster import DELIVERING, TAKING_UP

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]

READING = ("state_end", "state_records", "published")
ALL_STEPS = [name for name in TAKING_UP if name != "seek"]


async def fail() -> None:
    """Fail as a client does."""
    raise KafkaError("cut")  # noqa: EM101  (a foreign error)


async def hang() -> None:
    """Never come back."""
    await asyncio.sleep(1e6)


async def refuse() -> None:
    """Refuse as a broker does."""
    raise TransactionalIdAuthorizationFailed


async def test_partition_is_taken_up_in_order() -> None:
    """Every call once, each in its place; what was known is handed over, and that it was taken up is written."""
    stage = kept()
    opened = await stage.opened()
    (port,) = stage.cluster.ports
    order = list(dict.fromkeys(port.calls))
    assert order == ["group_offset", "prove", "clear", "init", "state_end", "state_records", *TAKING_UP[6:]]
    assert port.calls[-2:] == ["prove", "seek"]
    assert (opened.read_from, opened.assigned.resume_offset, opened.assigned.last_record) == (12, 12, MARK)
    assert stage.record == replace(PAST, writer="test", attempt=1, questions=ASKING, owner=OWNER)


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        *[pytest.param(name, fail, id=f"{name} fails") for name in TAKING_UP],
        *[pytest.param(name, hang, id=f"{name} hangs") for name in TAKING_UP if name not in READING],
    ],
)
async def test_failed_step_begins_anew_with_another_port(name: str, fault: Callable[[], Awaitable[None]]) -> None:
    """Wherever it fails the port is dropped, and all steps come again; a step that hangs is given up at its deadline."""
    stage = kept()
    stage.cluster.faults = {name: [fault]}
    await stage.opened()
    first, second = stage.cluster.ports
    assert (first.is_discarded, second.is_discarded) == (True, False)
    assert second.calls[-1] == "seek"
    assert asyncio.get_running_loop().time() < DEADLINE_S + 3
    assert stage.record.resume_offset == 12
    assert not stage.keeper.closed.is_set()


@pytest.mark.parametrize("name", READING)
async def test_reading_what_is_committed_waits_for_others_transactions(name: str) -> None:
    """However long: nobody can say before."""
    stage = kept()
    stage.cluster.faults = {name: [lambda: asyncio.sleep(600)]}
    await stage.opened()
    assert len(stage.cluster.ports) == 1
    assert asyncio.get_running_loop().time() == pytest.approx(600, abs=1)


@pytest.mark.parametrize("name", ALL_STEPS)
async def test_refused_step_ends_the_worker(name: str) -> None:
    """What no restart mends is not tried again."""
    stage = kept()
    stage.cluster.faults = {name: [refuse]}
    with pytest.raises(StreamRefused, match=r"does not allow it.*ACLs"):
        await stage.opened()
    assert len(stage.cluster.ports) == 1
    assert stage.cluster.ports[0].is_discarded


@pytest.mark.parametrize("name", ALL_STEPS)
async def test_topic_that_is_gone_ends_the_worker(name: str) -> None:
    """Whichever step finds it out, with its sentence."""

    async def miss() -> None:
        msg = "topic 'frames.pets.state' does not exist"
        raise TopicMissing(msg)

    stage = kept()
    stage.cluster.faults = {name: [miss]}
    with pytest.raises(TopicMissing, match="does not exist"):
        await stage.opened()
    assert [port.is_discarded for port in stage.cluster.ports] == [True]


@pytest.mark.parametrize(
    "error", [SourceLost("nobody answers"), StreamRefused("[kafka] settings: the certificate is unreadable")]
)
async def test_what_may_pass_is_tried_again(error: StreamError) -> None:
    """A broker that is away, or a certificate that is just being replaced: the next try succeeds."""

    async def once() -> None:
        raise error

    stage = kept()
    stage.cluster.faults = {"state_end": [once]}
    await stage.opened()
    assert [port.is_discarded for port in stage.cluster.ports] == [True, False]


async def test_failures_in_a_row_end_the_worker() -> None:
    """With the last cause in the sentence; the pauses in between grow, so it takes seconds and not milliseconds."""
    stage = kept()
    stage.cluster.faults = {"init": [fail] * MAX_FAILURES}
    with pytest.raises(SourceLost, match=r"frames\[3\] cannot be taken up: failed 5 times.*init.*cut"):
        await stage.opened()
    stage.keeper.discard()
    assert [port.is_discarded for port in stage.cluster.ports] == [True] * MAX_FAILURES
    assert 4.0 <= asyncio.get_running_loop().time() <= 12.0


async def test_tick_is_one_transaction() -> None:
    """Events, letters, cameras, tombstones and the partition's record, all of them at the commit."""
    stage = kept()
    await stage.opened()
    assert await stage.keeper.deliver(tick())
    assert stage.cluster.ports[0].calls[-5:] == list(DELIVERING)
    assert stage.cluster.alerts == [event.event_id for event in EVENTS]
    assert len(stage.cluster.letters) == 1
    assert dict(stage.cluster.state)[b"attic"] is None
    assert stage.record == PartitionRecord(14, len(EVENTS), "test", MARK, questions=ASKING, owner=OWNER)
    assert stage.cluster.group_offset == 14
    assert not stage.keeper.is_writing


@pytest.mark.parametrize("name", DELIVERING)
@pytest.mark.parametrize("fault", [pytest.param(fail, id="fails"), pytest.param(hang, id="hangs")])
async def test_failed_transaction_undoes_all_of_its_tick(name: str, fault: Callable[[], Awaitable[None]]) -> None:
    """Refused within the deadline, nothing of it there, the books void once; taken up again, and then delivered once."""
    stage = kept()
    await stage.opened()
    stage.cluster.faults = {name: [fault]}
    assert not await stage.keeper.deliver(tick())
    assert asyncio.get_running_loop().time() <= DEADLINE_S + 0.1
    assert (stage.cluster.alerts, stage.cluster.letters, stage.record.resume_offset) == ([], [], 12)
    assert len(stage.voided) == 1
    assert stage.keeper.closed.is_set()
    assert not await stage.keeper.deliver(tick())
    opened = await stage.opened(2)
    assert opened.assigned.resume_offset == 12
    assert not await stage.keeper.deliver(tick())
    assert await stage.keeper.deliver(tick(incarnation=2))
    assert stage.cluster.alerts == [event.event_id for event in EVENTS]


async def test_refused_transaction_ends_the_worker() -> None:
    """As a refused step."""
    stage = kept()
    await stage.opened()
    stage.cluster.faults = {"send_alerts": [refuse]}
    with pytest.raises(StreamRefused):
        await stage.keeper.deliver(tick())
    assert stage.cluster.ports[0].is_discarded


async def test_fenced_writer_commits_nothing() -> None:
    """Another one became the writer between begin and commit."""
    stage = kept()
    await stage.opened()
    other = stage.cluster.new_port()
    stage.cluster.faults = {"commit": [other.init]}
    assert not await stage.keeper.deliver(tick())
    assert stage.cluster.alerts == []
    assert len(stage.voided) == 1


async def test_half_of_a_late_transaction_is_not_told_again() -> None:
    """Events that are there without their state are adopted; they are left out when they come, and forgotten then."""
    stage = kept()
    stage.cluster.alerts = ["of another life", EVENTS[1].event_id]
    await stage.opened()
    assert stage.record.adopted == ("of another life", EVENTS[1].event_id)
    assert await stage.keeper.deliver(tick())
    assert stage.cluster.alerts[2:] == [EVENTS[0].event_id, EVENTS[2].event_id]
    assert stage.record.adopted == ("of another life",)
    assert stage.record.alerts_offset == 4


async def test_owner_that_was_taken_away_in_mid_transaction_delivers_nothing_more() -> None:
    """The commit may have come through: its tick does not count here, and the next owner reads what is committed."""
    stage = kept()
    await stage.opened()

    async def taken_away() -> None:
        stage.keeper.discard()

    stage.cluster.faults = {"commit": [taken_away]}
    assert not await stage.keeper.deliver(tick())
    assert stage.voided == []
    assert not await stage.keeper.deliver(tick())


async def test_attempts_are_counted_until_progress_or_a_clean_end() -> None:
    """Each process that takes up is one more, a tick without progress changes nothing, progress or a last tick clears them."""
    cluster = None
    for attempt in (1, 2, 3):
        stage = kept(cluster)
        cluster = stage.cluster
        opened = await stage.opened()
        assert (stage.record.attempt, opened.assigned.suspect, opened.assigned.read_below) == (attempt, attempt > 1, 100)
        assert await stage.keeper.deliver(tick(resume_offset=12))
        assert stage.record.attempt == attempt
    assert await stage.keeper.deliver(tick(resume_offset=13))
    assert (stage.record.attempt, stage.record.clean) == (0, False)
    stage = kept(cluster)
    opened = await stage.opened()
    assert not opened.assigned.suspect
    assert await stage.keeper.deliver(tick(resume_offset=13, final=True))
    assert (stage.record.attempt, stage.record.clean) == (0, True)
    assert stage.keeper.closed.is_set()
    assert not await stage.keeper.deliver(tick(resume_offset=15))


@pytest.mark.parametrize("deaths", [0, 1])
async def test_taking_up_again_in_one_process_is_no_further_attempt(deaths: int) -> None:
    """A transaction that failed kills nobody: the backlog is not tried in a child for it, unless it was on trial already."""
    stage = kept()
    for _ in range(deaths):
        await stage.opened()
        stage = kept(stage.cluster)
    for _ in range(3):
        opened = await stage.opened()
        assert (stage.record.attempt, opened.assigned.suspect) == (1 + deaths, deaths > 0)
        stage.keeper.discard()
    await stage.opened()
    assert await stage.keeper.deliver(tick(resume_offset=13))
    stage.keeper.discard()
    opened = await stage.opened()
    assert not opened.assigned.suspect, "progress ends the suspicion"


async def test_state_holds_arrivals_by_the_clock_on_the_wall(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of its writing, whatever the clock was when they were noted; who takes the partition up has them by its own again."""
    stage = kept()
    await stage.opened()
    ahead_s, right = 1_800.0, time.time
    monkeypatch.setattr(time, "time", lambda: right() + ahead_s)
    assert await stage.keeper.deliver(tick())
    (written,) = [decode_camera(value) for key, value in stage.cluster.state if key == b"den" and value]
    assert written.state.arrived_at_s == pytest.approx(DEN.state.arrived_at_s + ahead_s, abs=0.5)
    opened = await kept(stage.cluster).opened()
    assert opened.assigned.cameras["den"].state.arrived_at_s == pytest.approx(DEN.state.arrived_at_s, abs=0.5)


async def test_commits_end_a_row_of_failures() -> None:
    """A partition that is voided now and then for ever goes on for ever, as long as something is committed in between."""
    stage = kept()
    for incarnation in range(1, 3 * MAX_FAILURES):
        await stage.opened(incarnation)
        assert await stage.keeper.deliver(tick(incarnation=incarnation))
        stage.cluster.faults = {"commit": [fail]}
        assert not await stage.keeper.deliver(tick(incarnation=incarnation))
    assert len(stage.voided) == 3 * MAX_FAILURES - 1
