"""Frames and curves of light on the command line, and what the product keeps of them."""

from __future__ import annotations

from pathlib import Path

import attrs
import numpy as np
import pytest

import isrcore_simulated
import isrcore_standard
from isrcore import Registry, TransmissionCurve, read_exposure, read_provenance, write_exposure
from isrcore_simulated import CAMERA
from tests.assembled import assembled
from tests.test_cli import NO_MASTERS, write_raw

REGISTRY = Registry({"simulated": isrcore_simulated, "standard": isrcore_standard})
DETECTOR = CAMERA["sim0"]


def write_frame(path: Path, value: float, unit: str) -> str:
    write_exposure(assembled(DETECTOR, value, camera="simulated", unit=unit), path)
    return str(path)


def test_a_run_uses_frames_and_curves_and_the_product_keeps_them(isr, tmp_path: Path) -> None:
    curve = TransmissionCurve([5000, 6000], [0.25, 0.75], filter="r")
    curve.write(tmp_path / "r.ecsv")
    status, _, err = isr(
        "run", write_raw(tmp_path / "raw.fits"), "--detectors", "sim0", "-o", tmp_path / "p.fits",
        "--illum-masked-image", write_frame(tmp_path / "illum.fits", 2.0, ""),
        "--stray-light-data", write_frame(tmp_path / "stray.fits", 3.0, "adu"),
        "--filter-transmission", tmp_path / "r.ecsv",
        *NO_MASTERS, "illumination.filters=r", "strayLight.filters=r",
        "zeroPoint.fluxMag0T1={r = 1e10}",
    )  # fmt: skip
    assert (status, err) == (0, err)
    product = read_exposure(tmp_path / "p.fits")
    # 500 adu above the overscan, less 3 adu/s for 10 s, by two.
    np.testing.assert_allclose(product.image, 235)
    assert {"illumination-corrected", "stray-light-subtracted", "transmission-attached"} <= product.facts
    np.testing.assert_allclose(product.transmission.throughput(0, 0, [5500, 7000]), [0.5, 0])
    assert product.zero_point.magnitude == pytest.approx(27.5)
    assert product.zero_point.source == "zeroPoint.fluxMag0T1.r"
    provenance = read_provenance(tmp_path / "p.fits")
    assert provenance["filterTransmission"] == str(tmp_path / "r.ecsv")
    assert len(provenance["filterTransmission digest"]) == 64


def test_a_curve_of_another_filter_is_told_before_the_run(isr, tmp_path: Path) -> None:
    attrs.evolve(TransmissionCurve([5000, 6000], [0.25, 0.75]), filter="g").write(tmp_path / "g.fits")
    status, _, err = isr(
        "run", write_raw(tmp_path / "raw.fits"), "-o", tmp_path / "out",
        "--filter-transmission", tmp_path / "g.fits", *NO_MASTERS,
    )  # fmt: skip
    assert status == 2
    assert "filterTransmission is of filter 'g', the exposure was taken through" in err
    assert not list((tmp_path / "out").glob("*.fits"))
