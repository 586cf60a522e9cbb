"""Laws of the zero point: magnitudes follow counts per second and time, whatever the filter is called."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import isrcore_standard
from isrcore import (
    Camera,
    ConfigError,
    Detector,
    Filter,
    IsrTask,
    Registry,
    SystemTransmission,
    TransmissionCurve,
    VisitInfo,
    ZeroPoint,
    default_config,
    hookimpl,
    read_exposure,
    simulate,
    write_exposure,
)
from tests.assembled import assembled
from tests.golden_exposures import make_task

DETECTOR = Detector.of_shape((2, 3))
LAMP = Filter("r.MP9601", "r", aliases=("red",))


def taken(seconds=100.0, name="", **values):
    return assembled(DETECTOR, 7.0, visit=VisitInfo(exposure_s=seconds, filter=name), **values)


def task_of(**settings):
    return make_task("doRoughZeroPoint", **{f"zeroPoint__{name}": value for name, value in settings.items()})


def seeing_task(**settings):
    """A task that knows a camera with a filter of three names."""
    plugin = SimpleNamespace(
        isr_cameras=hookimpl(lambda: [Camera("anycam", (DETECTOR,), filters=(LAMP,))], specname="isr_cameras")
    )
    registry = Registry({"standard": isrcore_standard, "anycam": plugin})
    config = default_config(registry)
    for spec in registry.specs.values():
        if spec.flag:
            config.set(spec.flag, spec.flag == "doRoughZeroPoint")
    config.expectWcs = False
    for name, value in settings.items():
        config.set(f"zeroPoint.{name}", value)
    return IsrTask(config, registry=registry)


@given(st.floats(1e-3, 1e5), st.floats(1, 1e15))
def test_the_magnitude_of_a_count_is_that_of_all_counts_of_magnitude_zero(seconds, counts):
    product = task_of(fluxMag0T1={"r": counts}).run(taken(seconds, "r")).exposure
    expected = 2.5 * math.log10(counts * seconds)
    assert product.zero_point.magnitude == pytest.approx(expected, abs=1e-12)
    # The counts of a star of magnitude zero are worth the flux of the AB system's magnitude zero.
    assert product.zero_point.flux_njy * counts * seconds == pytest.approx(3.6307805e12, rel=2e-7)


@given(st.floats(0.01, 1000), st.floats(1.01, 100))
def test_a_longer_exposure_makes_a_count_fainter_by_the_ratio(seconds, ratio):
    short, long = (task_of().run(taken(time)).exposure.zero_point for time in (seconds, seconds * ratio))
    assert long.magnitude - short.magnitude == pytest.approx(2.5 * math.log10(ratio), abs=1e-12)
    assert short.flux_njy / long.flux_njy == pytest.approx(ratio, rel=1e-12)


@given(st.floats(-30, 60))
def test_magnitude_and_flux_say_the_same(magnitude):
    assert ZeroPoint.of_magnitude(magnitude).magnitude == pytest.approx(magnitude, abs=1e-12)


@pytest.mark.parametrize("listed", ["r.MP9601", "r", "red"])
@pytest.mark.parametrize("written", ["r.MP9601", "r", "red", " r "])
def test_a_filter_is_found_by_any_of_its_names(written, listed):
    exposure = taken(1.0, written, camera="anycam")
    found = seeing_task(fluxMag0T1={listed: 1e10, "g": 1e9}).run(exposure).exposure.zero_point
    assert found.magnitude == pytest.approx(25)
    assert found.source == f"zeroPoint.fluxMag0T1.{listed}"


def test_vector_of_the_documented_default():
    """f0 = 10^11.2 and 100 s: 33 mag."""
    found = task_of().run(taken(100.0)).exposure.zero_point
    assert found.magnitude == pytest.approx(33.0, abs=1e-12)
    assert found.source == "zeroPoint.defaultFluxMag0T1"


def test_who_has_a_table_is_warned_of_filters_it_lacks(caplog):
    task_of().run(taken(1.0, "i"))
    assert caplog.text == ""
    task_of(fluxMag0T1={"r": 1.0}).run(taken(1.0, "i"))
    assert "filter 'i' is not in zeroPoint.fluxMag0T1, the default is used" in caplog.text


@pytest.mark.parametrize("seconds", [math.nan, 0.0, -1.0, math.inf])
def test_without_exposure_time_nothing_is_set(seconds, caplog):
    product = task_of().run(taken(seconds)).exposure
    assert product.zero_point is None
    assert "zero-point-set" not in product.facts
    skipped = {planned.spec.name: planned.reason for planned in task_of().plan(taken(seconds)).skipped}
    assert skipped["zeroPoint"] == f"the exposure time is {seconds} s"
    exposure = taken(seconds)
    make_task().roughZeroPoint(exposure)
    assert exposure.zero_point is None
    assert f"gets no zero point: the exposure time is {seconds} s" in caplog.text


def test_a_zero_point_that_is_there_stays_unless_somebody_asks():
    better = ZeroPoint.of_magnitude(25.3, "standard stars")
    kept = task_of().run(taken(zero_point=better))
    assert kept.exposure.zero_point is better
    skipped = {p.spec.name: p.reason for p in task_of().plan(taken(zero_point=better)).skipped}
    assert skipped["zeroPoint"] == "there is a zero point already: standard stars"
    replaced = task_of(doReplace=True).run(taken(zero_point=better)).exposure
    assert replaced.zero_point.magnitude == pytest.approx(33)


def test_rough_zero_point_replaces_it_and_changes_nothing_else():
    task = make_task(zeroPoint__fluxMag0T1={"r": 10.0**10})
    exposure = taken(10.0, "r", zero_point=ZeroPoint(1.0), variance=2.0, mask=4)
    image = exposure.image
    task.roughZeroPoint(exposure)
    assert exposure.zero_point.magnitude == pytest.approx(27.5)
    assert exposure.image is image
    assert (exposure.image == 7).all()
    assert (exposure.mask == 4).all()
    assert "zero-point-set" in exposure.facts
    # The task is as it was: a later run keeps what is there.
    assert task.config.zeroPoint.doReplace is False


def test_a_simulated_raw_frame_knows_nothing_of_its_product():
    system = SystemTransmission(DETECTOR, {"filter": TransmissionCurve([4000, 5000], [1, 1])})
    known = {"valid_polygon": [(0, 0), (1, 0), (0, 1)], "transmission": system, "zero_point": ZeroPoint(1.0)}
    task = make_task("doConvertIntToFloat", "doAssembleCcd")
    raw = simulate(task, taken(**known)).exposure
    assert [getattr(raw, name) for name in known] == [None, None, None]


def test_the_switch_can_be_off():
    assert make_task().run(taken()).exposure.zero_point is None


@pytest.mark.parametrize("flux", [0.0, -1.0, math.nan, math.inf])
def test_a_count_is_worth_something(flux):
    with pytest.raises(ValueError, match="one count cannot be worth"):
        ZeroPoint(flux)


def test_counts_of_a_star_are_positive_and_tables_survive_a_file(tmp_path):
    with pytest.raises(ConfigError, match="fluxMag0T1"):
        task_of(fluxMag0T1={"r": 0.0})
    config = default_config(Registry({"standard": isrcore_standard}))
    config.zeroPoint.fluxMag0T1 = {"r.MP9601": 1.5e11, "i 2": 10.0**11.2}
    (tmp_path / "c.toml").write_text(config.to_toml())
    again = default_config(Registry({"standard": isrcore_standard}))
    again.load(tmp_path / "c.toml")
    assert again.zeroPoint.fluxMag0T1 == config.zeroPoint.fluxMag0T1
    assert again.compare(config) == []


@given(st.floats(-10, 50), st.text(max_size=100))
def test_products_keep_the_zero_point(tmp_path_factory, magnitude, source):
    path = tmp_path_factory.mktemp("zero") / "p.fits"
    exposure = taken(zero_point=ZeroPoint.of_magnitude(magnitude, source))
    write_exposure(exposure, path)
    found = read_exposure(path)
    assert found.zero_point == exposure.zero_point
    # Its cards belong to the product, not to the exposure's header.
    assert "ISRZPMAG" not in found.header
    np.testing.assert_array_equal(found.image, exposure.image)
