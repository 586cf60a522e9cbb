"""Every effect of the independent models in one frame, every correction on: the truth within its variance.

Two CCDs: one with MegaCam's two amplifiers and one with sixteen, whose crosstalk is that of a real camera.
What a correction is for must come back when it alone is switched off, at least ten times as strong. MegaCam
has only some of its rows, but on request: traps are followed one by one.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import attrs
import numpy as np
import pytest

import isrcore_standard
from isrcore import (
    Amplifier,
    Box,
    BrighterFatterKernel,
    Crosstalk,
    DeferredCharge,
    Detector,
    Exposure,
    IsrTask,
    LinearityCurve,
    Linearizer,
    MaskedImage,
    Registry,
    SerialTransfer,
    VisitInfo,
    default_config,
)
from tests.assembled import assembled
from tests.effects.amp_offset import offset_amplifiers
from tests.effects.brighter_fatter import push_charge
from tests.effects.crosstalk import add_crosstalk
from tests.effects.deferred_charge import defer_charge
from tests.effects.fringe import LINES, interference, layer
from tests.effects.illumination import put_in_illumination, scattered_light
from tests.effects.linearity import respond
from tests.effects.stray_light import halo, put_in_stray_light
from tests.forward_model import MEGACAM, read_out
from tests.golden import DATA

REGISTRY = Registry({"standard": isrcore_standard})
TIME_S = 300.0
SKY_E, STAR_E, STAR_PX = 1200.0, 45_000.0, 3.0
FRINGE_E = 60.0

#: Potential of a unit charge, per electron: some per cent of a bright star's peak are pushed away.
_R2 = np.add.outer(np.arange(-2, 3) ** 2, np.arange(-2, 3) ** 2)
KERNEL = -6e-7 * np.exp(-_R2 / 2.0)

#: The switch of the correction that an effect needs.
FLAGS = {
    "bias": "doBias",
    "brighterFatter": "doBrighterFatter",
    "crosstalk": "doCrosstalk",
    "dark": "doDark",
    "deferredCharge": "doDeferredCharge",
    "flat": "doFlat",
    "fringe": "doFringe",
    "illumination": "doIlluminationCorrection",
    "linearity": "doLinearize",
    "overscan": "doOverscan",
    "strayLight": "doStrayLight",
    "ampOffset": "doAmpOffset",
}


@attrs.frozen(eq=False)
class Scene:
    """A CCD, what is true of it, and the frame that the independent models make of it.

    ``layout`` is as for `tests.forward_model`, its amplifiers with all that the effects ask for.
    """

    layout: dict[str, Any]
    linear: np.ndarray
    seed: int

    @property
    def amplifiers(self) -> list[dict[str, Any]]:
        return list(self.layout["amplifiers"].values())

    @property
    def shape(self) -> tuple[int, int]:
        return self.layout["shape"]

    @cached_property
    def gain(self) -> np.ndarray:
        """Electron per adu of every pixel."""
        plane = np.ones(self.shape)
        for amp in self.amplifiers:
            y0, y1, x0, x1 = amp["box"]
            plane[y0:y1, x0:x1] = amp["gain"]
        return plane

    @cached_property
    def truth(self) -> np.ndarray:
        """Sky and stars as a product should show them, adu."""
        rng = np.random.default_rng(self.seed)
        ny, nx = self.shape
        light = np.full(self.shape, SKY_E) * np.linspace(0.97, 1.03, ny)[:, None]
        y, x = np.arange(-12, 13)[:, None], np.arange(-12, 13)
        for _ in range(ny * nx // 3000):
            cy, cx = rng.integers(16, ny - 16), rng.integers(16, nx - 16)
            star = STAR_E * rng.uniform(0.3, 1.0) * np.exp(-(y**2 + x**2) / (2 * STAR_PX**2))
            part = light[cy - 12 : cy + 13, cx - 12 : cx + 13]
            np.maximum(part, SKY_E + star, out=part)
        return light / self.usual_gain

    @property
    def usual_gain(self) -> float:
        """Electron per adu of a product: flats are in adu, so they make amplifiers agree."""
        return float(np.mean([amp["gain"] for amp in self.amplifiers]))

    @cached_property
    def frames(self) -> dict[str, np.ndarray]:
        """True calibrations: adu, but for those to divide by."""
        rng, (ny, nx) = np.random.default_rng(self.seed + 1), self.shape
        wave = 1 + 0.04 * np.cos(np.arange(ny) / 60)[:, None] * np.sin(np.arange(nx) / 90)
        fringe = interference(layer(self.shape, wedge_um=(ny / 150, nx / 150)), LINES[0])
        return {
            "bias": 6 * np.sin(np.arange(nx) / 37) * np.ones(self.shape),
            "dark": (0.05 + 0.2 * rng.random(self.shape)) * TIME_S / self.gain,
            "flat": wave * (1 + 0.01 * rng.standard_normal(self.shape)) * self.usual_gain / self.gain,
            "fringe": fringe,
            "scattered": scattered_light(self.shape),
            "stray": halo(self.shape, rate=0.15),
        }

    def light(self) -> np.ndarray:
        """What falls in on average, adu: the truth with all that light itself does."""
        f = self.frames
        seen = put_in_illumination(self.truth, self.amplifiers, f["scattered"])
        seen = (seen + FRINGE_E / self.usual_gain * f["fringe"]) * f["flat"]
        return put_in_stray_light(seen, self.amplifiers, f["stray"], TIME_S) + f["dark"]

    def stages(self, light: np.ndarray) -> dict[str, np.ndarray]:
        """The frame after each effect on charge and in the electronics, adu, in the order it suffers them."""
        pushed = push_charge(light * self.gain, self.amplifiers, KERNEL, slices=12)
        lagging = defer_charge(pushed, self.amplifiers)
        read = respond(lagging / self.gain, self.amplifiers)
        leaked = add_crosstalk(read, self.amplifiers, self.linear)
        shifted = offset_amplifiers(leaked, self.amplifiers)
        adu = {"light": light, "brighterFatter": pushed / self.gain, "deferredCharge": lagging / self.gain}
        return {**adu, "linearity": read, "crosstalk": leaked, "ampOffset": shifted}

    @cached_property
    def raw(self) -> np.ndarray:
        """The raw frame with all noise."""
        rng = np.random.default_rng(self.seed + 2)
        charge = rng.poisson(self.light() * self.gain) / self.gain
        adu = self.stages(charge)["ampOffset"]
        counts, _ = read_out(
            self.layout,
            (adu * self.gain).astype(np.float32),
            rng,
            bias=self.frames["bias"],
            drift=12.0,
            row_noise=0.4,
        )
        return counts

    @cached_property
    def signatures(self) -> dict[str, np.ndarray]:
        """What each effect does to a product that nothing else touches, adu."""
        f, mean = self.frames, self.light()
        stages = self.stages(mean)
        before = dict(zip(list(stages)[1:], list(stages)[:-1], strict=True))
        found = {name: (stages[name] - stages[one]) / f["flat"] for name, one in before.items()}
        height = self.shape[0]
        level = np.mean([amp["level"] for amp in self.amplifiers])
        found["overscan"] = (level + 12 * np.cos(np.pi * np.arange(height) / height)[:, None]) / f["flat"]
        found |= {name: f[name] / f["flat"] for name in ("bias", "dark")}
        found["strayLight"] = f["stray"] * TIME_S / f["flat"]
        found["flat"] = self.truth * (f["flat"] - 1)
        found["fringe"] = FRINGE_E / self.usual_gain * f["fringe"]
        found["illumination"] = self.truth * (1 / (1 + f["scattered"]) - 1)
        # What an amplifier gets alike in all pixels is the offset's business.
        found["crosstalk"] = self._without_means(found["crosstalk"])
        return found

    def _without_means(self, image: np.ndarray) -> np.ndarray:
        result = image.copy()
        for amp in self.amplifiers:
            y0, y1, x0, x1 = amp["box"]
            result[y0:y1, x0:x1] -= image[y0:y1, x0:x1].mean()
        return result

    @cached_property
    def detector(self) -> Detector:
        """The same CCD as isrcore describes it."""
        amplifiers = tuple(_amplifier(name, amp) for name, amp in self.layout["amplifiers"].items())
        return Detector("whole", 0, self.shape, self.layout["raw_shape"], amplifiers)

    @cached_property
    def inputs(self) -> dict[str, Any]:
        """Calibrations for a run, as true as they can be."""
        f, visit = self.frames, VisitInfo(exposure_s=TIME_S, dark_s=TIME_S, filter="z")
        amps = self.layout["amplifiers"]
        transfers = {name: SerialTransfer(amp["cti"], *_trap(amp)) for name, amp in amps.items()}
        curves = {
            name: LinearityCurve("Squared", [amp["capacitance_slope"]], Box(*amp["box"]))
            for name, amp in amps.items()
        }
        return {
            "bias": assembled(self.detector, f["bias"], visit=visit),
            "dark": assembled(self.detector, f["dark"], visit=visit),
            "flat": assembled(self.detector, f["flat"], visit=visit, unit=""),
            "fringes": assembled(self.detector, f["fringe"], visit=visit),
            "illumMaskedImage": assembled(self.detector, 1 / (1 + f["scattered"]), visit=visit, unit=""),
            "strayLightData": assembled(self.detector, f["stray"], visit=visit),
            "bfKernel": BrighterFatterKernel(KERNEL),
            "crosstalk": Crosstalk.of(self.linear, self.detector),
            "deferredCharge": DeferredCharge(transfers),
            "linearizer": Linearizer(curves),
        }

    def product(self, off: str = "") -> Exposure:
        """The corrected frame, with one correction left out."""
        config = default_config(REGISTRY)
        for flag in FLAGS.values():
            config.set(flag, flag != FLAGS.get(off))
        config.expectWcs = config.doDefect = config.doInterpolate = False
        config.variance.maskNegative = False
        config.overscan.fitType = "POLY"
        config.overscan.order = 5
        for section in (config.fringe, config.illumination, config.strayLight):
            section.filters = ["z"]
        config.brighterFatter.threshold = 10.0
        # Half-width of the boxes that see the fringes, which are some twenty pixels wide here.
        config.fringe.small, config.fringe.large = 1, 15
        config.ampOffset.windowLength = 128
        visit = VisitInfo(1, TIME_S, TIME_S, filter="z")
        raw = Exposure(MaskedImage.from_raw(self.raw), self.detector, visit=visit)
        found: Exposure = IsrTask(config, registry=REGISTRY).run(raw, **self.inputs).exposure
        return found

    def strength(self, effect: str, product: Exposure) -> float:
        """How much of an effect is in a product: 1 for all of it, 0 for none."""
        signature, good = self.signatures[effect], product.mask == 0
        residual = (product.image - self.truth)[good]
        return float(np.vdot(residual, signature[good]) / np.vdot(signature[good], signature[good]))


def _amplifier(name: str, amp: dict[str, Any]) -> Amplifier:
    box, raw, data = (Box(*amp[key]) for key in ("box", "raw", "data"))
    right = attrs.evolve(raw, x0=data.x1, y1=data.y1)
    serial = right if right.area else attrs.evolve(raw, x1=data.x0, y1=data.y1)
    return Amplifier(
        name, box, raw, data, serial, gain=amp["gain"], read_noise=amp["read_noise"],
        flip_y=bool(amp.get("flip_y")), readout_corner=amp["corner"],
    )  # fmt: skip


def _trap(amp: dict[str, Any]) -> tuple[float, ...]:
    trap = amp["trap"]
    return trap["size"], trap["emission"], trap["well"], trap["power"]


def _with_effects(amps: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Amplifiers with all that the effects ask for, each a little different."""
    for number, amp in enumerate(amps.values()):
        shade = 1 + 0.1 * np.sin(number)
        amp |= {
            "offset": 9.0 * (-1) ** number,
            "capacitance_slope": 8e-7 * shade,
            "output": amp["corner"][1],
            "cti": 2e-5 * shade * 1000 / (amp["box"][3] - amp["box"][2]),
            "trap": {"size": 0.02 * shade, "emission": 2.0, "well": 30_000.0, "power": 0.7},
        }
    return amps


