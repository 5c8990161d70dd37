"""What was found through Kafka, for a person."""

from math import isfinite

from rich.markup import escape
from rich.table import Table

from tools.stress.kafka.figures import Attempt, Through


def kafka_table(found: Through) -> Table:
    """Every trial, and under it what follows."""
    cameras = f"{found.fps:g} fps {found.size} {found.form} a camera"
    shown = Table(title=escape(f"through Kafka: {cameras}, workers {found.workers}, partitions {found.partitions}"))
    for name in ("cameras", "asked frames/s", "lag grows s/s", "p50 ms", "p99 ms", "keeps up"):
        shown.add_column(name, justify="right", no_wrap=True)
    for each in found.attempts:
        figures = (f"{each.asked_fps:.1f}", _rate(each), _ms(each.p50_s), _ms(each.p99_s), "yes" if each.is_held else "no")
        style = "bold green" if each is found.best else "" if each.is_held else "dim"
        shown.add_row(str(each.cameras), *figures, style=style)
    shown.caption = escape("; ".join(_conclusions(found)))
    return shown


def _conclusions(found: Through) -> list[str]:
    best = found.best
    if best is None:
        return ["no number of cameras that was tried holds"]
    told = [f"{best.cameras} cameras hold; latency is from a picture's capture to its commit"]
    if best.cpu is not None:
        each = best.cpu.per_1000(best.frames)
        told.append(
            f"processor seconds of the workers for 1,000 frames: decode {each['decode']:.2f}, device {each['device']:.2f}, "
            f"transaction {each['transaction']:.2f}"
        )
    told.append("cores busy: " + ", ".join(f"{name} {busy:.2f}" for name, busy in sorted(best.cores.items())))
    if found.kept is not None:
        told.append(
            f"of {found.kept.records} records published {found.kept.committed} are committed, of {found.kept.due} pictures due "
            f"{found.kept.asked} asked; {found.alerts} alerts compared with their pictures, {found.foreign} foreign, "
            f"{found.told_apart} of {found.pairs} pairs of scenes told apart by their scores"
        )
    return told


def _rate(each: Attempt) -> str:
    return f"{each.lag_rate:+.3f}" if isfinite(each.lag_rate) else "far behind"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f}" if isfinite(seconds) else "-"
