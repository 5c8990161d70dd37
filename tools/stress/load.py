"""Server threads in front of an engine, and the closed loop: clients that each wait for an answer before they ask again."""

import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from statistics import median
from threading import Event, Lock, Semaphore, Thread
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DeviceLost
from tools.stress.figures import BestBucket, Cell, nearest_rank, span
from tools.stress.pictures import Answering, Pictures, stacked

_HANG_S = 120.0
"""After so long without an answer the device is given up."""
_LOOK_S = 0.05
"""How often whoever waits looks for a failed device."""
_SOON_S = 0.002
_ROUNDS = 7


@dataclass(slots=True, eq=False)
class Request:
    """One picture handed over."""

    picture: int
    begun_s: float
    """When it was handed over, or should have been; `time.perf_counter`."""
    reply: "SimpleQueue[Request]"
    """Where it goes when it is answered, or will not be."""
    said: NDArray[np.float32] | None = None
    """(2, Q); None: the device failed."""
    answered_s: float = float("inf")
    """When the server had its answer; the same for a whole batch."""
    seen_s: float = float("inf")
    """When the client had it in hand."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What all cells have in common."""

    engine: Answering
    pictures: Pictures
    seconds: float
    """A cell's window."""
    warm_s: float
    """Before it; what is answered then does not count."""
    requests_a_frame: int = 1
    """1: a request asks the whole set. N: it asks one question of N, and a frame counts when all were asked."""


def best_bucket(engine: Answering, pictures: Pictures, requests_a_frame: int = 1) -> tuple[BestBucket, float]:
    """Time every batch size alone, in interleaved rounds of which the first does not count.

    Returns:
        The one that costs least per frame; and the seconds of the largest.
    """
    taken_s: dict[int, list[float]] = {bucket: [] for bucket in engine.buckets}
    frames = np.resize(pictures.frames, (engine.buckets[-1], *pictures.frames.shape[1:]))
    for _ in range(_ROUNDS + 1):
        for bucket, column in taken_s.items():
            begun_s = time.perf_counter()
            engine.answer(frames[:bucket], bucket)
            column.append(time.perf_counter() - begun_s)
    batch_s = {bucket: median(column[1:]) for bucket, column in taken_s.items()}
    best = min(batch_s, key=lambda bucket: batch_s[bucket] / bucket)
    return BestBucket(best, batch_s[best], best / batch_s[best] / requests_a_frame), batch_s[engine.buckets[-1]]


class Servers:
    """Server threads that share an engine: dynamic batching.

    One server at a time gathers the next batch: what waits, up to the largest bucket, and never waiting for more once the device
    is free. At most `engine.submitters` of them are in the device, whatever their number: the others gather, or hand answers
    back. So one server leaves the device idle while it does both, and more than `submitters` + 2 gain nothing.
    """

    def __init__(self, engine: Answering, pictures: Pictures, count: int) -> None:
        """Prepare `count` servers; they run within the `with` block."""
        self._engine = engine
        self._pictures = pictures
        self._waiting: SimpleQueue[Request | None] = SimpleQueue()
        self._gathering = Lock()
        self._device = Semaphore(engine.submitters)
        self._threads = [Thread(target=self._serve, name=f"server-{number}", daemon=True) for number in range(count)]
        self.failure: Exception | None = None
        """What the device raised."""

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None) -> None:
        self._waiting.put(None)
        try:
            join(self._threads)
        except DeviceLost:
            if error is None:
                raise

    def submit(self, request: Request) -> None:
        """Queue a request; it comes back by its `reply`."""
        self._waiting.put(request)

    def discard(self) -> None:
        """Drop what no server has taken; it gets no reply. Nobody may submit any more."""
        try:
            while True:
                self._waiting.get_nowait()
        except Empty:
            pass

    def check(self) -> None:
        """Raise what the device raised, if it did."""
        if self.failure is not None:
            raise self.failure

    def wait(self, seconds: float) -> None:
        """Let the load run; raise what the device raises meanwhile."""
        end_s = time.perf_counter() + seconds
        while (left_s := end_s - time.perf_counter()) > 0:
            self.check()
            time.sleep(min(left_s, _LOOK_S))
        self.check()

    def _serve(self) -> None:
        frames = self._pictures.frames
        batch_BSS3 = np.zeros((self._engine.buckets[-1], *frames.shape[1:]), np.uint8)
        while True:
            requests: list[Request] = []
            with self._gathering:
                if not self._gather(requests, batch_BSS3, is_first=True):
                    return
                self._device.acquire()
                self._gather(requests, batch_BSS3)  # what came while the device was busy
            try:
                said = self._answer(requests, batch_BSS3)
            finally:
                self._device.release()
            _hand_back(requests, said)

    def _gather(self, requests: list[Request], batch_BSS3: NDArray[np.uint8], *, is_first: bool = False) -> bool:
        """Put what waits into the batch, and wait for the first; say whether servers go on."""
        while len(requests) < len(batch_BSS3):
            try:
                request = self._waiting.get(block=is_first and not requests)
            except Empty:
                return True
            if request is None:
                self._waiting.put(None)  # for the next server
                return bool(requests)
            batch_BSS3[len(requests)] = self._pictures.frames[request.picture]
            requests.append(request)
        return True

    def _answer(self, requests: Sequence[Request], batch_BSS3: NDArray[np.uint8]) -> NDArray[np.float32] | None:
        bucket = next(size for size in self._engine.buckets if size >= len(requests))
        try:
            return stacked(self._engine.answer(batch_BSS3[:bucket], len(requests)))
        except Exception as error:  # noqa: BLE001  (it is raised again where the load is waited for)
            self.failure = error
            return None