def megacam(rows: int) -> Scene:
    """MegaCam's two amplifiers, with as many rows of data."""
    amps = {}
    for name, amp in MEGACAM["amplifiers"].items():
        boxes = {
            "raw": (0, rows + 32, *amp["raw"][2:]),
            "data": (0, rows, *amp["data"][2:]),
            "box": (0, rows, *amp["box"][2:]),
        }
        amps[name] = {**amp, **boxes, "corner": "LL" if name == "A" else "LR"}
    layout = {"shape": (rows, 2048), "raw_shape": (rows + 32, 2112), "amplifiers": _with_effects(amps)}
    return Scene(layout, np.array([[0, 8e-4], [6e-4, 0]]), seed=3)


def sixteen(rows: int = 224, columns: int = 128) -> Scene:
    """Two rows of eight amplifiers, the upper ones read from above, with coefficients of a real camera."""
    amps, overscan = {}, 24
    for number in range(16):
        row, column = divmod(number, 8)
        y, x = row * rows, column * columns
        raw_x = column * (columns + overscan)
        amps[f"C{number:02d}"] = {
            "box": (y, y + rows, x, x + columns),
            "raw": (y, y + rows, raw_x, raw_x + columns + overscan),
            "data": (y, y + rows, raw_x, raw_x + columns),
            "gain": 1.4 + 0.05 * number,
            "read_noise": 4.0 + 0.2 * number,
            "level": 1000.0 + 20 * number,
            "corner": "UL" if row else "LL",
        }
    linear = np.zeros((16, 16))
    for line in (DATA / "data" / "meerlicht_crosstalk_20180620.txt").read_text().splitlines():
        affected, source, coefficient = line.split()
        linear[int(affected) - 1, int(source) - 1] = float(coefficient)
    raw_shape = (2 * rows, 8 * (columns + overscan))
    layout = {"shape": (2 * rows, 8 * columns), "raw_shape": raw_shape, "amplifiers": _with_effects(amps)}
    return Scene(layout, linear, seed=5)


