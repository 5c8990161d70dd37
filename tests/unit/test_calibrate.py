"""What `calibrate` fits and chooses: on scores whose true transform is known, and on rates computed by hand."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from pipeline.calibration import Calibration, Isotonic, Platt
from stream.cameras import CameraRegistry
from stream.debounce import DebounceRule, DebounceRules
from tests.unit.test_evaluate import T0_S, observed
from tools.calibrate.fit import ENOUGH_FRAMES, TooLittle, applied, fit, methods
from tools.calibrate.per_question import Wanted, calibrate_each
from tools.calibrate.thresholds import (
    DAY_S,
    Given,
    NoThreshold,
    Rehearsal,
    Watched,
    carried,
    interval,
    least_days,
    poisson_high,
)
from tools.errors import CommandError
from tools.evaluate.frames import Answered, calibration_error
from tools.scenes.script import Episode

RULE = DebounceRule("barking", start_above=0.65, stop_below=0.35, start_after_s=1.0, stop_after_s=1.0, cooldown_s=0.0)
RULES = DebounceRules({"barking": RULE})
CAMERAS = CameraRegistry()


def answered(frames: int, truth: Platt, seed: int = 1, cameras: int = 10) -> Answered:
    """Frames that are true as often as the calibrated score says."""
    random = np.random.default_rng(seed)
    p_yes = random.uniform(0.01, 0.99, frames).astype(np.float32)
    is_true = random.uniform(size=frames) < truth(p_yes)
    return Answered("barking", p_yes.astype(float), is_true, tuple(f"camera-{index % cameras}" for index in range(frames)), 0)


def test_platt_finds_the_transform_that_made_the_truth() -> None:
    """Within the noise of so many frames; the error falls on frames that it has never seen, almost to nothing."""
    truth = Platt(0.4, -1.0)  # an overconfident model that says yes too often
    fitted = fit(answered(8_000, truth), "platt", "")
    assert isinstance(fitted.calibration, Platt)
    assert fitted.calibration.slope == pytest.approx(0.4, abs=0.05)
    assert fitted.calibration.intercept == pytest.approx(-1.0, abs=0.1)
    assert fitted.helps
    unseen = answered(20_000, truth, seed=2)
    after = calibration_error(applied(fitted.calibration, unseen), unseen.is_true)
    assert after < 0.02
    assert calibration_error(unseen.p_yes, unseen.is_true) > 0.15


def test_isotonic_follows_a_curve_that_platt_cannot() -> None:
    """Scores in the middle that mean nothing: a step is no sigmoid. It rises everywhere that it was fitted."""
    one = answered(20_000, Platt(1.0, 0.0))
    steps = np.where(one.p_yes < 0.3, 0.05, np.where(one.p_yes < 0.7, 0.5, 0.6))
    one = replace(one, is_true=np.random.default_rng(3).uniform(size=len(steps)) < steps)
    errors = {
        name: calibration_error(applied(fit(one, name, "").calibration, one), one.is_true) for name in ("platt", "isotonic")
    }
    assert errors["isotonic"] < 0.02 < errors["platt"]
    curve = fit(one, "isotonic", "").calibration
    assert isinstance(curve, Isotonic)
    assert (np.diff(curve.calibrated) > 0).all()
    assert fit(one, "isotonic", "").ece_after < fit(one, "isotonic", "").ece_before


@pytest.mark.parametrize(("frames", "tried"), [(2 * ENOUGH_FRAMES + 400, ["isotonic", "platt"]), (ENOUGH_FRAMES, ["platt"])])
def test_few_frames_get_platt(frames: int, tried: list[str]) -> None:
    """And it says of how many the rarer kind had; where isotonic does not help Platt may."""
    told = methods(answered(frames, Platt(1.0, 0.0)))
    assert list(told) == tried
    assert all("of the rarer kind" in why for why in told.values())


def test_saturated_scores_are_fitted() -> None:
    """Models are sure: scores that float32 can hardly tell from 1, of both kinds of frames."""
    random = np.random.default_rng(5)
    odds = np.where(random.uniform(size=3_200) < 0.5, 12.0, -12.0) + random.normal(0, 5, 3_200)
    p_yes = (1 / (1 + np.exp(-odds))).astype(np.float32).astype(float)
    one = Answered("barking", p_yes, random.uniform(size=3_200) < 0.1 + 0.8 * p_yes, tuple("abcd" * 800), 0)
    for method in ("isotonic", "platt"):
        assert fit(one, method, "").helps


def test_scores_that_are_right_already_are_not_helped_by_much() -> None:
    """What is tried on other recordings than it was fitted to does not flatter itself: the error after is no artefact of it."""
    fitted = fit(answered(3_000, Platt(1.0, 0.0)), "platt", "")
    assert abs(fitted.ece_after - fitted.ece_before) < 0.01


def test_separated_scores_get_a_finite_slope() -> None:
    """Platt's smoothed targets: without them the slope has no end where no frame is on the wrong side."""
    p_yes = np.array([0.001, 0.999] * 50)
    one = Answered("barking", p_yes, p_yes > 0.5, tuple("ab" * 25 + "ba" * 25), 0)
    calibration = fit(one, "platt", "").calibration
    assert isinstance(calibration, Platt)
    odds = np.log(51 / 1)  # (n + 1) / (n + 2) against 1 / (n + 2), at log-odds of 6.9068
    assert calibration.slope == pytest.approx(odds / 6.9068, rel=1e-3)


