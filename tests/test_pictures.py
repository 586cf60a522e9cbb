"""Pictures: what they keep of the pixels, and what they say about them."""

from __future__ import annotations

import base64
import io
import math
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import isrcore_simulated
import isrcore_standard
from isrcore import (
    Config,
    ConfigError,
    Detector,
    Exposure,
    IsrTask,
    MaskedImage,
    MaskPlaneError,
    PictureStyle,
    Registry,
    TaskError,
    VisitInfo,
    default_config,
    draw_exposure,
    draw_focal_plane,
    write_png,
)
from isrcore.pictures import COLOURS, GAP, NOT_FINITE, Scale, average
from isrcore.testing import strategies
from isrcore.testing.contracts import check_same
from isrcore_simulated import CAMERA

REGISTRY = Registry({"simulated": isrcore_simulated, "standard": isrcore_standard})
PLAIN = PictureStyle(limits=(0.0, 100.0), stretch="linear")


def exposure_of(
    image: Any, flags: dict[str, Any] | None = None, detector: Detector | None = None, **more: Any
) -> Exposure:
    """An assembled exposure with the pixels of each plane flagged: {"SAT": index}."""
    pixels = MaskedImage.from_image(np.asarray(image, np.float32))
    for name, where in (flags or {}).items():
        pixels.mask[where] |= np.int32(pixels.planes.value(name))
    owner = detector or Detector.of_shape(pixels.shape)
    return Exposure(pixels, owner, facts=frozenset({"assembled", "converted"}), **more)


def opened(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)))


@given(
    st.tuples(st.integers(1, 13), st.integers(1, 13)), st.integers(1, 15), st.integers(0, 9), st.booleans()
)
def test_squares_hold_the_mean_of_their_pixels(
    shape: tuple[int, int], factor: int, seed: int, is_raw: bool
) -> None:
    rng = np.random.default_rng(seed)
    plane: np.ndarray = rng.integers(0, 60000, shape).astype(np.uint16 if is_raw else np.float32)
    if not is_raw:
        plane[rng.random(shape) < 0.05] = rng.choice([np.nan, np.inf, -np.inf])
    means = average(plane, factor)
    assert means.dtype == np.float32
    for y, x in np.ndindex(*means.shape):
        part = plane[y * factor : (y + 1) * factor, x * factor : (x + 1) * factor].astype(float)
        wanted = part.mean() if np.isfinite(part).all() else np.nan
        np.testing.assert_allclose(means[y, x], wanted, rtol=1e-6)


@given(st.integers(0, 99), st.booleans(), st.booleans(), st.sampled_from([1, 2, 3]))
def test_the_picture_of_a_flipped_image_is_the_flipped_picture(
    seed: int, flip_y: bool, flip_x: bool, factor: int
) -> None:
    rng = np.random.default_rng(seed)
    shape = 16 * factor, 11 * factor
    # Whole numbers: their sums do not depend on the order.
    image = rng.integers(-50, 5000, shape)
    flags = {name: rng.random(shape) < 0.05 for name in ("BAD", "SAT", "INTRP")}
    exposure = exposure_of(image, flags)
    picture = draw_exposure(exposure, PictureStyle(size=16))
    assert picture.pixels.shape == (16, 11, 3)
    exposure.pixels = exposure.pixels.flip(flip_y, flip_x)
    turned = draw_exposure(exposure, PictureStyle(size=16))
    there = picture.pixels[:: -1 if flip_y else 1, :: -1 if flip_x else 1]
    np.testing.assert_array_equal(turned.pixels, there)
    assert (turned.low, turned.high, turned.legend) == (picture.low, picture.high, picture.legend)


@given(st.integers(0, 99), st.sampled_from(["asinh", "linear", "log"]))
def test_only_flagged_pixels_get_a_colour(seed: int, stretch: str) -> None:
    rng = np.random.default_rng(seed)
    flags = {name: rng.random((20, 30)) < 0.1 for name in ("BAD", "EDGE")}
    exposure = exposure_of(rng.normal(100, 10, (20, 30)), flags)
    style = PictureStyle(stretch=stretch, size=30)
    covered = draw_exposure(exposure, style).pixels
    bare = draw_exposure(exposure, attrs.evolve(style, planes=())).pixels
    assert np.ptp(bare, axis=2).max() == 0
    np.testing.assert_array_equal(np.ptp(covered, axis=2) > 0, flags["BAD"] | flags["EDGE"])
    np.testing.assert_array_equal(
        covered[~(flags["BAD"] | flags["EDGE"])], bare[~(flags["BAD"] | flags["EDGE"])]
    )


