"""What `calibrate` fits and chooses: on scores whose true transform is known, and on rates computed by hand."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from pipeline.calibration import Isotonic, Platt
from stream.cameras import CameraRegistry
from stream.debounce import DebounceRule, DebounceRules
from tests.unit.test_evaluate import T0_S, observed
from tools.calibrate.fit import ENOUGH_FRAMES, TooLittle, applied, fit
from tools.calibrate.thresholds import (
    DAY_S,
    NoThreshold,
    Question,
    Watched,
    carried,
    choose,
    interval,
    least_days,
    poisson_high,
    sightings,
    try_thresholds,
)
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
    fitted = fit(answered(8_000, truth), "platt")
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
    errors = {name: calibration_error(applied(fit(one, name).calibration, one), one.is_true) for name in ("platt", "isotonic")}
    assert errors["isotonic"] < 0.02 < errors["platt"]
    curve = fit(one, "isotonic").calibration
    assert isinstance(curve, Isotonic)
    assert (np.diff(curve.calibrated) > 0).all()
    assert fit(one, "isotonic").ece_after < fit(one, "isotonic").ece_before


@pytest.mark.parametrize(("frames", "chosen"), [(2 * ENOUGH_FRAMES + 400, "isotonic"), (ENOUGH_FRAMES, "platt")])
def test_few_frames_get_platt(frames: int, chosen: str) -> None:
    """And it says of how many the rarer kind had."""
    fitted = fit(answered(frames, Platt(1.0, 0.0)))
    assert fitted.method == chosen
    assert "of the rarer kind" in fitted.why


def test_scores_that_are_right_already_are_not_helped_by_much() -> None:
    """What is tried on other recordings than it was fitted to does not flatter itself: the error after is no artefact of it."""
    fitted = fit(answered(3_000, Platt(1.0, 0.0)), "platt")
    assert abs(fitted.ece_after - fitted.ece_before) < 0.01


def test_separated_scores_get_a_finite_slope() -> None:
    """Platt's smoothed targets: without them the slope has no end where no frame is on the wrong side."""
    p_yes = np.array([0.001, 0.999] * 50)
    one = Answered("barking", p_yes, p_yes > 0.5, tuple("ab" * 25 + "ba" * 25), 0)
    calibration = fit(one, "platt").calibration
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
        fit(Answered("barking", np.array([0.9, 0.1, 0.8, 0.2])[::-1], np.array(is_true), tuple(cameras), 0), "platt")


# ---------------------------------------------------------------- thresholds


def watched(scores: Sequence[float], truth: Sequence[Episode] = (), step_s: float = 1.0) -> Watched:
    """One camera, a frame every `step_s`."""
    return Watched({"den": [observed(at * step_s, p) for at, p in enumerate(scores)]}, {"den": truth}, T0_S)


def test_events_stay_the_same_where_thresholds_are_carried_over() -> None:
    """The transform moves scores and thresholds together."""
    random = np.random.default_rng(4)
    seen = watched(np.float32(random.uniform(size=500)).tolist())
    before = sightings(seen, RULE, RULES, CAMERAS, None)
    for calibration in (Platt(0.3, -2.0), Platt(3.0, 1.0), Isotonic((0.0, 0.5, 1.0), (0.1, 0.2, 0.9))):
        moved = carried(RULE, calibration)
        assert moved.start_above != RULE.start_above
        assert sightings(seen, moved, RULES, CAMERAS, calibration) == before
    assert len(before) > 10


def test_thresholds_that_become_one_are_refused() -> None:
    """Such a rule would flutter."""
    with pytest.raises(TooLittle, match="both become"):
        carried(RULE, Isotonic((0.1, 0.9), (0.5, 0.5)))


def test_a_rate_by_hand() -> None:
    """One false alert in 1.5 hours: 16 a day; Poisson bounds it from above, a bootstrap without that hour from below."""
    scores = [0.1] * 5401
    scores[100:110] = [0.9] * 10
    scores[4000:4010] = [0.8] * 10
    tried = try_thresholds(watched(scores, [Episode("barking", 99, 111)]), Question(RULE, None), RULES, CAMERAS, 0.65)
    assert (tried.episodes, tried.found, tried.false) == (1, 1, 1)
    assert tried.per_day == pytest.approx(16.0)
    assert tried.interval == pytest.approx((0.0, 16 * 4.7439), rel=1e-3)


def test_a_threshold_is_chosen_that_holds_the_rate() -> None:
    """Above what is false, below what is true, and the nearest such to the rule's; stop_below stays where it can."""
    day = [0.05] * 721
    day[100:110] = [0.8] * 10  # false
    day[200:210] = [0.95] * 10  # true
    seen = watched(day, [Episode("barking", 23_999, 25_200)], step_s=120.0)
    rules = replace(RULES, max_gap_s=200.0, lost_after_s=300.0)
    told: list[float] = []
    chosen = choose(seen, Question(RULE, None), rules, CAMERAS, 3.0, told.append)
    assert 0.8 < chosen.start_above <= 0.95
    assert (chosen.found, chosen.false, chosen.stop_below) == (1, 0, 0.35)
    assert told == sorted(set(told), reverse=True)
    assert told[0] > 0.99
    assert 0.65 < told[-1] <= 0.8  # down to the first that lets the false one in
    assert choose(seen, Question(RULE, None), rules, CAMERAS, 5.0, told.append).start_above == 0.65  # one false alert is fine
    assert choose(seen, Question(RULE, Platt(1.0, -3.0)), rules, CAMERAS, 3.0, told.append).start_above < 0.65  # of 0.95: 0.49
    with pytest.raises(NoThreshold, match=r"even 0\.9975 gives 0 in 1 camera-days, which may be 3 a day"):
        choose(seen, Question(RULE, None), rules, CAMERAS, 2.9, told.append)


def test_a_cameras_own_thresholds_stay() -> None:
    """The den takes 0.99 only, whatever is tried for all."""
    own = CameraRegistry.parse({"camera": [{"id": "den", "thresholds": {"barking": {"start_above": 0.99}}}]})
    seen = watched([0.1] * 10 + [0.9] * 10 + [0.1] * 10)
    assert len(sightings(seen, RULE, RULES, CAMERAS, None)) == 1
    assert sightings(seen, RULE, RULES, own, None) == []


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
