"""`tools/run COMMAND` or `python -m tools COMMAND`: the command table, and the edge where errors become sentences."""

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.markup import escape

from pipeline.errors import DeviceLost, PipelineError
from stream.errors import StreamError
from tools import settings
from tools.alerts import alerts
from tools.artifact import artifact
from tools.ask import ask
from tools.bench.delivery import delivery as bench_delivery
from tools.bench.model import model as bench_model
from tools.broker.command import broker
from tools.calibrate.command import calibrate
from tools.chaos.command import chaos
from tools.compile import compile_model
from tools.contract import contract
from tools.demo.command import demo
from tools.diff.command import diff
from tools.dlq.command import dlq, list_letters, redrive
from tools.errors import CommandError
from tools.evaluate.command import evaluate
from tools.gate import test
from tools.plan.command import plan
from tools.replay import replay
from tools.report.command import report
from tools.scenes.command import scenes
from tools.screen import err
from tools.stress.command import stress
from tools.toml_file import read_toml
from tools.topics import topics
from tools.train.command import train
from tools.watch import watch
from tools.worker import worker

_NAMED = (
    demo,
    watch,
    ask,
    worker,
    replay,
    alerts,
    broker,
    topics,
    scenes,
    evaluate,
    calibrate,
    diff,
    report,
    stress,
    plan,
    train,
    contract,
    chaos,
    test,
)
COMMANDS: dict[str, Callable[..., None]] = {each.__name__: each for each in _NAMED} | {"compile": compile_model}

app = typer.Typer(
    name="tools/run",
    help="Pawsight: questions about every camera's frames, answered by BLIP, turned into events on Kafka.",
    epilog="First look: tools/run demo.  Without a broker: tools/run watch VIDEO",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
for _name, _command in COMMANDS.items():
    app.command(_name)(_command)
bench = typer.Typer(help="Measure; every figure is a ratio within one run.", no_args_is_help=True)
bench.command("model")(bench_model)
bench.command("delivery")(bench_delivery)
app.add_typer(artifact, name="artifact")
app.add_typer(bench, name="bench")
app.add_typer(dlq, name="dlq")

SettingsOption = Annotated[
    Path | None,
    typer.Option(
        "--settings", envvar="PAWSIGHT_SETTINGS", metavar="FILE", help="TOML file with options and the \\[kafka] table."
    ),
]


@app.callback()
def load_settings(context: typer.Context, settings_file: SettingsOption = None) -> None:
    """Take the settings file as the commands' defaults."""
    values = {} if settings_file is None else read_toml(settings_file)
    parameters = {name: list(command.__annotations__) for name, command in COMMANDS.items()}
    defaults = settings.default_map(values, parameters | {"dlq": [*list_letters.__annotations__, *redrive.__annotations__]})
    context.default_map = defaults | {"dlq": {"list": defaults["dlq"], "redrive": defaults["dlq"]}}
    settings.keep(values)


DEVICE_LOST = 3
"""Exit status: another try may succeed, where 2 needs somebody to mend something."""


def _interrupted(_signal: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


def main() -> int:
    """Run one command; 0 it holds, 1 it does not, 2 wrong use or environment, 3 the device is lost, 130 interrupted."""
    signal.signal(signal.SIGTERM, _interrupted)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        app(standalone_mode=True)
    except (CommandError, PipelineError, StreamError) as error:
        err.print(f"[bold red]error:[/] {escape(str(error))}", soft_wrap=True)
        status = DEVICE_LOST if isinstance(error, DeviceLost) else 2
        if status == DEVICE_LOST or threading.active_count() > 1:
            sys.stdout.flush()
            os._exit(
                status
            )  # the interpreter would wait for a thread that hangs in the device, and no supervisor would restart us
        return status
    except KeyboardInterrupt:
        err.print("interrupted")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