@given(
    st.lists(st.floats(-1e6, 1e6, width=32), min_size=2, max_size=30).map(sorted),
    st.sampled_from(["asinh", "linear", "log"]),
    st.booleans(),
)
def test_more_is_never_darker(values: list[float], stretch: str, is_given: bool) -> None:
    numbers = np.float32(values)
    style = PictureStyle(stretch=stretch, limits=(-20.0, 3000.0) if is_given else None)
    scale = Scale.fit(numbers, style)
    assert (np.diff(scale(numbers).astype(int)) >= 0).all()
    assert scale(np.array([scale.low, scale.high])).tolist() == [0, 255]
    if is_given:
        assert (scale.low, scale.high) == (-20, 3000)


def test_one_flagged_pixel_colours_its_square_and_counts_once() -> None:
    exposure = exposure_of(np.full((40, 60), 50.0), {"CR": (17, 33)})
    picture = draw_exposure(exposure, attrs.evolve(PLAIN, size=20))
    coloured = np.argwhere(np.ptp(picture.pixels, axis=2) > 0)
    assert coloured.tolist() == [[17 // 3, 33 // 3]]
    assert picture.legend == {"CR": (COLOURS["CR"], 1)}
    assert picture.total == 2400


def test_a_plane_without_a_fault_is_drawn_on_request() -> None:
    exposure = exposure_of(np.full((16, 16), 50.0), {"INTRP": (1, 1), "DETECTED": (2, 2), "SAT": (3, 3)})
    assert list(draw_exposure(exposure, PLAIN).legend) == ["SAT"]
    assert list(draw_exposure(exposure, attrs.evolve(PLAIN, planes=("INTRP", "BAD"))).legend) == [
        "BAD",
        "INTRP",
    ]
    with pytest.raises(MaskPlaneError, match="no plane 'RAIN'; it has BAD"):
        draw_exposure(exposure, attrs.evolve(PLAIN, planes=("RAIN",)))


def test_a_pixel_of_two_planes_shows_both() -> None:
    white = exposure_of(np.full((16, 16), 100.0), {"BAD": (slice(0, 2), 0), "SAT": (slice(1, 3), 0)})
    pixels = draw_exposure(white, PLAIN).pixels[:, 0].tolist()
    assert [tuple(pixel) for pixel in pixels[:4]] == [
        COLOURS["BAD"],
        tuple(round((a + b) / 2) for a, b in zip(COLOURS["BAD"], COLOURS["SAT"], strict=True)),
        COLOURS["SAT"],
        (255, 255, 255),
    ]


def test_planes_of_other_peoples_steps_have_colours_of_their_own() -> None:
    exposure = exposure_of(np.zeros((16, 16)))
    exposure.pixels = exposure.pixels.with_planes(exposure.planes.with_planes(["GHOST", "HAZE"]))
    for row, name in enumerate(("GHOST", "HAZE", "BAD")):
        exposure.mask[row] |= np.int32(exposure.planes.value(name))
    colours = [colour for colour, _ in draw_exposure(exposure).legend.values()]
    assert len({*colours, NOT_FINITE, GAP}) == 5


def test_pixels_that_are_not_finite_are_magenta_and_told() -> None:
    image = np.full((16, 16), 50.0)
    image[2, 3], image[4, 5] = np.nan, np.inf
    picture = draw_exposure(exposure_of(image), PLAIN)
    magenta = np.argwhere((picture.pixels == NOT_FINITE).all(axis=2))
    assert magenta.tolist() == [[2, 3], [4, 5]]
    assert picture.legend == {"not finite": (NOT_FINITE, 2)}


def test_flagged_pixels_do_not_choose_the_contrast() -> None:
    rng = np.random.default_rng(1)
    image = rng.normal(1000, 5, (100, 100))
    clean = draw_exposure(exposure_of(image), PictureStyle(stretch="linear"))
    image[:, :40] = 60000
    flagged = draw_exposure(
        exposure_of(image, {"BAD": (slice(None), slice(40))}), PictureStyle(stretch="linear")
    )
    assert flagged.high < 1100
    assert abs(flagged.low - clean.low) < 5


def test_stars_reach_beyond_the_sky_unless_it_is_linear() -> None:
    image = np.random.default_rng(1).normal(1000, 5, (100, 100))
    image[50:53, 50:53] = 30000
    linear = draw_exposure(exposure_of(image), PictureStyle(stretch="linear"))
    asinh = draw_exposure(exposure_of(image))
    assert linear.high < 1050 < asinh.high
    assert asinh.low == linear.low


@pytest.mark.parametrize("value", [7.0, -3e30, 0.0, np.nan])
def test_an_image_of_one_value_has_a_picture(value: float) -> None:
    picture = draw_exposure(exposure_of(np.full((20, 20), value)))
    assert picture.low < picture.high
    assert picture.to_rgb().dtype == np.uint8


def test_variance_and_mask_have_pictures_too() -> None:
    exposure = exposure_of(np.zeros((16, 16)), {"SAT": (0, slice(8))})
    exposure.variance[...] = np.arange(16) ** 2
    variance = draw_exposure(exposure, PictureStyle(shown="variance", planes=(), stretch="linear"))
    assert variance.limits.endswith(" adu^2")
    greys = variance.pixels[3, :, 0].astype(int)
    assert (np.diff(greys) >= 0).all()
    assert (greys[0], greys[-1]) == (0, 255)
    mask = draw_exposure(exposure, PictureStyle(shown="mask"))
    assert mask.pixels[0, 0].tolist() == list(COLOURS["SAT"])
    assert mask.pixels[1:].max() == 0
    assert mask.limits == "mask planes"


@pytest.mark.parametrize(
    "wrong",
    [{"limits": (5.0, 5.0)}, {"limits": (0.0, math.nan)}, {"shown": "sky"}, {"stretch": "sqrt"}, {"size": 3}],
)
def test_a_style_that_means_nothing_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        PictureStyle(**wrong)


@given(st.data())
def test_a_trimmed_raw_frame_lies_as_the_detector_without_its_pedestals(data: st.DataObject) -> None:
    detector = data.draw(strategies.detectors(has_overscan=True))
    raw = np.zeros(detector.raw_shape, np.uint16)
    truth = data.draw(strategies.generators()).integers(0, 5000, detector.shape)
    for number, amp in enumerate(detector.amplifiers):
        raw[amp.raw_box.slices] = 1000 + 300 * number
        turned = truth[amp.box.slices][:: -1 if amp.flip_y else 1, :: -1 if amp.flip_x else 1]
        raw[amp.raw_data_box.slices] += turned.astype(np.uint16)
    exposure = Exposure(MaskedImage.from_raw(raw), detector)
    style = PictureStyle(limits=(0.0, 5000.0), is_trimmed=True)
    drawn = draw_exposure(exposure, style).pixels
    np.testing.assert_array_equal(drawn, draw_exposure(exposure_of(truth), style).pixels)
    if len(detector.amplifiers) > 1:
        levels = draw_exposure(exposure, attrs.evolve(style, keeps_levels=True)).pixels
        assert (levels >= drawn).all()
        assert (levels > drawn).any()
    assert draw_exposure(exposure, PictureStyle()).pixels.shape[:2] == detector.raw_shape


@st.composite
def mosaics(draw: st.DrawFn) -> list[Detector]:
    """Up to nine detectors on a grid wider than any of them, each turned as it likes."""
    count = draw(st.integers(2, 9))
    shape = draw(st.tuples(st.integers(20, 60), st.integers(20, 60)))
    pitch = draw(st.sampled_from([0.0135, 0.1, 2.0]))
    return [
        attrs.evolve(
            Detector.of_shape(shape),
            name=f"ccd{number}",
            id=number,
            pixel_size_mm=pitch,
            reference_pixel=draw(st.tuples(st.floats(0, 60), st.floats(0, 60))),
            offset_mm=(200 * pitch * (number % 3), 200 * pitch * (number // 3)),
            yaw_deg=draw(st.sampled_from([0.0, 90.0, 180.0, 270.0, -90.0, 180.3])),
        )
        for number in range(count)
    ]


def focal_plane_of(detector: Detector, y: float, x: float) -> complex:
    """Where a pixel is, in pixels: the real part to the right, the imaginary part up."""
    turn = 1j ** round(detector.yaw_deg / 90)
    ref_x, ref_y = detector.reference_pixel
    return complex(*detector.offset_mm) / detector.pixel_size_mm + turn * complex(x - ref_x, y - ref_y)


@given(mosaics(), st.integers(60, 900))
def test_every_detector_lies_where_the_focal_plane_says(detectors: list[Detector], size: int) -> None:
    corners = [
        focal_plane_of(d, y, x) for d in detectors for y in (0, d.shape[0] - 1) for x in (0, d.shape[1] - 1)
    ]
    left, low = min(p.real for p in corners), min(p.imag for p in corners)
    extent = max(max(p.real for p in corners) - left, max(p.imag for p in corners) - low) + 1
    factor = math.ceil(round(extent, 6) / (size - 1))
    image = np.zeros(detectors[0].shape)
    image[0, 0] = 1000 * factor**2
    style = PictureStyle(limits=(0.0, 1.0), stretch="linear", size=size)
    for chosen in detectors:
        frames = (exposure_of(image if d is chosen else 0 * image, detector=d) for d in detectors)
        picture = draw_focal_plane(detectors, frames, style)
        assert max(picture.pixels.shape) <= size
        (spot,) = np.argwhere((picture.pixels == 255).all(axis=2))
        place = focal_plane_of(chosen, 0, 0)
        # One square for where a detector begins, one for where its squares do.
        assert abs(spot[1] - (place.real - left) / factor) <= 2
        assert abs(spot[0] - (place.imag - low) / factor) <= 2
        if factor == 1 and all(d.reference_pixel == (0, 0) for d in detectors):
            assert spot.tolist() == [round(place.imag - low), round(place.real - left)]


def test_two_detectors_side_by_side_with_a_gap() -> None:
    left = attrs.evolve(Detector.of_shape((20, 30)), name="left", pixel_size_mm=1.0)
    right = attrs.evolve(
        left, name="right", id=1, offset_mm=(40.0, 5.0), yaw_deg=180.0, reference_pixel=(29, 19)
    )
    image = np.zeros((20, 30))
    image[0, 0] = 100
    frames = [exposure_of(image, {"SAT": (3, 4)}, detector) for detector in (left, right)]
    picture = draw_focal_plane([left, right], frames, PLAIN)
    assert picture.pixels.shape == (25, 70, 3)
    assert picture.pixels[0, 0].tolist() == [255] * 3
    assert picture.pixels[24, 69].tolist() == [255] * 3
    assert {tuple(pixel) for pixel in picture.pixels[:, 30:40].reshape(-1, 3).tolist()} == {GAP}
    assert [name.text for name in picture.names] == ["left", "right"]
    assert (picture.legend["SAT"][1], picture.total) == (2, 1200)


def test_detectors_without_places_stand_in_a_row_and_missing_ones_stay_dark() -> None:
    two = [attrs.evolve(Detector.of_shape((20, 30)), name=name, id=n) for n, name in enumerate("ab")]
    frame = exposure_of(np.full((20, 30), 100.0), detector=two[1])
    picture = draw_focal_plane(two, iter([frame]), PLAIN)
    assert picture.pixels[0, 0].tolist() == list(GAP)
    assert picture.pixels[0, -1].tolist() == [255] * 3
    with pytest.raises(LookupError, match="not among detectors a"):
        draw_focal_plane(two[:1], [frame])


def test_detectors_are_taken_one_at_a_time() -> None:
    """Nine frames of 4 MB: the picture may need two of them and its own pixels."""
    shape = (1000, 1000)
    detectors = [attrs.evolve(Detector.of_shape(shape), name=f"ccd{n}", id=n) for n in range(9)]
    frames = (exposure_of(np.zeros(shape, np.float32), detector=detector) for detector in detectors)
    tracemalloc.start()
    try:
        draw_focal_plane(detectors, frames, PictureStyle(size=100))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # A frame is image, mask and variance: 12 MB; the loop may hold two while it goes on to the next.
    assert peak < 30e6


def test_an_image_file_has_the_top_row_first(tmp_path: Path) -> None:
    image = np.zeros((600, 500))
    image[599, 0] = 100
    picture = draw_exposure(exposure_of(image), attrs.evolve(PLAIN, size=600))
    picture.write(tmp_path / "a.png")
    page = np.asarray(Image.open(tmp_path / "a.png"))
    np.testing.assert_array_equal(page, picture.to_rgb())
    np.testing.assert_array_equal(page, opened(picture._repr_png_()))
    black = np.flatnonzero((page[:, 0] == 0).all(axis=1))
    above = page[black[0] - 1, 0]
    assert above.tolist() == [255] * 3
    assert len(black) == 599


@given(st.integers(16, 40), st.text(max_size=300) | st.text("Wm1 ", max_size=300))
def test_no_label_is_cut(width: int, title: str) -> None:
    names = [*COLOURS, "A_PLANE_WITH_AN_EXTRAORDINARILY_LONG_NAME"]
    exposure = exposure_of(np.zeros((40, width)))
    exposure.pixels = exposure.pixels.with_planes(exposure.planes.with_planes(names))
    for column, name in enumerate(names):
        exposure.mask[:, column] = exposure.planes.value(name)
    page = draw_exposure(exposure, PictureStyle(size=400), title or "x").to_rgb()
    # The picture is narrower than the page: all that reaches its sides would be text.
    assert page.shape[1] == 480
    paper = page[-1, -1]
    assert (page[:, [0, 1, -2, -1]] == paper).all()
    assert (page[-3:] == paper).all()
    assert (page[:3, :40] == paper).all()


def test_a_title_says_what_is_shown() -> None:
    visit = VisitInfo(exposure_s=60.0, filter="r", object_name="M 31", observation_type="science")
    two = [attrs.evolve(Detector.of_shape((20, 30)), name=name, id=n) for n, name in enumerate("ab")]
    frames = [
        exposure_of(
            np.zeros((20, 30)), detector=own, visit=visit, camera="Cam", source=f"out/x_{own.name}.fits"
        )
        for own in two
    ]
    assert draw_exposure(frames[0]).title == "x_a.fits, Cam a, M 31 science r 60 s"
    assert draw_exposure(exposure_of(np.zeros((20, 30)))).title == "unnamed"
    assert draw_exposure(frames[0], PictureStyle(size=16), "own").title == "own, means of 2 x 2 pixels"
    assert draw_focal_plane(two, frames).title == "x.fits, 2 detectors of Cam, M 31 science r 60 s"


def test_a_title_longer_than_the_page_goes_on_below() -> None:
    frame = exposure_of(np.zeros((20, 30)))
    short, long = (draw_exposure(frame, PLAIN, "W" * count).to_rgb() for count in (1, 300))
    assert long.shape[0] > short.shape[0] + 3 * 20


def test_a_small_image_is_enlarged_by_whole_pixels() -> None:
    image = np.arange(20 * 30).reshape(20, 30)
    picture = draw_exposure(exposure_of(image), PictureStyle(size=640))
    assert picture.zoom == 21
    inside = picture.to_rgb()
    assert inside.shape[1] == 630
    assert picture.pixels.shape == (20, 30, 3)


def test_a_png_exists_complete_or_not_at_all(tmp_path: Path) -> None:
    rgb = np.random.default_rng(1).integers(0, 255, (5, 7, 3)).astype(np.uint8)
    write_png(tmp_path / "a.png", rgb)
    # Whoever has the old picture open keeps it: a new file takes its name, nothing is written into it.
    (tmp_path / "held.png").hardlink_to(tmp_path / "a.png")
    write_png(tmp_path / "a.png", rgb[::-1])
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "held.png")), rgb)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), rgb[::-1])
    with pytest.raises(OSError, match="No such file"):
        write_png(tmp_path / "none" / "a.png", rgb)
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_png(tmp_path / "folder.png", rgb)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "folder.png", "held.png"]


