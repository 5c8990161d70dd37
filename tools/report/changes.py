"""What `diff` found: events gained, lost and shifted, answers flipped, over both sides' timelines. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tools.report import cards, lanes
from tools.report.cards import Card, Pictures
from tools.report.lanes import clock, span
from tools.report.markup import Html, joined, table, tag, tiles
from tools.report.record import Timeline, moment
from tools.report.results import Difference, Seen

BEFORE, AFTER = "before", "after"
"""Names of the two runs."""
_LEGEND = (
    tag("span", tag("i", class_="swatch curve before"), tag("i", class_="swatch event before"), "P(yes) and events before"),
    tag("span", tag("i", class_="swatch curve"), tag("i", class_="swatch event"), "after; pale until it was told"),
)


@dataclass(frozen=True, slots=True)
class Change:
    """An event that is not as it was; one of the two is there at least."""

    word: str
    before: Seen | None
    after: Seen | None

    @property
    def shown(self) -> Seen:
        """Whose picture is shown: after, where there is one."""
        one = self.before if self.after is None else self.after
        assert one is not None
        return one


def changes(found: Difference) -> list[Change]:
    """Give what changed, by camera and time."""
    told = [
        *(Change("gained", None, one) for one in found.gained),
        *(Change("lost", one, None) for one in found.lost),
        *(Change("shifted", one.before, one.after) for one in found.shifted),
    ]
    return sorted(told, key=lambda each: (each.shown.camera, each.shown.start_s, each.shown.behavior))


def difference(found: Difference, key: str, pictures: Pictures | None) -> Html:
    """Show a comparison."""
    told = {f"{key}-e{number}": change for number, change in enumerate(changes(found), 1)}
    cameras = {timeline.camera: timeline for timeline in found.timelines}
    shown = [_card(name, change, cameras[change.shown.camera]) for name, change in told.items()]
    events = cards.shown(shown, pictures) if shown else tag("p", "No event is gained, lost or shifted.")
    return joined(
        [
            _summary(found),
            tag("section", tag("h3", "Events that changed"), events, *(tag("p", note) for note in _notes(found))),
            _answers(found),
            _timelines(found.timelines, told),
        ]
    )


def _card(key: str, change: Change, timeline: Timeline) -> Card:
    length_s, one = timeline.length_s, change.shown
    mood = {"gained": "good", "lost": "bad"}.get(change.word, "")
    lines = (*_moved(change, length_s), *_scores(change))
    return Card(key, timeline.video, one.camera, one.behavior, one.start_s, span(one, length_s), change.word, mood, lines)


def _moved(change: Change, length_s: float) -> Iterator[str]:
    """Say when it was told, and by how much earlier or later than before."""
    before, after, one = change.before, change.after, change.shown
    if before is None or after is None:
        yield f"told {clock(one.at_s, length_s, 1)}"
        return
    yield f"told {clock(one.at_s, length_s, 1)} ({after.at_s - before.at_s:+.1f} s)"
    if after.ended_at_s is not None and before.ended_at_s is not None:
        yield f"end told {clock(after.ended_at_s, length_s, 1)} ({after.ended_at_s - before.ended_at_s:+.1f} s)"
    if span(before, length_s) != span(after, length_s):
        yield f"before {span(before, length_s)}"


def _scores(change: Change) -> Iterator[str]:
    said = [f"{one.score:.2f}" for one in (change.before, change.after) if one is not None and one.score is not None]
    if said:
        yield f"P(yes) {' → '.join(said)}"


def _summary(found: Difference) -> Html:
    rows = [("episodes as before", str(found.same), "")]
    for name, count in (
        ("gained", len(found.gained)),
        ("lost", len(found.lost)),
        ("shifted", len(found.shifted)),
        ("answers flipped", sum(one.flipped for one in found.answers)),
    ):
        rows.append((name, str(count), "bad" if count else "good"))
    return joined([*([] if found.changed else [tag("p", "Nothing changed.")]), tiles(rows)])


def _notes(found: Difference) -> Iterator[str]:
    for name, behaviors in ((BEFORE, found.behaviors_only_before), (AFTER, found.behaviors_only_after)):
        if behaviors:
            yield f"asked {name} only: {', '.join(behaviors)}"
    if found.frames_only_before or found.frames_only_after:
        yield f"frames asked before only: {found.frames_only_before}, after only: {found.frames_only_after}"


def _answers(found: Difference) -> Html:
    rows = [
        (
            one.behavior,
            *(f"{count:,}" for count in (one.frames, one.differing, one.flipped)),
            f"{one.max_abs_dp:.4f}",
            f"{one.mean_abs_dp:.5f}",
        )
        for one in found.answers
    ]
    columns = ("behaviour", "frames", "differing", "flipped", "largest |dP|", "mean |dP|")
    return tag("section", tag("h3", "Answers"), table("Answers to the frames that both asked", columns, rows))


def _timelines(timelines: Sequence[Timeline], told: Mapping[str, Change]) -> Html:
    places: dict[str, dict[tuple[str, float, str], str]] = {timeline.camera: {} for timeline in timelines}
    for key, change in told.items():
        for name, one in ((BEFORE, change.before), (AFTER, change.after)):
            if one is not None:
                places[one.camera][one.behavior, moment(one.start_s), name] = key
    drawn = (joined([tag("h4", one.video), lanes.drawn(one, places[one.camera])]) for one in timelines)
    return tag("section", tag("h3", "Timelines"), tag("p", *_LEGEND, class_="legend"), *drawn)
