"""Where a deploy's question sets came into force, told from the alerts: nothing else says who answered which picture.

With a behaviour that flips at every picture, each picture is an alert, and each alert names its questions. What is read here is a
claim, and no more: the replay derives every alert from it, so that a picture that was judged by other questions than its alerts
say, questions that come back after newer ones, and an end that no removed question explains are all found.
"""

from collections import defaultdict
from collections.abc import Sequence

from tools.chaos.check import Published
from tools.chaos.expected import Alert, Rules

_OF_A_PICTURE = frozenset({None, "stopped", "max_duration"})
"""Reasons of alerts whose time is that of the picture that led to them."""
LOST = "pawsight.camera.lost"


def turns(alerts: Sequence[Published], asked: Sequence[Rules]) -> dict[str, list[tuple[int, Rules]]]:
    """Give, by camera, the capture time of the first picture of each question set, and its rules.

    Args:
        alerts: in the order of each partition.
        asked: the question sets, the one of the beginning first. One that a camera's alerts never name was asked of no picture
            of it, and nothing was open that it would have ended.
    """
    names = [rules.questions for rules in asked]
    current: defaultdict[str, int] = defaultdict(int)
    waiting: defaultdict[str, list[Rules]] = defaultdict(list)
    found: defaultdict[str, list[tuple[int, Rules]]] = defaultdict(list)
    for alert in (each.alert for each in sorted(alerts, key=lambda one: (one.partition, one.offset))):
        camera = alert.camera
        place = names.index(alert.questions) if alert.questions in names else 0
        if place > current[camera]:
            current[camera] = place
            waiting[camera].append(asked[place])
        if camera in waiting and _is_of_a_picture(alert):
            found[camera] += [(alert.at_us, rules) for rules in waiting.pop(camera)]
    for camera, left in waiting.items():  # ended what was open, and met no picture any more
        found[camera] += [(_NEVER_US, rules) for rules in left]
    return dict(found)


_NEVER_US = 1 << 62


def _is_of_a_picture(alert: Alert) -> bool:
    return alert.type != LOST and alert.reason in _OF_A_PICTURE