@pytest.mark.parametrize(
    ("is_true", "cameras", "said"),
    [
        ([False] * 4, "aabb", "none of its 4 frames are true"),
        ([True] * 4, "aabb", "all of its 4 frames are true"),
        ([True, False, True, True], "aaaa", "one recording"),
        ([False, False, True, True], "aabb", "in too few recordings: without"),
        ([True, False, True, False], "aabb", "do not rise with the truth"),
    ],
)
def test_too_little_is_said(is_true: Sequence[bool], cameras: str, said: str) -> None:
    """Nothing is fitted to frames that cannot show it."""
    with pytest.raises(TooLittle, match=said):
        fit(Answered("barking", np.array([0.9, 0.1, 0.8, 0.2])[::-1], np.array(is_true), tuple(cameras), 0), "platt", "")


# ---------------------------------------------------------------- thresholds


def watched(scores: Sequence[float], truth: Sequence[Episode] = (), step_s: float = 1.0) -> Watched:
    """One camera, a frame every `step_s`."""
    return Watched({"den": [observed(at * step_s, p) for at, p in enumerate(scores)]}, {"den": truth}, T0_S, 300.0)


def rehearsal(seen: Watched, calibration: Calibration | None = None, given: Given | None = None) -> Rehearsal:
    """Barking, by the worker's own code."""
    return Rehearsal(seen, "barking", calibration, given or Given(RULES, CAMERAS))


@pytest.mark.parametrize(
    "calibration",
    [Platt(0.3, -2.0), Platt(3.0, 1.0), Platt(3.5, -15.75), Isotonic((0.0, 0.5, 1.0), (0.1, 0.2, 0.9))],
)
def test_events_stay_the_same_where_thresholds_are_carried_over(calibration: Calibration) -> None:
    """The transform moves scores and thresholds together, to the last bit, into the corners of the scale, too."""
    seen = watched(np.random.default_rng(4).uniform(size=1_000).astype(np.float32).tolist())
    before = rehearsal(seen).sightings(RULE)
    moved = carried(RULE, calibration)
    assert moved.start_above != RULE.start_above
    assert rehearsal(seen, calibration).sightings(moved) == before
    assert len(before) > 20


def test_a_transform_that_would_change_events_is_not_taken() -> None:
    """No score falls to stop_below, and so nothing ends; on a curve that is level down there all the lowest would be at it."""
    random = np.random.default_rng(6)
    truth = {name: [Episode("barking", 375.0, 560.0)] for name in "abcd"}
    cameras = {}
    for name in truth:
        scores = np.where(
            (np.arange(750) >= 375) & (np.arange(750) < 560), random.uniform(0.7, 0.9, 750), random.uniform(0.4, 0.5, 750)
        )
        cameras[name] = [replace(observed(at, float(np.float32(p))), camera_id=name) for at, p in enumerate(scores)]
    wanted = Wanted(Given(RULES, CAMERAS), 0.5, "isotonic", None)
    (kept,) = calibrate_each(Watched(cameras, truth, T0_S, 300.0), wanted, lambda *_: None)
    assert kept.fitted is None
    assert "other events would follow" in kept.kept_because
    assert (kept.tried.start_above, kept.tried.stop_below) == (0.65, 0.35)


def test_thresholds_that_become_one_are_refused() -> None:
    """Such a rule would flutter."""
    with pytest.raises(TooLittle, match="both become"):
        carried(RULE, Isotonic((0.1, 0.9), (0.5, 0.5)))


def test_a_rate_by_hand() -> None:
    """One false alert in 1.5 hours: 16 a day; Poisson bounds it from above, a bootstrap without that hour from below."""
    scores = [0.1] * 5401
    scores[100:110] = [0.9] * 10
    scores[4000:4010] = [0.8] * 10
    tried = rehearsal(watched(scores, [Episode("barking", 99, 111)])).play(RULE)
    assert (tried.episodes, tried.found, tried.false) == (1, 1, 1)
    assert tried.per_day == pytest.approx(16.0)
    assert tried.interval == pytest.approx((0.0, 16 * 4.7439), rel=1e-3)


