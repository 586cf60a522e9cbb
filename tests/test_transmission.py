"""Transmission curves: their files, what is refused, and how a run uses them."""

from __future__ import annotations

from pathlib import Path

import attrs
import numpy as np
import pytest
from astropy import units
from astropy.table import Table

from isrcore import (
    Detector,
    PlanError,
    SystemTransmission,
    TransmissionCurve,
    TransmissionError,
    VisitInfo,
    read_exposure,
    write_exposure,
)
from tests.assembled import assembled
from tests.golden_exposures import REGISTRY, make_task

FLAT = TransmissionCurve([4000, 5000], [0.5, 0.7])
RADIAL = TransmissionCurve(
    [4000, 5000], [[0.5, 0.7], [0.1, 1 / 3]], [0, 2.5], (0.1, 2.0), 0.2, 0.3, "r.MP9601"
)


@pytest.mark.parametrize("name", ["curve.ecsv", "curve.fits"])
@pytest.mark.parametrize("curve", [FLAT, RADIAL])
def test_a_file_gives_the_curve_back(tmp_path: Path, name: str, curve: TransmissionCurve) -> None:
    curve.write(tmp_path / name)
    found = TransmissionCurve.read(tmp_path / name)
    for field in attrs.fields(TransmissionCurve):
        if field.name != "source":
            np.testing.assert_array_equal(getattr(found, field.name), getattr(curve, field.name))
    assert found.source == str(tmp_path / name)
    with pytest.raises(OSError, match="exists"):
        curve.write(tmp_path / name)
    FLAT.write(tmp_path / name, overwrite=True)


def test_tables_may_have_units_and_their_rows_in_any_order(tmp_path: Path) -> None:
    table = Table({"wavelength": [500.0, 400.0] * units.nm, "throughput": [70.0, 50.0] * units.percent})
    table["radius"] = [1.0, 1.0] * units.cm
    table.meta["filter"] = "r"
    table.write(tmp_path / "r.ecsv")
    found = TransmissionCurve.read(tmp_path / "r.ecsv")
    np.testing.assert_allclose(found.wavelengths, [4000, 5000])
    np.testing.assert_allclose(found.throughput, [[0.5, 0.7]])
    assert (found.radii.tolist(), found.filter, found.below, found.above) == ([10], "r", 0, 0)


@pytest.mark.parametrize(
    ("columns", "fault"),
    [
        ({"wavelength": [1.0]}, "no column 'throughput' among \\['wavelength'\\]"),
        ({"wavelength": [1.0, 2.0] * units.s, "throughput": [1, 1]}, "not convertible"),
        ({"wavelength": [1.0, 1.0], "throughput": [1, 1]}, "wavelengths must ascend"),
        ({"wavelength": [1.0, 2.0], "throughput": [50, 60]}, "throughput 50 is no fraction from 0 to 1"),
        ({"wavelength": [1.0, 2.0, 1.0], "throughput": [1, 1, 1], "radius": [0, 0, 1]}, "3 rows do not give"),
        (
            {"wavelength": [1.0, 1.0, 2.0, 2.0], "throughput": [1] * 4, "radius": [0, 0, 1, 1]},
            "some radii lack wavelengths",
        ),
    ],
)
def test_tables_that_are_no_curve_are_refused(tmp_path: Path, columns: dict, fault: str) -> None:
    Table(columns).write(tmp_path / "c.ecsv")
    with pytest.raises(TransmissionError, match=fault) as caught:
        TransmissionCurve.read(tmp_path / "c.ecsv")
    assert "c.ecsv holds no transmission curve" in str(caught.value)


def test_files_that_hold_no_table_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.ecsv").write_text("hello\n")
    with pytest.raises(TransmissionError, match=r"text.ecsv holds no transmission curve"):
        TransmissionCurve.read(tmp_path / "text.ecsv")
    with pytest.raises(TransmissionError, match=r"curve.csv: transmission curves are .ecsv or .fits tables"):
        TransmissionCurve.read(tmp_path / "curve.csv")
    with pytest.raises(FileNotFoundError):
        TransmissionCurve.read(tmp_path / "none.fits")


@pytest.mark.parametrize(
    ("values", "faults"),
    [
        (([4000], [1]), ["two of them or more"]),
        (([4000, 5000], [1]), ["throughput has shape (1,), wavelengths and radii need (2,)"]),
        (([4000, 5000], [[1, 1]]), ["wavelengths and radii need (2,)"]),
        (([4000, 5000], [1, 1], [0]), ["wavelengths and radii need (1, 2)"]),
        (
            ([5000, 4000], [[1, -1]], [-1.0], (np.nan, 0)),
            ["wavelengths must ascend", "radii must ascend", "throughput -1 is", "center (nan, 0)"],
        ),
        (([4000, np.nan], [1, 1]), ["wavelengths must ascend"]),
        (([4000, 5000], [1, np.nan]), ["throughput nan is no fraction"]),
        (([4000, 5000], [1, 1], [], (0, 0), 1.5), ["throughput 1.5 is no fraction"]),
    ],
)
def test_what_is_no_curve_is_refused_with_every_fault(values: tuple, faults: list[str]) -> None:
    with pytest.raises(TransmissionError) as caught:
        TransmissionCurve(*values)
    assert [fault for fault in faults if fault not in str(caught.value)] == []


