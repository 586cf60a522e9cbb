"""Laws of deferred charge: what registers do is undone; no charge is lost; rows are islands."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import isrcore_standard
from isrcore import (
    Amplifier,
    Box,
    Calibrations,
    DeferredCharge,
    Detector,
    Exposure,
    IsrTask,
    MaskedImage,
    Registry,
    SerialTransfer,
    Simulation,
    Tiled,
    default_config,
)
from isrcore.testing import strategies
from isrcore.testing.contracts import check_same
from isrcore.testing.mirror import Mirror
from isrcore.testing.registers import deferred_charges, serial_transfers
from isrcore_standard import deferred_charge
from isrcore_standard.serial_register import Register
from tests.effects.deferred_charge import defer_charge

REGISTRY = Registry({"standard": isrcore_standard})
FACTS = frozenset({"assembled", "converted", "levels-known"})


def task(executor: Any = None, **settings: Any) -> IsrTask:
    config = default_config(REGISTRY)
    for name, value in settings.items():
        config.set(f"deferredCharge.{name}", value)
    return IsrTask(config, registry=REGISTRY, executor=executor)


def exposure_of(detector: Detector, image: Any) -> Exposure:
    pixels = MaskedImage.from_image(np.asarray(image, np.float32))
    pixels.variance[...] = 25
    return Exposure(pixels, detector, facts=FACTS)


def corrected(exposure: Exposure, table: DeferredCharge, by: IsrTask | None = None) -> Exposure:
    """A copy with the step applied."""
    chain, result = by or task(), exposure.clone()
    chain._apply([chain._step("deferredCharge")], result, deferredCharge=table)
    return result


def read_out(exposure: Exposure, table: DeferredCharge) -> Exposure:
    """A copy as `Step.simulate` leaves it."""
    result = exposure.clone()
    simulation = Simulation.start(result, Calibrations({"deferredCharge": table}), None, 0)
    task()._step("deferredCharge").simulate(simulation)
    return result


@st.composite
def skies(draw: st.DrawFn, detector: Detector) -> Exposure:
    """Sky, and pixels up to a full well, in adu."""
    rng, sky = draw(strategies.generators()), draw(st.sampled_from([20.0, 300.0, 5000.0]))
    image = rng.normal(sky, np.sqrt(sky) / 2, detector.shape)
    is_bright = rng.random(detector.shape) < 0.1
    image[is_bright] += rng.uniform(0, 30_000, np.count_nonzero(is_bright))
    return exposure_of(detector, image)


@st.composite
def rows_read(draw: st.DrawFn) -> tuple[Exposure, DeferredCharge]:
    """A sky on a random detector, and registers."""
    detector = draw(strategies.detectors())
    return draw(skies(detector)), draw(deferred_charges(detector))


def electrons(detector: Detector, image: np.ndarray) -> np.ndarray:
    """An image in adu, in electron."""
    result = image.astype(np.float64)
    for amp in detector.amplifiers:
        result[amp.box.slices] *= amp.gain
    return result


# The threshold is 0.01 electron; a float32 of 1e5 electron is known to 0.008.
ROUNDING = 0.03


@given(rows_read())
def test_what_registers_do_is_undone(drawn: Any) -> None:
    truth, table = drawn
    raw = read_out(truth, table)
    found = corrected(raw, table)
    error = electrons(truth.detector, found.image - truth.image)
    assert abs(error).max() <= ROUNDING
    effect = abs(electrons(truth.detector, raw.image - truth.image)).max()
    # Ten times worse without it, where there is something to correct.
    assert abs(error).max() <= effect / 10 or effect < 10 * ROUNDING
    assert all(one.converged for one in found.measured["deferredCharge"].values())


def as_dicts(detector: Detector, table: DeferredCharge, prescan: int) -> list[dict[str, Any]]:
    """Amplifiers and registers as the independent model takes them."""
    found = []
    for amp in detector.amplifiers:
        one, box = table.amplifiers[amp.name], amp.box
        trap = {
            "size": one.trap_size,
            "emission": one.trap_emission,
            "well": one.trap_well,
            "power": one.trap_power,
        }
        found.append(
            {
                "box": (box.y0, box.y1, box.x0, box.x1),
                "output": amp.readout_corner[1],
                "prescan": prescan,
                "cti": one.cti,
                "trap": trap,
            }
        )
    return found


def wide_detector(width: int = 100, prescan: int = 12) -> Detector:
    """Two amplifiers side by side, read to the outer edges, where the prescans are."""
    left = Box(0, 40, prescan, prescan + width)
    amplifiers = (
        Amplifier(
            "A", Box(0, 40, 0, width), Box(0, 40, 0, prescan + width), left,
            prescan_box=Box(0, 40, 0, prescan), gain=1.6, readout_corner="LL",
        ),
        Amplifier(
            "B", Box(0, 40, width, 2 * width), Box(0, 40, prescan + width, 2 * (prescan + width)),
            left.shift(0, width), gain=2.2, readout_corner="UR",
            prescan_box=Box(0, 40, prescan + 2 * width, 2 * (prescan + width)),
        ),
    )  # fmt: skip
    return Detector("wide", 0, (40, 2 * width), (40, 2 * (prescan + width)), amplifiers)


@given(data=st.data(), prescan=st.sampled_from([0, 12, 50]))
def test_the_independent_model_is_undone(data: st.DataObject, prescan: int) -> None:
    detector = wide_detector(prescan=prescan)
    truth = data.draw(skies(detector))
    table = DeferredCharge({name: data.draw(serial_transfers()) for name in "AB"})
    charge = electrons(detector, truth.image)
    raw = exposure_of(detector, 0 * truth.image)
    arrived = defer_charge(charge, as_dicts(detector, table, prescan))
    for amp in detector.amplifiers:
        raw.image[amp.box.slices] = arrived[amp.box.slices] / amp.gain
    error = electrons(detector, corrected(raw, table).image) - charge
    for amp in detector.amplifiers:
        part = amp.box.slices
        before, after = (float(np.std(e[part])) for e in (arrived - charge, error))
        # Losses alone are undone exactly. All traps of a register taken as one are wrong by a few per cent.
        limit = before / 10 if table.amplifiers[amp.name].trap_size else ROUNDING
        assert after <= max(limit, ROUNDING)


@given(transfer=serial_transfers(), data=st.data())
def test_what_a_row_loses_comes_out_behind_it(transfer: SerialTransfer, data: st.DataObject) -> None:
    width, tail = data.draw(st.integers(1, 60)), 400
    rng = data.draw(strategies.generators())
    charge = np.zeros((width + tail, 3), np.float32)
    charge[:width] = rng.uniform(0, 50_000, (width, 3))
    room = np.empty((2, *charge.shape), np.float32)
    register = Register.of(transfer, np.arange(1, width + tail + 1))
    change = register.change(charge, np.empty_like(charge), room).astype(np.float64)
    # Twenty e-foldings of the slowest traps are over; float32 sums of up to 5e4 electron per pixel.
    assert abs(change.sum(axis=0)).max() <= 1e-6 * charge.sum(axis=0).max()
    if transfer.cti:
        assert (change[:width].sum(axis=0) < 0).all()
        assert (change[width:].sum(axis=0) > 0).all()


@given(drawn=rows_read(), data=st.data())
def test_a_pixel_matters_to_its_row_and_amplifier_only(drawn: Any, data: st.DataObject) -> None:
    exposure, table = drawn
    ny, nx = exposure.shape
    y, x = data.draw(st.integers(0, ny - 1)), data.draw(st.integers(0, nx - 1))
    other = exposure.clone()
    other.image[y, x] = data.draw(st.sampled_from([0.0, -50.0, 65535.0, np.nan, np.inf]))
    differs = corrected(exposure, table).image != corrected(other, table).image
    amp = next(a for a in exposure.detector.amplifiers if a.box.contains(Box(y, y + 1, x, x + 1)))
    differs[y, amp.box.x0 : amp.box.x1] = False
    assert not differs.any()


@given(drawn=rows_read(), data=st.data())
def test_what_is_no_number_counts_as_what_was_read_before_it(drawn: Any, data: st.DataObject) -> None:
    exposure, table = drawn
    amp = data.draw(st.sampled_from(exposure.detector.amplifiers))
    y, x = data.draw(st.integers(0, amp.box.height - 1)), data.draw(st.integers(1, amp.box.width - 1))
    one, other = exposure.clone(), exposure.clone()
    parts = [e.image[amp.box.slices][:, :: -1 if amp.readout_corner[1] == "R" else 1] for e in (one, other)]
    parts[0][y, x] = data.draw(st.sampled_from([np.nan, np.inf, -np.inf]))
    parts[1][y, x] = parts[1][y, x - 1]
    first, second = corrected(one, table).image, corrected(other, table).image
    spoiled = ~np.isfinite(one.image)
    np.testing.assert_array_equal(first[~spoiled], second[~spoiled])
    np.testing.assert_array_equal(first[spoiled], one.image[spoiled])


@given(drawn=rows_read(), flip_y=st.booleans(), flip_x=st.booleans())
def test_a_mirrored_frame_gives_the_mirrored_result(drawn: Any, flip_y: bool, flip_x: bool) -> None:
    exposure, table = drawn
    mirror = Mirror(False, flip_y, flip_x)
    plain, turned = corrected(exposure, table), corrected(mirror.exposure(exposure), table)
    check_same(mirror.pixels(plain.pixels), turned.pixels)


@given(drawn=rows_read(), data=st.data())
def test_order_and_names_of_amplifiers_do_not_matter(drawn: Any, data: st.DataObject) -> None:
    exposure, table = drawn
    order = data.draw(st.permutations(exposure.detector.amplifiers))
    renamed = tuple(attrs.evolve(amp, name=f"new {amp.name}") for amp in order)
    other = exposure.clone()
    other.detector = attrs.evolve(exposure.detector, amplifiers=renamed)
    new = DeferredCharge({f"new {name}": one for name, one in table.amplifiers.items()})
    check_same(corrected(exposure, table).pixels, corrected(other, new).pixels)


@pytest.mark.parametrize("rows", [1, 2, 5])
@given(drawn=rows_read(), threads=st.integers(1, 3))
def test_bands_and_threads_change_nothing(rows: int, drawn: Any, threads: int) -> None:
    exposure, table = drawn
    plain = corrected(exposure, table)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deferred_charge, "_ROWS", rows)
        other = corrected(exposure, table, task(Tiled(threads=threads)))
    check_same(plain.pixels, other.pixels)
    assert attrs.asdict(plain.measured["deferredCharge"]["A"]) == attrs.asdict(
        other.measured["deferredCharge"]["A"]
    )


@given(rows_read())
def test_flags_and_variances_stay(drawn: Any) -> None:
    exposure, table = drawn
    exposure.mask[0, 0] = 2
    found = corrected(exposure, table)
    np.testing.assert_array_equal(found.mask, exposure.mask)
    np.testing.assert_array_equal(found.variance, exposure.variance)


@given(st.data())
def test_perfect_registers_change_nothing(data: st.DataObject) -> None:
    detector = data.draw(strategies.detectors())
    exposure = data.draw(skies(detector))
    table = DeferredCharge({name: SerialTransfer() for name in detector.amplifier_names})
    check_same(corrected(exposure, table).pixels, exposure.pixels)


def test_example_a_hundredth_of_the_charge_lags_behind() -> None:
    # Three columns, three rows; one transfer for the first column, three for the last.
    detector = attrs.evolve(Detector.of_shape((1, 3), gain=2.0))
    table = DeferredCharge({"0": SerialTransfer(cti=0.01)})
    # 200 electron in the first pixel: one transfer keeps 198 and leaves 2, of which 1.98 arrive next.
    raw = read_out(exposure_of(detector, [[100.0, 0.0, 0.0]]), table)
    np.testing.assert_allclose(raw.image, [[99.0, 0.99, 0.0099]], rtol=1e-6)
    np.testing.assert_allclose(corrected(raw, table).image, [[100.0, 0.0, 0.0]], atol=1e-3)
    # Read out to the right, the first pixel has three transfers to make, and nothing comes after it.
    to_the_right = attrs.evolve(detector, amplifiers=(attrs.evolve(detector["0"], readout_corner="LR"),))
    raw = read_out(exposure_of(to_the_right, [[100.0, 0.0, 0.0]]), table)
    np.testing.assert_allclose(raw.image, [[100 * 0.99**3, 0.0, 0.0]], rtol=1e-6)


def test_example_traps_hold_what_they_can_and_let_go() -> None:
    detector = Detector.of_shape((1, 4))
    # Ten electron per register pixel, filled by any charge from 100 electron on; half is let go per transfer.
    traps = SerialTransfer(trap_size=10.0, trap_emission=1 / np.log(2), trap_well=100.0)
    raw = read_out(exposure_of(detector, [[1000.0, 0.0, 0.0, 0.0]]), DeferredCharge({"0": traps}))
    np.testing.assert_allclose(raw.image, [[990.0, 5.0, 2.5, 1.25]], rtol=1e-6)


def test_example_an_iteration_that_is_cut_short_says_so(caplog: pytest.LogCaptureFixture) -> None:
    detector, table = Detector.of_shape((2, 3)), DeferredCharge({"0": SerialTransfer(cti=0.01)})
    found = corrected(exposure_of(detector, np.full((2, 3), 1e4)), table, task(maxIter=1))
    assert not found.measured["deferredCharge"]["0"].converged
    assert "amplifier 0 did not converge in 1 iterations" in caplog.text
