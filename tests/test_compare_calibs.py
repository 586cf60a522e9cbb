"""Comparing a new calibration with the one before: what changed is told, and flagged beyond the bounds."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import isrcore_calib
import isrcore_simulated
import isrcore_standard
from isrcore import Box, Defects, Exposure, MaskedImage, MaskPlanes, Registry, VisitInfo, write_exposure
from isrcore_calib import ComparisonBounds, MasterError, compare_defects, compare_masters
from isrcore_simulated import CAMERA

REGISTRY = Registry({"calib": isrcore_calib, "simulated": isrcore_simulated, "standard": isrcore_standard})
DETECTOR = CAMERA["sim0"]


def master(
    seed: int = 0,
    *,
    level: float = 1.0,
    noise: float = 0.003,
    offset_b: float = 0.0,
    bad: tuple[Box, ...] = (),
) -> Exposure:
    """A flat with the noise it says; amplifier B may be off."""
    rng = np.random.default_rng(seed)
    image = (level + noise * rng.standard_normal(DETECTOR.shape)).astype(np.float32)
    image[DETECTOR["B"].box.slices] += np.float32(offset_b)
    mask, planes = np.zeros(image.shape, np.int32), MaskPlanes()
    for box in bad:
        mask[box.slices] |= planes.value("BAD")
    pixels = MaskedImage(image, mask, np.full(image.shape, noise**2, np.float32), planes)
    visit = VisitInfo(filter="r", observation_type="flat")
    return Exposure(pixels, DETECTOR, camera="simulated", visit=visit, facts=frozenset({"assembled"}))


def test_masters_that_differ_by_noise_only_are_alike():
    a, b = compare_masters(master(1), master(2))
    assert (a.amplifier, b.amplifier) == ("A", "B")
    assert a.beyond == b.beyond == ()
    # 3840 pixels: a median to 0.02 sigma, a scatter to 2 %.
    assert abs(a.in_noise) < 0.08
    assert a.scatter == pytest.approx(1, abs=0.08)


def test_a_change_of_one_amplifier_is_flagged_there():
    a, b = compare_masters(master(1, offset_b=0.05), master(2))
    assert a.beyond == ()
    assert b.difference == pytest.approx(0.05, abs=0.0005)
    assert b.relative == pytest.approx(0.05, abs=0.0005)
    assert b.in_noise == pytest.approx(0.05 / (0.003 * np.sqrt(2)), rel=0.02)
    assert b.beyond == (f"the level changed by {b.in_noise:+.3g} sigma and {b.relative:+.2%}",)


def test_a_level_of_zero_has_no_relative_bound():
    changed = compare_masters(master(1, level=0, noise=2, offset_b=3), master(2, level=0, noise=2))[1]
    assert np.isnan(changed.relative)
    assert changed.beyond[0].startswith("the level changed by +1.0")


def test_more_scatter_than_the_variances_say_is_flagged():
    noisy = master(1, noise=0.02)
    noisy.variance[...] = 0.003**2
    for one in compare_masters(noisy, master(2)):
        assert one.scatter == pytest.approx(0.0202 / 0.0042, rel=0.06)
        assert one.beyond == (f"the scatter is {one.scatter:.3g} times what is expected",)


def test_new_bad_pixels_are_flagged():
    a, b = compare_masters(master(1, bad=(Box(0, 40, 3, 4),)), master(2, bad=(Box(0, 1, 60, 61),)))
    assert (a.appeared, a.gone, b.appeared, b.gone) == (40, 0, 0, 1)
    assert a.beyond == ("40 pixels became bad, 0 good: 1.04%",)
    assert b.beyond == ()


def test_what_is_no_number_is_never_taken_for_small():
    empty = master(1, bad=(Box.of_shape(DETECTOR.shape),))
    assert "no pixel is good in both" in compare_masters(empty, master(2))[0].beyond
    quiet = master(1)
    quiet.variance[...] = 0
    old = master(2)
    old.variance[...] = 0
    assert compare_masters(quiet, old)[0].beyond


@given(st.floats(-0.2, 0.2), st.floats(0, 50), st.floats(0, 0.2))
def test_a_difference_is_flagged_exactly_when_it_is_beyond_both_bounds(offset, noise, relative):
    bounds = ComparisonBounds(noise=noise, relative=relative, scatter=np.inf, defects=1)
    found = compare_masters(master(1, offset_b=offset), master(2), bounds)[1]
    assert bool(found.beyond) == (abs(found.in_noise) > noise and abs(found.relative) > relative)


@given(st.integers(0, 5), st.integers(0, 5))
def test_new_and_old_exchanged_change_the_sign(one, other):
    there = compare_masters(master(one, bad=(Box(0, 2, 0, 2),)), master(other))
    back = compare_masters(master(other), master(one, bad=(Box(0, 2, 0, 2),)))
    for a, b in zip(there, back, strict=True):
        assert a.difference == -b.difference
        assert (a.appeared, a.gone) == (b.gone, b.appeared)
        assert a.scatter == b.scatter


def test_masters_of_different_things_are_refused():
    other = master(1)
    other.visit = attrs.evolve(other.visit, filter="g")
    with pytest.raises(MasterError, match="the new one has filter 'g', the old one 'r'"):
        compare_masters(other, master(2))


def test_defects_are_compared_pixel_by_pixel():
    new = Defects((Box(0, 10, 5, 6),), detector_name="sim0")
    old = Defects((Box(0, 5, 5, 6), Box(5, 10, 5, 6), Box(20, 21, 3, 4)), detector_name="sim0")
    (found,) = compare_defects(new, old, (80, 96))
    assert (found.appeared, found.gone, found.beyond) == (0, 1, ())
    (found,) = compare_defects(new, old, (10, 10))
    assert found.beyond == ()
    (found,) = compare_defects(Defects(), old, (80, 96))
    assert found.beyond == ("0 pixels became bad, 11 good: 0.14%",)
    with pytest.raises(MasterError, match="detectors sim0 and sim1"):
        compare_defects(attrs.evolve(new, detector_name="sim1"), old)


@pytest.fixture
def folders(tmp_path):
    """Two folders of masters that are alike."""
    for name, seed in (("new", 1), ("old", 2)):
        (tmp_path / name).mkdir()
        write_exposure(master(seed), tmp_path / name / "flat_sim0.fits")
        (tmp_path / name / "gain.ecsv").write_text("not compared")
    return tmp_path / "new", tmp_path / "old"


def test_the_command_says_what_changed(isr, folders, tmp_path):
    new, old = folders
    status, out, err = isr("compare-calibs", new, old)
    assert (status, err) == (0, "")
    assert out.count("as before") == 2
    write_exposure(master(1, offset_b=0.1), new / "flat_sim0.fits", overwrite=True)
    status, out, _ = isr("compare-calibs", new / "flat_sim0.fits", old / "flat_sim0.fits")
    assert status == 1
    assert "the level changed by" in out.splitlines()[3]
    assert isr("compare-calibs", new, old, "--bound", "relative=0.2")[0] == 0


def test_the_command_compares_tables_of_defects(isr, tmp_path):
    for name, boxes in (("a", (Box(0, 5, 5, 6),)), ("b", ())):
        Defects(boxes, detector_name="sim0").write(tmp_path / f"{name}.ecsv")
    status, out, _ = isr("compare-calibs", tmp_path / "a.ecsv", tmp_path / "b.ecsv")
    assert status == 1
    assert "5 pixels became bad, 0 good" in out
    assert isr("compare-calibs", tmp_path / "a.ecsv", tmp_path / "a.ecsv")[0] == 0


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (("new", "none"), 1, "none: not there"),
        (("new", "old/flat_sim0.fits"), 1, "one is a folder, the other is not"),
        (
            ("new", "old", "--bound", "size=3"),
            2,
            "--bound size=3: write NAME=VALUE with one of noise, relative",
        ),
        (("new", "old", "--bound", "noise=-1"), 2, "and 0 or more"),
        (("new", "empty"), 1, "do not hold the same calibrations: flat_sim0.fits"),
        (("new/flat_sim0.fits", "new/gain.ecsv"), 1, "are not two masters"),
    ],
)
def test_what_cannot_be_compared_is_told(isr, folders, tmp_path, words, status, told):
    (tmp_path / "empty").mkdir()
    paths = [tmp_path / word for word in words[:2]]
    found, _, err = isr("compare-calibs", *paths, *words[2:])
    assert found == status
    assert told in err
