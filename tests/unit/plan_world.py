"""A plan on a table and profiles that no price change touches."""

import json
import tomllib
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import typer
from hypothesis import strategies as st
from typer.testing import CliRunner

from tools.errors import CommandError
from tools.plan import arithmetic
from tools.plan.arithmetic import Basis, Demand, Speed, plain
from tools.plan.command import plan
from tools.plan.prices import SHIPPED, Prices, Pricing
from tools.plan.profiles import load_profiles
from tools.plan.sheet import Sheet, build

RATES = st.floats(min_value=0.05, max_value=500)
PROFILE: dict[str, Any] = {
    "format": "pawsight.profile/1",
    "date": "2026-11-26",
    "machine": {"processor": "AMD EPYC", "cores": 2, "instance": "inf2.xlarge"},
    "device": "neuron:0",
    "backend": "neuron",
    "precision": "bf16",
    "artifact": "0123456789abcdef",
    "model": "Salesforce/blip-vqa-base",
    "questions": 8,
    "questions_fingerprint": "f",
    "throughput_fps": 100.0,
    "p99_ms": 80.0,
    "open_loop_fps": 90.0,
    "extra_question_percent": 2.0,
    "cpu_s_per_1000_frames": 10.0,
}
"""100 frames/s a worker: 140 of 200 per inf2.xlarge at 70 %."""
TABLE = """\
date = 2026-11-26
currency = "USD"
region = "us-east-1"
source = "a price list"
[[instance]]
name = "inf2.xlarge"
backend = "neuron"
accelerator = "Inferentia2"
vcpus = 4
workers = 2
on_demand_usd_per_hour = 0.7582
reserved_usd_per_hour = 0.328
reserved_source = "a page"
[[instance]]
name = "g4dn.xlarge"
backend = "cuda"
accelerator = "T4"
vcpus = 4
workers = 1
on_demand_usd_per_hour = 0.526
[[instance]]
name = "g5.xlarge"
backend = "cuda"
accelerator = "A10G"
vcpus = 4
workers = 1
on_demand_usd_per_hour = 1.006
[[instance]]
name = "g6.xlarge"
backend = "cuda"
accelerator = "L4"
vcpus = 4
workers = 1
on_demand_usd_per_hour = 0.8048
[[instance]]
name = "c7i.2xlarge"
backend = "cpu"
accelerator = "none"
vcpus = 8
workers = 1
on_demand_usd_per_hour = 0.357
[published_saving]
share = 0.83
instance = "inf2.xlarge"
source = "Tomofun"
says = "83 %"
"""
"""The shipped table's prices of 2026-11-26: those may change, the tests' do not."""
PRICES = Prices.model_validate(tomllib.loads(TABLE))
CPU: dict[str, Any] = {"backend": "cpu", "device": "cpu", "machine": {"processor": "AMD EPYC", "cores": 2, "instance": None}}


def assumed(value: float) -> arithmetic.Figure:
    """Give an assumed figure."""
    return plain(value, Basis.ASSUMED)


DEMAND = Demand(
    cameras=assumed(1000),
    fps=assumed(2.0),
    asked_share=assumed(0.5),
    utilisation=assumed(0.7),
    publish_fps=assumed(10.0),
    frame_bytes=assumed(40_000),
    retention_hours=assumed(24.0),
)
"""1,000 asked frames/s."""


def speed(fps: float, extra_percent: float | None = 2.0) -> Speed:
    """Give a measured speed."""
    extra = None if extra_percent is None else plain(extra_percent, Basis.MEASURED)
    return Speed(plain(fps, Basis.MEASURED), extra)


def profile_file(folder: Path, name: str = "profile.json", **changes: Any) -> Path:
    """Write a profile."""
    path = folder / name
    path.write_text(json.dumps(PROFILE | changes, indent=1), encoding="utf-8")
    return path


def sheet_of(*said: str, demand: Demand = DEMAND, questions: int = 8, pricings: tuple[Pricing, ...] = tuple(Pricing)) -> Sheet:
    """Lay out a plan."""
    return build(demand, assumed(questions), PRICES, load_profiles(said, PRICES, SHIPPED), pricings)


def run(*arguments: str) -> tuple[int, str]:
    """Run the command as a user does; give its exit status, and standard output or the sentence."""
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(plan)
    with NamedTemporaryFile("w", suffix=".toml") as file:
        file.write(TABLE)
        file.flush()
        done = CliRunner().invoke(app, ["--prices", file.name, *arguments])
    return (2, str(done.exception)) if isinstance(done.exception, CommandError) else (done.exit_code, done.stdout)
