"""Masking that only a camera knows: a plugin binds it, other cameras have none."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

import isrcore_standard
from isrcore import (
    Calibrations,
    Camera,
    Config,
    Detector,
    Exposure,
    IsrTask,
    PlanError,
    Registry,
    Step,
    default_config,
    field,
    hookimpl,
    stepspecs,
)
from tests.assembled import assembled

DETECTOR = Detector.of_shape((3, 4))


class DeadRowConfig(Config):
    row: int = field(1, "The row whose transistor died.")


class DeadRow(Step):
    """What the plugin of one camera knows: which row is dead."""

    spec, ConfigClass, camera = stepspecs.MASKING, DeadRowConfig, "deadcam"

    def run(self, exposure: Exposure, calibrations: Calibrations) -> None:
        exposure.mask[self.config.row] |= exposure.planes.value("BAD")


PLUGIN = SimpleNamespace(
    isr_cameras=hookimpl(
        lambda: [Camera("deadcam", (DETECTOR,)), Camera("finecam", (DETECTOR,))], specname="isr_cameras"
    ),
    isr_steps=hookimpl(lambda: [DeadRow], specname="isr_steps"),
)
REGISTRY = Registry({"standard": isrcore_standard, "deadcam": PLUGIN})


def task_of(camera: str, **settings: object) -> IsrTask:
    config = default_config(REGISTRY, camera)
    for spec in REGISTRY.specs.values():
        if spec.flag:
            config.set(spec.flag, spec.flag == "doCameraSpecificMasking")
    config.expectWcs = False
    for name, value in settings.items():
        config.set(f"masking.{name}", value)
    return IsrTask(config, camera=camera, registry=REGISTRY)


def exposed(camera: str) -> Exposure:
    return assembled(DETECTOR, 1.0, camera=camera)


def test_the_camera_s_own_masking_runs_without_being_asked_for() -> None:
    product = task_of("deadcam", row=2).run(exposed("deadcam")).exposure
    assert product.pixels.flagged("BAD").tolist() == [[False] * 4, [False] * 4, [True] * 4]
    assert "camera-masked" in product.facts
    # Also in a task for no camera in particular.
    product = task_of("").run(exposed("deadcam")).exposure
    assert product.pixels.flagged("BAD").sum() == 4


@pytest.mark.parametrize(("camera", "name"), [("finecam", "'finecam'"), ("", "without name")])
def test_other_cameras_are_skipped_with_the_reason(camera: str, name: str) -> None:
    task = task_of(camera)
    skipped = {planned.spec.name: planned.reason for planned in task.plan(exposed(camera)).skipped}
    assert skipped["masking"] == f"camera {name} has no masking of its own"
    product = task.run(exposed(camera)).exposure
    assert not product.mask.any()
    assert "camera-masked" not in product.facts


def test_who_insists_is_told() -> None:
    with pytest.raises(
        PlanError, match=r"'masking': camera 'finecam' has no masking of its own: set masking.do"
    ):
        task_of("finecam", doSpecificMasking=True).run(exposed("finecam"))