def test_a_curve_is_nobodys_to_change() -> None:
    with pytest.raises(ValueError, match="read-only"):
        FLAT.throughput[0] = 1
    with pytest.raises(ValueError, match="must be in one row"):
        FLAT.at(0, 0, [[4000]])


def test_a_system_knows_its_parts() -> None:
    with pytest.raises(ValueError, match="'mirror' is no part of the system; parts are atmosphere, optics"):
        SystemTransmission(Detector.of_shape((1, 1)), {"mirror": FLAT})
    empty = SystemTransmission(Detector.of_shape((1, 1)), {})
    assert empty.wavelengths.size == 0
    assert empty.throughput(0, 0, [4000]).tolist() == [1]


@pytest.mark.parametrize("name", ["p.fits", "p.fits.fz"])
def test_products_keep_the_transmission(tmp_path: Path, name: str) -> None:
    detector = attrs.evolve(Detector.of_shape((2, 3)), pixel_size_mm=0.1)
    curves = {"sensor": FLAT, "filter": RADIAL}
    written = assembled(detector, 1.0, transmission=SystemTransmission(detector, curves))
    write_exposure(written, tmp_path / name)
    found = read_exposure(tmp_path / name)
    assert found.transmission.parts == ("filter", "sensor")
    x, y = np.mgrid[:3, :2]
    np.testing.assert_array_equal(
        found.transmission.throughput(x, y, [3900, 4500]), written.transmission.throughput(x, y, [3900, 4500])
    )
    # Every part is a table that other programs and `read` take for a curve.
    table = Table.read(tmp_path / name, hdu="ISR_TRANS_FILTER")
    assert table.colnames == ["wavelength", "radius", "throughput"]
    assert table["wavelength"].unit == units.AA


def run(exposure=None, **inputs):
    exposure = exposure or assembled(Detector.of_shape((2, 3)), 1.0)
    return make_task("doAttachTransmissionCurve").run(exposure, **inputs).exposure


def test_no_curve_at_all_is_a_mistake() -> None:
    with pytest.raises(
        PlanError, match=r"none of atmosphereTransmission, .* was given: give one, or set doAtt"
    ):
        run()
    task = make_task(
        "doAttachTransmissionCurve",
        transmission__useOptics=False,
        transmission__useFilter=False,
        transmission__useSensor=False,
        transmission__useAtmosphere=False,
    )
    product = task.run(assembled(Detector.of_shape((2, 3)), 1.0), filterTransmission=FLAT).exposure
    assert product.transmission is None


def test_a_curve_of_another_filter_is_refused() -> None:
    through_g = assembled(Detector.of_shape((2, 3)), 1.0, visit=VisitInfo(filter="g"))
    curve = attrs.evolve(FLAT, filter="r")
    with pytest.raises(
        PlanError, match="filterTransmission is of filter 'r', the exposure was taken through"
    ):
        run(through_g, filterTransmission=curve)
    through_r = assembled(Detector.of_shape((2, 3)), 1.0, visit=VisitInfo(filter="r"))
    assert run(through_r, filterTransmission=curve).transmission.parts == ("filter",)


def test_curves_that_cannot_be_used_are_told_together() -> None:
    with pytest.raises(PlanError) as caught:
        run(opticsTransmission=attrs.evolve(RADIAL, filter=""), sensorTransmission=[1, 2, 3])
    told = str(caught.value)
    assert "opticsTransmission varies over the focal plane: detector 'unnamed' has no pixel size" in told
    assert "sensorTransmission must be a TransmissionCurve, a tuple was given" in told
    # A sensor is known in pixels.
    assert run(sensorTransmission=attrs.evolve(RADIAL, filter="")).transmission.parts == ("sensor",)


def test_the_plan_names_the_file_of_a_curve(tmp_path: Path) -> None:
    FLAT.write(tmp_path / "sensor.ecsv")
    curve = REGISTRY.readers["sensorTransmission"](tmp_path / "sensor.ecsv", "ccd0")
    plan = make_task("doAttachTransmissionCurve").plan(
        assembled(Detector.of_shape((2, 3)), 1.0), sensorTransmission=curve
    )
    assert plan.steps[-1].calibrations == (str(tmp_path / "sensor.ecsv"),)