def test_importing_isrcore_does_not_import_what_draws() -> None:
    code = "import sys, isrcore; sys.exit('PIL' in sys.modules or 'astropy.visualization' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_notebook_shows_a_picture_and_escaped_facts() -> None:
    visit = VisitInfo(exposure_s=60.0, filter="r<sup>", object_name="<script>alert(1)</script>")
    exposure = exposure_of(
        np.zeros((20, 30)), {"SAT": (0, 0)}, visit=visit, camera="Cam&era", source="a.fits"
    )
    html = exposure._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;alert(1)" in html
    for text in ("Cam&amp;era unnamed", "20 x 30 float32", "adu", "60 s", "r&lt;sup&gt;", "a.fits"):
        assert text in html
    png = base64.b64decode(html.partition("base64,")[2].partition('"')[0])
    assert opened(png).ndim == 3


def test_a_notebook_reads_only_a_part_of_a_large_image() -> None:
    """A hundred million pixels that take no memory."""
    shape = 10_000, 10_000
    planes = (np.broadcast_to(kind(1), shape) for kind in (np.float32, np.int32, np.float32))
    exposure = Exposure(MaskedImage(*planes), Detector.of_shape(shape))
    tracemalloc.start()
    try:
        assert "10000 x 10000" in exposure._repr_html_()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 40e6


