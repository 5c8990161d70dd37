"""The counters of a run that is over, and whether nothing went missing. Pure.

Only while a worker works is something in flight. It drains what it took in before it returns, and what lies in a decoder then is
no decoded picture yet: in the end both sums of `stream.counts` must be exact.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tools.report.markup import Html, facts, table, tag

_WORDS = {
    "used": "used",
    "dead_lettered": "dead letters",
    "repeated": "done before",
    "stale": "of an assignment that had ended",
    "answered": "asked",
    "sampled_out": "between two samples",
    "late": "late",
    "clock": "out of the camera's clock",
    "no_keyframe": "before a keyframe",
    "duplicate": "there before",
    "undecodable": "undecodable",
    "decode_only": "decoded again for later ones",
    "stale_frames": "of an assignment that had ended",
}
_RECORDS = ("used", "dead_lettered", "repeated", "stale")
_PICTURES = (
    "answered", "sampled_out", "late", "clock", "no_keyframe", "duplicate", "undecodable", "decode_only", "stale_frames",
)  # fmt: skip
_BESIDE = {
    "skipped": "pictures never decoded (keyframes were enough)",
    "batches": "batches on the device",
    "events": "events delivered",
}
_COLOURS = 4


@dataclass(frozen=True, slots=True)
class Balance:
    """A whole and what became of it."""

    what: str
    whole: int
    parts: Sequence[tuple[str, int]]
    """Words and counts; the last one is what nothing is known of, less than 0 if more came out than went in."""

    @property
    def holds(self) -> bool:
        """Whether everything is accounted for."""
        return self.parts[-1][1] == 0


def balances(counters: Mapping[str, int]) -> tuple[Balance, Balance]:
    """Give the conservation law of `stream.counts`, for records and for pictures."""
    return _balance("records received", "received", _RECORDS, counters), _balance(
        "pictures decoded", "decoded", _PICTURES, counters
    )


def shown(counters: Mapping[str, int]) -> Html:
    """Show both balances with their sum, and what stands beside them."""
    told = [_shown(balance) for balance in balances(counters)]
    beside = facts([(words, f"{counters.get(name, 0):,}") for name, words in _BESIDE.items()])
    return tag("div", tag("div", *told, class_="pair"), beside)


def _balance(what: str, whole: str, parts: Sequence[str], counters: Mapping[str, int]) -> Balance:
    known = [(_WORDS[name], counters.get(name, 0)) for name in parts]
    total = counters.get(whole, 0)
    unknown = total - sum(count for _, count in known)
    return Balance(what, total, [*((words, count) for words, count in known if count), ("unaccounted for", unknown)])


def _shown(balance: Balance) -> Html:
    sums = " + ".join(f"{count:,} {words}" for words, count in balance.parts)
    verdict = tag("strong", "adds up" if balance.holds else "does not add up", class_="good" if balance.holds else "bad")
    line = tag("p", f"{balance.whole:,} {balance.what} = {sums}: ", verdict, class_="balance")
    whole = max(1, balance.whole)
    shares = [
        tag("i", class_=f"s{place % _COLOURS + 1}", style=f"flex-grow:{count}")
        for place, (_, count) in enumerate(balance.parts)
        if count > 0
    ]
    rows = [
        (tag("span", tag("i", class_=f"swatch s{place % _COLOURS + 1}"), words), f"{count:,}", f"{100 * count / whole:.1f} %")
        for place, (words, count) in enumerate(balance.parts)
    ]
    bar = tag("div", *shares, class_="stack", aria_hidden="true")
    return tag("div", line, bar, table(f"What became of the {balance.what}", ("what", "count", "share"), rows))
