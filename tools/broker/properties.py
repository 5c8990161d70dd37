"""What stands in a broker's settings file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from stream.kafka.topology import DEAD_LETTER_MAX_BYTES
from tools.broker.ports import HOST, free_ports

REPLICAS = 3
"""Copies of a partition, where there are that many nodes."""
MIN_IN_SYNC = 2
"""Copies that must have an acknowledged record (acks=all): one node of three may be down."""


@dataclass(frozen=True, slots=True)
class Node:
    """One broker's number and its ports on loopback, which stay the same when it is restarted."""

    node_id: int
    port: int
    """Where clients are served."""
    inner_port: int
    """Where the other brokers are served; a client that begins here never hears of `advertised_port`."""
    controller_port: int
    advertised_port: int
    """Where clients are told to connect: `port`, or that of a proxy or tunnel which stands before it."""

    @classmethod
    def draw(cls, node_id: int, port: int | None = None, advertised_port: int | None = None) -> Self:
        """Take free ports where none is given."""
        drawn, inner, controller = free_ports(3)
        port = drawn if port is None else port
        return cls(node_id, port, inner, controller, port if advertised_port is None else advertised_port)


def server_properties(node: Node, nodes: Sequence[Node], data: Path, more: Mapping[str, str]) -> str:
    """Settings of one node that is broker and controller.

    Args:
        node: the node.
        nodes: all nodes of its cluster, itself among them.
        data: folder of its log segments.
        more: further settings, which win over ours.
    """
    listeners = {"BROKER": node.inner_port, "CONTROLLER": node.controller_port}
    copies, in_sync = str(min(REPLICAS, len(nodes))), str(min(MIN_IN_SYNC, len(nodes)))
    settings = {
        "process.roles": "broker,controller",
        "node.id": str(node.node_id),
        "controller.quorum.voters": ",".join(f"{each.node_id}@{HOST}:{each.controller_port}" for each in nodes),
        "listeners": _addresses({"PLAINTEXT": node.port} | listeners),
        "advertised.listeners": _addresses({"PLAINTEXT": node.advertised_port} | listeners),
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "BROKER",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": str(data),
        "auto.create.topics.enable": "false",
        "message.max.bytes": str(DEAD_LETTER_MAX_BYTES),
        "replica.fetch.max.bytes": str(DEAD_LETTER_MAX_BYTES),
        "default.replication.factor": copies,
        "min.insync.replicas": in_sync,
        "offsets.topic.replication.factor": copies,
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": copies,
        "transaction.state.log.min.isr": in_sync,
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.replication.factor": copies,
        "share.coordinator.state.topic.min.isr": in_sync,
        "group.initial.rebalance.delay.ms": "0",
    }
    return "".join(f"{key}={value}\n" for key, value in (settings | dict(more)).items())


def _addresses(listeners: Mapping[str, int]) -> str:
    return ",".join(f"{name}://{HOST}:{port}" for name, port in listeners.items())
