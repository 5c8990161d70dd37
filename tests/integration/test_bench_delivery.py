"""`bench delivery` on a real broker, small: its figures, and that it takes up exactly the cameras that it wrote."""

import json

import pytest
import typer
from typer.testing import CliRunner

from tools.bench.delivery import PARTITIONS, delivery
from tools.broker.find import FoundBroker

app = typer.Typer()
app.command()(delivery)


@pytest.mark.slow
def test_figures_of_a_small_restore(broker: FoundBroker) -> None:
    """Every figure that it promises; each camera once, those of the live phase, too, and nothing compacted within seconds."""
    options = ["--restore-cameras", "96", "--live-minutes", "0.05", "--json", "-"]
    result = CliRunner().invoke(app, ["--bootstrap-servers", broker.bootstrap_servers, *options])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["transactions_per_s"] > 0
    assert 0 < told["transaction_ms"]["p50"] <= told["transaction_ms"]["p99"]
    assert told["restore_cameras"] == 96 + PARTITIONS + 1  # one of the latencies, and one of the throughput on each partition
    assert told["restore_s"] > 0
    assert told["live_records"] % 96 == 0  # each tick changes both cameras of each partition
    assert told["live_records"] > 0
    assert told["state_records"] == told["state_written"] + PARTITIONS  # and the marks of the first time
