"""Fringes agree with the original: positions, fluxes, amplitudes and the corrected image."""

from __future__ import annotations

import attrs
import numpy as np
import pytest

from isrcore import Exposure, Struct, VisitInfo
from isrcore_standard.box_levels import Sieve, box_medians
from isrcore_standard.fringe_fit import Positions, solve
from tests.golden import golden_cases, plane_bits
from tests.golden_exposures import assert_agrees, exposure, make_task


def fringe_task(entry):
    params = entry["params"]
    names = ("num", "small", "large", "clip", "iterations", "pedestal")
    settings = {f"fringe__{name}": params[name] for name in names}
    return make_task("doFringe", fringe__filters=["i"], **settings)


def frames_of(entry, inputs):
    return [exposure(entry, inputs, f"fringe{number}") for number in range(len(entry["params"]["amps"]))]


def science_of(entry, inputs, **values):
    visit = VisitInfo(filter="i", **values)
    return exposure(entry, inputs, "science", visit=visit)


def corrected(entry, science, fringes) -> Exposure:
    result: Exposure = fringe_task(entry).run(science, fringes=fringes).exposure
    return result


def assert_corrected(entry, inputs, outputs, product):
    """As the original, but that flags of the frames come along: behaviour §0.4, for every calibration.

    The original forgets them: the pixels (20 to 59, 10 to 13), saturated in all the frames, differ.
    """
    flags = np.bitwise_or.reduce([frame.mask for frame in frames_of(entry, inputs)])
    mask = outputs["science.mask"] | flags
    assert np.count_nonzero(mask != outputs["science.mask"]) == 160
    assert_agrees(product, {**outputs, "science.mask": mask}, "science")


@pytest.mark.parametrize(("entry", "inputs", "outputs"), golden_cases("fringe.run"))
def test_a_whole_correction(entry, inputs, outputs):
    fringes = Struct(fringes=frames_of(entry, inputs), seed=entry["params"]["rngSeed"])
    product = corrected(entry, science_of(entry, inputs), fringes)
    assert_corrected(entry, inputs, outputs, product)
    found = product.measured["fringe"]["unnamed"]
    # The original takes the pedestal off in float32 before it measures, which costs the fluxes some places.
    np.testing.assert_allclose(found.amplitudes, outputs["solution"], rtol=1e-7)
    np.testing.assert_allclose(found.rms, outputs["rms"], rtol=1e-7)


@pytest.mark.parametrize(("entry", "inputs", "outputs"), golden_cases("fringe.run"))
def test_the_exposure_id_seeds_the_positions(entry, inputs, outputs):
    science = science_of(entry, inputs, exposure_id=2**32 + entry["params"]["rngSeed"])
    product = corrected(entry, science, frames_of(entry, inputs))
    assert_corrected(entry, inputs, outputs, product)


@pytest.mark.parametrize(("entry", "inputs", "outputs"), golden_cases("fringe.run"))
def test_positions_and_fluxes(entry, inputs, outputs):
    params, image = entry["params"], inputs["science.image"]
    drawn = Positions.draw(image.shape, params["num"], params["large"], params["rngSeed"])
    np.testing.assert_array_equal(np.column_stack([drawn.x, drawn.y]), outputs["positions"])
    sieve = Sieve(image, (inputs["science.mask"],), plane_bits(entry, "SAT"))
    small, large = box_medians(sieve, drawn.x, drawn.y, (params["small"], params["large"]))
    np.testing.assert_array_equal(small - large, outputs["scienceMeasure"])


@pytest.mark.parametrize(("entry", "inputs", "outputs"), golden_cases("fringe.run"))
def test_frames_stay_as_they_are(entry, inputs, outputs):
    """Fault 23: the original changes image and mask of the calibration frames."""
    frames = frames_of(entry, inputs)
    before = [frame.pixels.copy() for frame in frames]
    corrected(entry, science_of(entry, inputs), frames)
    for frame, old in zip(frames, before, strict=True):
        for plane in ("image", "mask", "variance"):
            np.testing.assert_array_equal(getattr(frame.pixels, plane), getattr(old, plane))


@pytest.mark.parametrize(("entry", "inputs", "outputs"), golden_cases("fringe.solve"))
def test_solutions(entry, inputs, outputs):
    params = entry["params"]
    found = solve(inputs["science"], inputs["fringes"], params["clip"], params["iterations"])
    # Least squares of float64 fluxes: another order of sums costs some places.
    np.testing.assert_allclose(found.amplitudes, outputs["solution"], rtol=1e-12)
    np.testing.assert_allclose(found.rms, outputs["rms"], rtol=1e-12)


@pytest.mark.parametrize(("entry", "inputs", "outputs"), golden_cases("fringe.solve"))
def test_every_frame_must_have_a_flux(entry, inputs, outputs):
    """Fault 24: the original keeps positions where any frame has one, and then has no solution."""
    params, fringes = entry["params"], inputs["fringes"].copy()
    found = solve(inputs["science"], fringes, params["clip"], params["iterations"])
    with_more = np.vstack([fringes, np.full((3, fringes.shape[1]), np.nan)])
    with_more[-3:, :-1] = 1.0
    science = np.append(inputs["science"], [1.0, 2.0, 3.0])
    again = solve(science, with_more, params["clip"], params["iterations"])
    assert attrs.asdict(again, filter=attrs.filters.exclude("amplitudes", "sigmas")) == attrs.asdict(
        found, filter=attrs.filters.exclude("amplitudes", "sigmas")
    )
    np.testing.assert_array_equal(again.amplitudes, found.amplitudes)