def test_an_alert_that_lasts_for_ever_finds_nothing_by_it() -> None:
    """At a threshold under the noise there is one alert, which overlaps whatever comes: only where it begins counts."""
    scores = [0.3] * 1000
    tried = rehearsal(watched(scores, [Episode("barking", 500, 600), Episode("barking", 700, 800)])).play(
        replace(RULE, start_above=0.25, stop_below=0.1)
    )
    assert (tried.found, tried.false) == (0, 1)


def test_a_threshold_is_chosen_that_holds_the_rate() -> None:
    """Above what is false, below what is true, and the nearest such to the rule's; stop_below stays where it can."""
    day = [0.05] * 721
    day[100:110] = [0.8] * 10  # false
    day[200:210] = [0.95] * 10  # true
    seen = watched(day, [Episode("barking", 23_999, 25_200)], step_s=120.0)
    given = Given(replace(RULES, max_gap_s=200.0, lost_after_s=300.0), CAMERAS)
    told: list[float] = []
    plain = rehearsal(seen, given=given)
    chosen = plain.choose(RULE, 3.0, told.append)
    assert 0.8 < chosen.start_above <= 0.95
    assert (chosen.found, chosen.false, chosen.stop_below) == (1, 0, 0.35)
    assert told == sorted(set(told), reverse=True)
    assert told[0] > 0.99
    assert 0.65 < told[-1] <= 0.8  # down to the first that lets the false one in
    assert plain.choose(RULE, 5.0, told.append).start_above == 0.65  # one false alert is fine
    down = Platt(1.0, -3.0)  # 0.95 becomes 0.49
    assert rehearsal(seen, down, given).choose(carried(RULE, down), 3.0, told.append).start_above < 0.49
    with pytest.raises(NoThreshold, match=r"even 0\.9975 gives 0 in 1 camera-days, which may be 3 a day"):
        plain.choose(RULE, 2.9, told.append)


def test_a_cameras_own_thresholds_stay() -> None:
    """The den takes 0.99 only, whatever is tried for all; what contradicts them is passed over, or said where nothing is left."""
    own = CameraRegistry.parse({"camera": [{"id": "den", "thresholds": {"barking": {"start_above": 0.99}}}]})
    seen = watched([0.1] * 10 + [0.9] * 10 + [0.1] * 10)
    assert len(rehearsal(seen).sightings(RULE)) == 1
    assert rehearsal(seen, given=Given(RULES, own)).sightings(RULE) == []
    low = CameraRegistry.parse({"camera": [{"id": "den", "thresholds": {"barking": {"stop_below": 0.64}}}]})
    chosen = rehearsal(seen, given=Given(RULES, low)).choose(RULE, 1e6, lambda _: None)
    assert chosen.start_above >= 0.65
    never = CameraRegistry.parse({"camera": [{"id": "den", "thresholds": {"barking": {"stop_below": 1.0}}}]})
    with pytest.raises(CommandError, match=r"no thresholds for 5e\+06 .*barking: every threshold contradicts a camera's own"):
        calibrate_each(seen, Wanted(Given(RULES, never), 0.5, None, 5e6), lambda *_: None)


def test_gaps_are_not_watched() -> None:
    """A day without a frame shows nothing of its false alerts."""
    frames = [observed(at_s, 0.1) for at_s in (0.0, 1.0, 90_000.0, 90_001.0)]
    assert Watched({"den": frames}, {"den": ()}, T0_S, 30.0).camera_days == pytest.approx(32 / DAY_S)


def test_bounds_of_a_rate_by_the_tables() -> None:
    """Garwood's: none, 1 and 5 events; the rule of three is the first of them."""
    assert [poisson_high(count) for count in (0, 1, 5)] == pytest.approx([2.9957, 4.7439, 10.5130], rel=1e-4)
    assert least_days(0.5) == pytest.approx(poisson_high(0) / 0.5)
    assert interval(np.zeros(24, int), np.full(24, 1 / 24)) == pytest.approx((0.0, 2.9957), rel=1e-4)


def test_clusters_widen_the_interval() -> None:
    """Fifty false alerts in one hour of a hundred: who had not drawn that hour would have seen none."""
    clustered, spread = np.zeros(100, int), np.zeros(100, int)
    clustered[0], spread[::2] = 50, 1
    hours = np.full(100, 3600 / DAY_S)
    low, high = interval(clustered, hours)
    assert (low, interval(spread, hours)[0] > 7) == (0.0, True)
    assert high > 1.5 * interval(spread, hours)[1]