def _hand_back(requests: Sequence[Request], said_N2Q: NDArray[np.float32] | None) -> None:
    now_s = time.perf_counter()
    for row, request in enumerate(requests):
        if said_N2Q is not None:
            request.said, request.answered_s = said_N2Q[row], now_s
        request.reply.put(request)


def join(threads: Sequence[Thread]) -> None:
    """Wait for threads that end when the device has answered.

    Raises:
        DeviceLost: it does not answer.
    """
    end_s = time.perf_counter() + _HANG_S
    for thread in threads:
        if thread.ident is not None:  # an interruption may come before it was started
            thread.join(max(0.0, end_s - time.perf_counter()))
    if any(thread.is_alive() for thread in threads):
        raise _silent()


def closed_loop(bench: Bench, servers: int, clients: int) -> Cell:
    """Measure one cell: each client hands a prepared frame over as soon as it has the answer to its last.

    Latency is from handing over to having the answer in hand. Throughput and percentiles are over all requests of the window.

    Raises:
        DeviceLost: the device failed.
    """
    numbers, over = itertools.count(), Event()
    answered: list[Request] = []
    with Servers(bench.engine, bench.pictures, servers) as pool:
        count = len(bench.pictures.frames)
        callers = [Thread(target=_call, args=(pool, (numbers, count), over, answered), daemon=True) for _ in range(clients)]
        try:
            for caller in callers:
                caller.start()
            pool.wait(bench.warm_s)
            begun_s, begun_cpu_s = time.perf_counter(), time.process_time()
            pool.wait(bench.seconds)
            ended_s, ended_cpu_s = time.perf_counter(), time.process_time()
            _await_answer(pool, answered, ended_s)
        finally:
            over.set()
            join(callers)
    pool.check()
    first_s, last_s = span([request.answered_s for request in answered], begun_s, ended_s)
    counted = [request for request in answered if first_s < request.answered_s <= last_s]
    latencies_s = [request.seen_s - request.begun_s for request in counted]
    return Cell(
        servers=servers,
        clients=clients,
        throughput_fps=len(counted) / (last_s - first_s) / bench.requests_a_frame,
        p50_ms=nearest_rank(latencies_s, 50) * 1000,
        p99_ms=nearest_rank(latencies_s, 99) * 1000,
        errors=foreign(bench.pictures, counted),
        cores_busy=(ended_cpu_s - begun_cpu_s) / (ended_s - begun_s),
    )


def _await_answer(pool: Servers, answered: Sequence[Request], since_s: float) -> None:
    """Keep the load up until the first answer behind a window, where the window really ends.

    Raises:
        DeviceLost: there comes none.
    """
    while not answered or answered[-1].answered_s < since_s:
        pool.wait(_SOON_S)
        if time.perf_counter() > since_s + _HANG_S:
            raise _silent()


def _silent() -> DeviceLost:
    return DeviceLost(f"the device has not answered for {_HANG_S:g} s")


def foreign(pictures: Pictures, requests: Sequence[Request]) -> int:
    """Count the requests whose answers are not their pictures'; those without an answer left out."""
    found = [(request.picture, request.said) for request in requests if request.said is not None]
    return pictures.foreign([picture for picture, _ in found], [said for _, said in found])


def _call(pool: Servers, numbers: tuple[Iterator[int], int], over: Event, answered: list[Request]) -> None:
    """Be a client, until it is over or the device failed."""
    following, count = numbers  # one `next` is one step of the interpreter: no two clients get the same
    reply: SimpleQueue[Request] = SimpleQueue()
    while not over.is_set():
        request = Request(next(following) % count, time.perf_counter(), reply)
        pool.submit(request)
        reply.get()
        request.seen_s = time.perf_counter()
        if request.said is None:
            return
        answered.append(request)
