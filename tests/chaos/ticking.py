"""A child process for the fault tests: one small transaction after the other, with a status and crash points, until SIGTERM."""

import asyncio
import json
import signal
import sys
import time
from pathlib import Path

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from tools.chaos.status import CrashPoint, Files, InjectedError, Status, crash_point


async def tick(files: Files, bootstrap_servers: str, topic: str) -> None:
    """Work with one producer until it fails; its first transaction is a restore of sorts."""
    with crash_point(files, CrashPoint.INIT):
        producer = AIOKafkaProducer(
            bootstrap_servers=bootstrap_servers,
            client_id=files.name,
            transactional_id=files.name,
            request_timeout_ms=2000,
            transaction_timeout_ms=5000,
        )
        await producer.start()
    try:
        while True:
            Status(1, 1, time.time()).write(files)
            with crash_point(files, CrashPoint.BEGIN):
                await producer.begin_transaction()
            with crash_point(files, CrashPoint.ALERT):
                await producer.send_and_wait(topic, files.name.encode(), partition=0)
            with crash_point(files, CrashPoint.COMMIT):
                await producer.commit_transaction()
            Status(0, 0, time.time()).write(files)
            await asyncio.sleep(0.05)
    finally:
        await asyncio.wait_for(producer.stop(), 1.0)


async def main(files: Files, bootstrap_servers: str, topic: str) -> None:
    """Begin anew after every error; a SIGTERM cancels."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    while True:
        try:
            await tick(files, bootstrap_servers, topic)
        except (KafkaError, InjectedError, AssertionError, TimeoutError):
            await asyncio.sleep(0.1)
        except asyncio.CancelledError:
            return


if __name__ == "__main__":
    told = json.loads(sys.argv[1])
    asyncio.run(main(Files(Path(told["folder"]), told["name"]), told["bootstrap_servers"], told["topic"]))
