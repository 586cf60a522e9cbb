"""Plugins: what a registry offers, and the contradictions it refuses."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io.fits import Header

import isrcore_simulated
import isrcore_standard
from isrcore import (
    Camera,
    Detector,
    Exposure,
    IsrTask,
    MaskedImage,
    PixelStep,
    PluginInfo,
    Registry,
    RegistryError,
    Step,
    StepSpec,
    default_config,
    hookimpl,
    isr_config,
    stepspecs,
    write_exposure,
)

GLOW = StepSpec(name="lampGlow", flag="doLampGlow", doc="Remove the lamp's glow.", provides={"glow-removed"})


class Bringing:
    """A plugin that brings steps and cameras."""

    def __init__(self, *steps: type[Step], cameras: tuple[str, ...] = ()) -> None:
        self.steps = list(steps)
        self.cameras = [Camera(name, (Detector.of_shape((1, 1)),)) for name in cameras]

    @hookimpl
    def isr_steps(self) -> list[type[Step]]:
        return self.steps

    @hookimpl
    def isr_cameras(self) -> list[Camera]:
        return self.cameras


class Glow(PixelStep):
    spec = GLOW


class OtherGlow(PixelStep):
    spec = GLOW


class CameraGlow(PixelStep):
    spec, camera = GLOW, "mycam"


def test_what_plugins_offer_comes_in_order_of_names() -> None:
    registry = Registry(
        {"z": Bringing(Glow, cameras=("b",)), "a": Bringing(cameras=("c", "a"))}, versions={"z": "1.2"}
    )
    assert list(registry.cameras) == ["a", "b", "c"]
    assert registry.steps == (("z", Glow),)
    assert registry.specs == {"lampGlow": GLOW}
    assert registry.plugin_of(Glow) == PluginInfo("z", "1.2", ("isr_cameras", "isr_steps"))


def test_a_camera_s_own_step_comes_first_and_a_choice_is_never_guessed() -> None:
    registry = Registry({"a": Bringing(Glow, CameraGlow)})
    assert registry.implementation("lampGlow") is Glow
    assert registry.implementation("lampGlow", "mycam") is CameraGlow
    assert registry.implementation("lampGlow", "other") is Glow
    both = Registry({"a": Bringing(Glow), "b": Bringing(OtherGlow)})
    with pytest.raises(RegistryError, match=r"Glow and .*OtherGlow; choose one: config.lampGlow.retarget"):
        both.implementation("lampGlow")
    with pytest.raises(RegistryError, match="step 'dust' is implemented by nobody; install one"):
        both.implementation("dust")


def test_tables_are_read_by_the_steps_that_use_them() -> None:
    class Reading(PixelStep):
        spec, readers = GLOW, {"lamps": lambda path, detector: (path, detector)}

    registry = Registry({"a": Bringing(Reading)})
    assert registry.readers["lamps"](Path("x"), "ccd0") == (Path("x"), "ccd0")

    class Other(Reading):
        readers = {"lamps": lambda path, detector: None}  # noqa: RUF012

    with pytest.raises(RegistryError, match="files with 'lamps' are read differently by plugins 'a' and 'b'"):
        Registry({"a": Bringing(Reading), "b": Bringing(Other)})


def spec_with(**changes: Any) -> type[Step]:
    class Made(PixelStep):
        spec = StepSpec(**{"name": "lampGlow", "doc": "Other.", **changes})

    return Made


def test_contradictions_are_reported_together() -> None:
    plugins = {
        "a": Bringing(Glow, cameras=("mycam",)),
        "b": Bringing(
            spec_with(), spec_with(name="run"), spec_with(name="d", after={"dusted"}), cameras=("mycam",)
        ),
    }
    with pytest.raises(RegistryError) as caught:
        Registry(plugins)
    for fault in (
        "camera 'mycam' comes from plugins 'a' and 'b'",
        "step 'lampGlow' has different contracts in plugins",
        "step 'run' of plugin 'b' has the name of a Task method; use a noun",
        "step 'd' waits for fact 'dusted', which no known step provides",
    ):
        assert fault in str(caught.value)


def test_a_hook_nobody_knows_is_refused() -> None:
    class Mistaken:
        @hookimpl
        def isr_stpes(self) -> list[type[Step]]:
            return []

    with pytest.raises(Exception, match="isr_stpes"):
        Registry({"a": Mistaken()})


def test_a_plugin_that_fails_to_import_takes_no_other_down() -> None:
    points = [
        EntryPoint("standard", "isrcore_standard", "isrcore"),
        EntryPoint("broken", "isrcore_nowhere_to_be_found", "isrcore"),
    ]
    registry = Registry.discover(points)
    failed = next(plugin for plugin in registry.plugins if not plugin.is_loaded)
    assert [plugin.name for plugin in registry.plugins] == ["broken", "standard"]
    assert failed.failure.startswith("ModuleNotFoundError: No module named 'isrcore_nowhere")
    with pytest.raises(RegistryError, match="no plugin describes camera 'x'; known cameras: none\n  plugin"):
        registry.camera("x")


def test_a_step_gives_the_config_a_switch_and_a_section() -> None:
    registry = Registry({"standard": isrcore_standard, "mine": Bringing(Glow, CameraGlow)})
    config = isr_config(registry)()
    assert (config.doLampGlow, config.lampGlow.target) == (False, Glow)
    assert config.describe("doLampGlow").doc == "Remove the lamp's glow."
    assert isr_config(registry, "mycam")().lampGlow.target is CameraGlow
    assert type(IsrTask(registry=registry).lampGlow) is Glow


def test_a_step_named_as_a_documented_method_is_refused() -> None:
    registry = Registry({"mine": Bringing(spec_with(name="maskNan"))})
    with pytest.raises(RegistryError, match="step 'maskNan' has the name of a documented method"):
        isr_config(registry)


def test_overrides_remember_the_plugin() -> None:
    registry = Registry({"standard": isrcore_standard, "sim": isrcore_simulated})
    config = default_config(registry, "simulated")
    assert not config.doDefect
    assert (config.origin("doDefect").layer, config.origin("doDefect").who) == ("camera", "sim")
    assert default_config(registry).doDefect


def test_a_product_is_not_taken_for_a_raw_frame(tmp_path: Path) -> None:
    detector = isrcore_simulated.CAMERA["sim0"]
    pixels = MaskedImage.from_image(np.zeros(detector.shape, np.float32))
    header = Header({"INSTRUME": "ISRSIM"})
    product = Exposure(pixels, detector, header=header, facts=frozenset({"assembled", "flat-fielded"}))
    write_exposure(product, tmp_path / "product.fits")
    registry = Registry({"simulated": isrcore_simulated})
    with pytest.raises(RegistryError, match="is assembled, flat-fielded already; give the raw frame"):
        registry.read_raw(tmp_path / "product.fits")


def test_every_standard_contract_has_one_standard_implementation() -> None:
    registry = Registry({"standard": isrcore_standard})
    assert set(registry.specs) <= set(stepspecs.STANDARD)
    for name, spec in registry.specs.items():
        assert spec == stepspecs.STANDARD[name]
        assert len(registry.candidates(name)) == 1
    with pytest.raises(TypeError, match="'assembled' must be in a set"):
        StepSpec(name="a", doc="A.", requires="assembled")


def test_a_plugin_is_found_by_its_name() -> None:
    registry = Registry({"standard": isrcore_standard})
    assert registry.plugin("standard") is isrcore_standard
    with pytest.raises(KeyError, match="no plugin 'other' is loaded; there is standard"):
        registry.plugin("other")
