"""What the demo shows: cameras and their open behaviours while it runs, then every event beside the script's truth."""

from collections import deque
from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from stream.counts import Counts
from tools.demo.judge import Verdict
from tools.screen import behavior_text, event_line
from tools.sightings import Sighting

RECENT_EVENTS = 10


class LiveView:
    """The screen while events come in; `render` is called as often as the terminal likes."""

    def __init__(self, cameras: tuple[str, ...]) -> None:
        """Show `cameras`, all of them waiting."""
        self.status = ""
        """What goes on, in one line."""
        self._counts = Counts()
        self._open: dict[str, dict[str, str]] = {camera: {} for camera in cameras}
        self._state: dict[str, str] = dict.fromkeys(cameras, "waiting")
        self._recent: deque[Mapping[str, Any]] = deque(maxlen=RECENT_EVENTS)

    def follow(self, counts: Counts) -> None:
        """Show a worker's counters."""
        self._counts = counts

    def add(self, event: Mapping[str, Any]) -> None:
        """Take one alert (structured CloudEvent)."""
        self._recent.append(event)
        data, kind = event["data"], event["type"].rsplit(".", 1)[-1]
        camera = data["camera"]
        if kind == "started":
            self._open[camera][data["behavior"]] = data["severity"]
        elif kind == "ended":
            self._open[camera].pop(data["behavior"], None)
        else:
            self._state[camera] = "live" if kind == "seen" else "lost"

    def __rich__(self) -> RenderableType:
        """Draw the present state."""
        cameras = Table(expand=True, box=None)
        for column in ("camera", "stream", "behaviours going on"):
            cameras.add_column(column)
        for camera, behaviors in self._open.items():
            now = Text(", ").join(behavior_text(name, severity) for name, severity in behaviors.items())
            cameras.add_row(camera, self._state[camera], now or Text("-", style="dim"))
        counts = self._counts
        flow = (
            f"records {counts.received}   pictures decoded {counts.decoded}   asked {counts.answered} "
            f"in {counts.batches} batches   events {counts.events}   dead letters {counts.dead_lettered}"
        )
        events = Group(*(event_line(event) for event in self._recent)) if self._recent else Text("none yet", style="dim")
        return Group(
            Panel(cameras, title="cameras", title_align="left"),
            Panel(events, title="last alerts", title_align="left"),
            Text(flow, style="dim"),
            Text(self.status, style="bold"),
        )


def verdict_table(verdict: Verdict) -> Table:
    """Every event beside the truth, per camera in order of time."""
    table = Table(title="script and alerts, seconds from the recording's start")
    for column, justify in (
        ("camera", "left"), ("behaviour", "left"), ("script", "right"), ("alert", "right"), ("told at", "right"), ("", "left"),
    ):  # fmt: skip
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    for judged in verdict.episodes:
        script = f"{judged.episode.start_s:5.1f} - {judged.episode.end_s:5.1f}"
        seen = judged.sighting
        if seen is None:
            table.add_row(judged.camera, judged.episode.behavior, script, "", "", Text("missed", style="red"))
        else:
            mark = Text("late", style="yellow") if judged.late else Text("found", style="green")
            table.add_row(judged.camera, judged.episode.behavior, script, _span(seen), f"{seen.at_s:5.1f}", mark)
    for extra in verdict.invented:
        table.add_row(extra.camera, extra.behavior, "", _span(extra), f"{extra.at_s:5.1f}", Text("invented", style="red"))
    return table


def _span(sighting: Sighting) -> str:
    end = "  ..." if sighting.end_s is None else f"{sighting.end_s:5.1f}"
    return f"{sighting.start_s:5.1f} - {end}"
