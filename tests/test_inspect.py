"""`isr inspect` as users call it: what it refuses, what it proposes, and that proposals work."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import isrcore_inspect
import isrcore_standard
from isrcore import CameraFile, Registry, load_camera_file, read_exposure
from tests.inspected_frames import Layout, write

REGISTRY = Registry({"standard": isrcore_standard, "inspect": isrcore_inspect})
LAYOUT = Layout((("data", 0), ("over", 0)), 80, 70, 10, 8, (400,), (1.5,))


def night(folder: Path, **cards: Any) -> list[Path]:
    """Two flats, a bias and a science frame of one amplifier with gain 1.5 and read noise 6 electron."""
    rng = np.random.default_rng(3)
    told = {"INSTRUME": "NEWCAM", "EXPTIME": 3.0, **cards}
    kinds = {"f1": ("FLAT", 15000), "f2": ("FLAT", 14000), "b": ("ZERO", 0), "s": ("OBJECT", 300)}
    return [
        write(folder / f"{name}.fits", LAYOUT.expose(level, 6.0, rng), **{"IMAGETYP": kind, **told})
        for name, (kind, level) in kinds.items()
    ]


def proposal_of(isr, *paths: Path) -> tuple[str, str]:
    status, text, told = isr("inspect", *paths)
    assert status == 0, told
    return text, told


def test_a_night_is_described_and_runs_from_the_proposal(isr, tmp_path):
    frames = night(tmp_path)
    text, told = proposal_of(isr, *frames)
    camera = load_camera_file(CameraFile(Path("p.toml"), text)).camera
    (amp,) = camera["ccd1"].amplifiers
    assert amp.raw_data_box.to_section() == "[1:80,1:70]"
    assert amp.serial_overscan_box.to_section() == "[81:90,1:70]"
    assert amp.parallel_overscan_box.to_section() == "[1:80,71:78]"
    # From a pair of flats of 620 pixels each: to some 6 percent.
    assert abs(amp.gain / 1.5 - 1) < 0.2
    assert abs(amp.read_noise / 6.0 - 1) < 0.2
    assert "header is wrong" not in told
    path = tmp_path / "new.toml"
    assert isr("inspect", *frames, "-o", path)[0] == 0
    off = [f"do{name}=false" for name in ("Bias", "Dark", "Flat", "Defect")]
    words = [word for one in off for word in ("-c", one)]
    status, _, told = isr("run", tmp_path / "s.fits", "--camera", path, "-o", tmp_path / "out", *words)
    assert status == 0, told
    image = read_exposure(tmp_path / "out" / "s_ccd1.fits").image
    # 300 electron at 1.5 electron/adu; the mean of 5600 pixels with noise of 12 adu is known to 0.2 adu.
    assert abs(image.mean() - 200) < 1


def test_right_cards_are_proposed_as_cards_and_wrong_ones_are_not(isr, tmp_path):
    right = {"DATASEC": "[1:80,1:70]", "BIASSEC": "[81:90,1:70]", "GAIN": 1.5, "RDNOISE": 6.0}
    (tmp_path / "r").mkdir()
    text, told = proposal_of(isr, *night(tmp_path / "r", **right))
    for key, card in (("raw_data_box", "DATASEC"), ("serial_overscan_box", "BIASSEC"), ("gain", "GAIN")):
        assert f'{key} = {{ card = "{card}", nominal = ' in text
    assert "header is wrong" not in told
    wrong = {"DATASEC": "[1:90,1:70]", "BIASSEC": "[1:9,1:70]", "GAIN": 0.67, "RDNOISE": 2.0}
    (tmp_path / "w").mkdir()
    text, told = proposal_of(isr, *night(tmp_path / "w", **wrong))
    assert told.count("header is wrong") == 4
    assert 'raw_data_box = "[1:80,1:70]"' in text
    assert "GAIN 0.67 is wrong" in text


def test_amplifiers_of_extensions_are_put_together(isr, tmp_path):
    rng, path = np.random.default_rng(5), tmp_path / "m.fits"
    hdus = fits.HDUList([fits.PrimaryHDU(header=fits.Header({"INSTRUME": "MOSAIC", "OBSTYPE": "flat"}))])
    for number, place in enumerate(("1:80", "160:81"), 1):
        header = fits.Header({"EXTNAME": f"im{number}", "DETSEC": f"[{place},1:70]", "CCDNAME": "W7"})
        hdus.append(fits.ImageHDU(LAYOUT.expose(20000, 6.0, rng), header))
    hdus.writeto(path)
    text, _ = proposal_of(isr, path)
    registry = REGISTRY.with_camera_file(CameraFile(tmp_path / "m.toml", text))
    (raw,) = registry.read_raw(path)
    assert raw.detector.name == "W7"
    assert raw.detector.shape == (70, 160)
    assert [amp.box.to_section() for amp in raw.detector.amplifiers] == ["[1:80,1:70]", "[81:160,1:70]"]
    assert [amp.flip_x for amp in raw.detector.amplifiers] == [False, True]


def test_a_bias_alone_tells_no_geometry(isr, tmp_path):
    frames = night(tmp_path)
    text, told = proposal_of(isr, frames[2])
    assert "no file shows light" in told
    assert "doOverscan = false  # check" in text


def test_the_output_is_never_overwritten_and_bad_files_are_named(isr, tmp_path):
    frames, output = night(tmp_path), tmp_path / "mine.toml"
    output.write_text("mine")
    status, _, told = isr("inspect", *frames, "-o", output)
    assert (status, output.read_text()) == (2, "mine")
    assert "is there already" in told
    table = tmp_path / "t.fits"
    fits.BinTableHDU.from_columns([fits.Column("a", "E", array=[1.0])]).writeto(table)
    blank = write(tmp_path / "blank.fits", np.full((20, 20), 7, np.uint16))
    text = tmp_path / "x.fits"
    text.write_text("no FITS")
    status, out, told = isr("inspect", table, blank, text)
    assert (status, out) == (1, "")
    assert "there is no image of two dimensions" in told
    assert "all pixels have one value" in told
    assert "is no FITS file" in told
    other = write(tmp_path / "o.fits", np.zeros((30, 30), np.uint16))
    status, _, told = isr("inspect", *frames, other)
    assert status == 0
    assert "inspect files of one read-out mode together" in told


def test_texts_of_headers_are_quoted(isr, tmp_path):
    frames = night(tmp_path, INSTRUME='a "b" \\c', OBJECT='12" arc')
    text, _ = proposal_of(isr, *frames)
    (condition,) = load_camera_file(CameraFile(Path("p.toml"), text)).recognise
    assert condition.values == ('a "b" \\c',)


@st.composite
def any_image(draw: st.DrawFn) -> Any:
    """Images of any kind of numbers and shape, with steps, spikes, NaN or nothing at all in them."""
    dtype = draw(st.sampled_from(["uint8", "uint16", "int16", "int32", "float32", "float64"]))
    shape = draw(st.tuples(st.integers(1, 40), st.integers(1, 40)))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    image = rng.normal(draw(st.sampled_from([0, 50, 40000])), draw(st.sampled_from([0, 1, 30])), shape)
    if draw(st.booleans()):
        image[:, shape[1] // 2 :] += draw(st.sampled_from([-50, 20, 9000]))
    if dtype.startswith("float") and draw(st.booleans()):
        image[0] = draw(st.sampled_from([np.nan, np.inf]))
    with np.errstate(all="ignore"):
        return image.astype(dtype)


CARDS = st.dictionaries(
    st.sampled_from(
        ["INSTRUME", "OBSTYPE", "OBJECT", "DATASEC", "BIASSEC", "GAIN", "EXPTIME", "EXTNAME", "FILTER"]
    ),
    st.one_of(st.text("ab\"'[]:,1#\\", max_size=12), st.integers(-5, 5), st.booleans(), st.floats(-1, 1)),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.filterwarnings("ignore")
@given(st.lists(st.tuples(any_image(), CARDS), min_size=1, max_size=2))
def test_no_file_makes_it_break_and_every_proposal_loads(isr, images):
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for number, (image, cards) in enumerate(images):
            header = fits.Header([card for card in cards.items() if card[0] != "EXTNAME"])
            paths.append(Path(folder) / f"{number}.fits")
            fits.PrimaryHDU(image, header).writeto(paths[-1])
        status, text, told = isr("inspect", *paths)
        assert status in (0, 1)
        assert told
        if status == 0:
            load_camera_file(CameraFile(Path("p.toml"), text))