def test_an_exposure_prints_as_two_lines() -> None:
    exposure = exposure_of(np.zeros((20, 30)), camera="Cam", source="a.fits")
    assert repr(exposure) == (
        "<Exposure Cam unnamed: 20 x 30 float32 in adu, a.fits\n  assembled, converted>"
    )


def raw_exposure() -> Exposure:
    detector = CAMERA["sim0"]
    image = np.random.default_rng(1).integers(1000, 1100, detector.raw_shape).astype(np.uint16)
    return Exposure(MaskedImage.from_raw(image), detector, "simulated", source="night/one.fits.fz[sim0]")


def config_of(steps: list[str], folder: Path) -> Config:
    config = default_config(REGISTRY, "simulated")
    config.doBias = config.doDark = config.doFlat = config.expectWcs = False
    config.debug.steps, config.debug.folder = steps, str(folder)
    return config


def test_debug_views_show_steps_and_change_nothing(tmp_path: Path) -> None:
    steps = ["overscan", "doAssembleCcd", "doFringe", "postISRCCD"]
    task = IsrTask(config_of(steps, tmp_path / "views"), camera="simulated", registry=REGISTRY)
    plain = IsrTask(config_of([], tmp_path / "none"), camera="simulated", registry=REGISTRY)
    seen, alone = (each.run(raw_exposure()).exposure for each in (task, plain))
    check_same(seen.pixels, alone.pixels)
    assert sorted(path.name for path in (tmp_path / "views").iterdir()) == [
        "one_sim0_assembly.png",
        "one_sim0_overscan.png",
        "one_sim0_postISRCCD.png",
    ]
    assert not (tmp_path / "none").exists()
    page = np.asarray(Image.open(tmp_path / "views" / "one_sim0_overscan.png"))
    assert page.size > np.prod(CAMERA["sim0"].raw_shape)


