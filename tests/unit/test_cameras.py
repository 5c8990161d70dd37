"""What cameras.toml may say, and what each camera gets."""

import tomllib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.cameras import CameraRegistry
from stream.clock import ClockRules
from tests.unit.camera_script import RULES

DOCUMENT = """
[[camera]]
id = "kitchen"
partition = 3
sample_fps = 1
[camera.thresholds.barking]
start_above = 0.8

[[camera]]
id = "den"
enabled = false
"""
REGISTRY = CameraRegistry.parse(tomllib.loads(DOCUMENT))


def test_a_camera_gets_what_its_entry_says() -> None:
    """Sampling, thresholds and partition of the entry; everything else as the worker has it."""
    assert REGISTRY.clock_for("kitchen", ClockRules()) == ClockRules(sample_fps=1.0)
    chewing = replace(RULES.by_behavior["barking"], behavior="chewing")
    rules = REGISTRY.rules_for("kitchen", replace(RULES, by_behavior={"chewing": chewing, **RULES.by_behavior}))
    own = rules.by_behavior["barking"]
    assert (own.start_above, own.stop_below, own.severity) == (0.8, 0.35, "warning")
    assert list(rules.by_behavior.items()) == [("chewing", chewing), ("barking", own)]
    assert (REGISTRY.enabled("kitchen"), REGISTRY.enabled("den")) == (True, False)
    REGISTRY.check(ClockRules(), RULES)


@pytest.mark.parametrize("camera", ["den", "attic"])
def test_a_camera_without_settings_has_the_defaults(camera: str) -> None:
    """An entry may be short, and a camera needs none."""
    clock = ClockRules()
    assert REGISTRY.clock_for(camera, clock) is clock
    assert REGISTRY.rules_for(camera, RULES) is RULES
    assert CameraRegistry.parse({}).enabled(camera)


def test_partition_is_the_entrys_else_the_index() -> None:
    """Without an entry's partition: the index in the sorted list, modulo the number of partitions."""
    registry = REGISTRY.including(["den", "attic", "porch"])
    assert [registry.partition_of(camera, 4) for camera in ("attic", "den", "kitchen", "porch")] == [0, 1, 3, 3]
    assert registry.partition_of("porch", 3 + 1) == 3
    assert registry.including(["porch"]) == registry


@given(st.sets(st.text(min_size=1, max_size=5), min_size=1, max_size=40), st.integers(1, 12))
def test_partitions_are_loaded_evenly(cameras: set[str], num_partitions: int) -> None:
    """No partition gets two cameras more than another (hashing would)."""
    registry = CameraRegistry().including(cameras)
    taken = [registry.partition_of(camera, num_partitions) for camera in cameras]
    loads = [taken.count(partition) for partition in range(num_partitions)]
    assert sum(loads) == len(cameras)
    assert max(loads) - min(loads) <= 1


def test_partition_that_is_not_there_is_refused() -> None:
    """A publisher never sends to a partition by accident."""
    with pytest.raises(ValueError, match="'kitchen' asks for partition 3, the topic has 0 to 2"):
        REGISTRY.partition_of("kitchen", 3)
    with pytest.raises(ValueError, match="'attic' is not in the registry"):
        REGISTRY.partition_of("attic", 3)


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ('[[camera]]\nid = "a"\nsample_fsp = 1.0', r"camera\[0\].sample_fsp is an unknown key"),
        ("[[cameras]]", "cameras is an unknown key"),
        ("[[camera]]\npartition = 1", r"camera\[0\].id .*Field required"),
        ('[[camera]]\nid = ""', r"camera\[0\].id is ''"),
        ('[[camera]]\nid = "a"\npartition = -1', r"camera\[0\].partition is -1"),
        ('[[camera]]\nid = "a"\nsample_fps = 0', r"camera\[0\].sample_fps is 0"),
        ('[[camera]]\nid = "a"\nenabled = "no"', r"camera\[0\].enabled is 'no'"),
        (
            '[[camera]]\nid = "a"\n[camera.thresholds.x]\ncooldown_s = 1.0',
            r"camera\[0\].thresholds.x.cooldown_s is an unknown key",
        ),
        ('[[camera]]\nid = "a"\n[[camera]]\nid = "a"', "camera 'a' stands there twice"),
    ],
)
def test_wrong_file_is_refused_at_the_place(document: str, complaint: str) -> None:
    """A typo, a wrong type or a repeated camera is named; nothing is ignored."""
    with pytest.raises(ValueError, match=complaint):
        CameraRegistry.parse(tomllib.loads(document))


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ("sample_fps = 0.1", "camera 'a': .*never make a run"),
        ("[camera.thresholds.meowing]\nstart_above = 0.8", "camera 'a': thresholds of 'meowing', which is not asked"),
        ("[camera.thresholds.barking]\nstop_below = 0.7", "camera 'a': behavior 'barking': .*stop_below < start_above"),
    ],
)
def test_settings_that_cannot_work_are_refused_at_the_start(settings: str, complaint: str) -> None:
    """What would fail at a camera's first frame fails before the worker joins its group."""
    registry = CameraRegistry.parse(tomllib.loads(f'[[camera]]\nid = "a"\n{settings}'))
    with pytest.raises(ValueError, match=complaint):
        registry.check(ClockRules(), RULES)
