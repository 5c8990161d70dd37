"""The brokers of a chaos run: one or several nodes behind a proxy, with bounds that make faults short."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import MappingProxyType

from tools.broker.cluster import Cluster, ClusterLaunch
from tools.broker.find import broker_jars
from tools.broker.jars import kafka_version
from tools.broker.launch import Broker, Launch
from tools.broker.process import BrokerProcess
from tools.chaos.proxy import Proxy

QUICK_FAULTS: Mapping[str, str] = MappingProxyType(
    {
        "group.min.session.timeout.ms": "1000",
        # a broker killed with -9 may register again only when its last registration has expired: 9 s by default
        "broker.session.timeout.ms": "3000",
        "broker.heartbeat.interval.ms": "500",
        # how often transactions past their timeout are looked for: 10 s by default
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    }
)
"""Broker settings (Kafka's broker configuration reference) with which a fault costs seconds."""


@dataclass(frozen=True, slots=True)
class Brokers:
    """Running brokers and the proxy before them."""

    proxy: Proxy
    nodes: tuple[BrokerProcess, ...]
    bootstrap_servers: str
    """For those whom network faults hit: leads through the proxy."""
    direct_servers: str
    """For those who judge: goes past it."""


@asynccontextmanager
async def brokers_behind_proxy(nodes: int = 1, settings: Mapping[str, str] = QUICK_FAULTS) -> AsyncIterator[Brokers]:
    """Start brokers and a proxy for as long as the block lasts.

    Raises:
        CommandError: no broker can be started here.
    """
    async with Proxy(nodes) as proxy:
        jars = await asyncio.to_thread(broker_jars)
        own: Broker | Cluster
        if nodes == 1:
            own = Broker(Launch(jars, advertised_port=proxy.ports[0], settings=settings), kafka_version())
        else:
            own = Cluster(ClusterLaunch(jars, nodes, advertised_ports=proxy.ports, settings=settings), kafka_version())
        await asyncio.to_thread(own.__enter__)
        try:
            started = (own.process,) if isinstance(own, Broker) else own.nodes
            proxy.lead_to([each.node.port for each in started])
            yield Brokers(proxy, started, own.bootstrap_servers, own.direct_servers)
        finally:
            await asyncio.to_thread(own.__exit__, None, None, None)