def test_a_debug_view_can_be_asked_for(tmp_path: Path) -> None:
    task = IsrTask(config_of(["doFlat"], tmp_path), camera="simulated", registry=REGISTRY)
    exposure = raw_exposure()
    task.debugView(exposure, "doBias")
    assert list(tmp_path.iterdir()) == []
    task.debugView(exposure, "flat")
    task.debugView(exposure, "doFlat")
    assert [path.name for path in tmp_path.iterdir()] == ["one_sim0_flat.png"]


def test_a_debug_view_without_folder_opens_a_window(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str | None] = []
    monkeypatch.setattr(Image.Image, "show", lambda _, title=None: shown.append(title))
    config = config_of(["postISRCCD"], tmp_path)
    config.debug.folder = ""
    IsrTask(config, camera="simulated", registry=REGISTRY).run(raw_exposure())
    assert shown == ["one_sim0_postISRCCD.png"]


def test_debug_settings_that_cannot_work_are_told(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"'debug.steps' names 'dosBias', which is no step; steps are .*bias"
    ):
        IsrTask(config_of(["dosBias"], tmp_path), camera="simulated", registry=REGISTRY)
    (tmp_path / "file").write_text("")
    task = IsrTask(config_of(["bias"], tmp_path / "file"), camera="simulated", registry=REGISTRY)
    with pytest.raises(TaskError, match=r"after 'doBias' cannot be shown: .*\n  correct debug.folder"):
        task.debugView(raw_exposure(), "doBias")