needs_data = pytest.mark.skipif(
    not (DATA / "data").exists(), reason=f"no data at {DATA}; set ISRCORE_TEST_DATA to the folder with them"
)


SCENES = {"megacam": lambda: megacam(192), "sixteen": sixteen, "all rows": lambda: megacam(4612)}
MARKS = {"sixteen": needs_data, "all rows": pytest.mark.slow}


@pytest.fixture(scope="module", params=[pytest.param(name, marks=MARKS.get(name, ())) for name in SCENES])
def scene(request: pytest.FixtureRequest) -> Scene:
    return SCENES[request.param]()


@pytest.fixture(scope="module")
def product(scene: Scene) -> Exposure:
    return scene.product()


def test_the_variance_plane_is_the_scatter(scene: Scene, product: Exposure) -> None:
    good = product.mask == 0
    assert good.mean() > 0.9
    pulls = ((product.image - scene.truth) / np.sqrt(product.variance))[good]
    assert np.std(pulls, dtype=np.float64) == pytest.approx(1.0, abs=0.03)
    assert abs(pulls.mean(dtype=np.float64)) < 0.03


@pytest.mark.parametrize("effect", FLAGS)
def test_without_its_correction_an_effect_is_ten_times_as_strong(
    scene: Scene, product: Exposure, effect: str
) -> None:
    there, gone = scene.strength(effect, scene.product(off=effect)), scene.strength(effect, product)
    assert abs(there) > 10 * abs(gone), (there, gone)
    assert there == pytest.approx(1.0, abs=0.35)
