"""How products were made: shown, compared, and done again, through the command line."""

from __future__ import annotations

import shutil
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isrcore import Registry, read_exposure, write_exposure
from isrcore.cli.main import main
from isrcore.fits import read_config, read_provenance
from isrcore.origins import Origins
from isrcore_simulated.night import write_night

REGISTRY = Registry.discover()
SETTINGS = ["-c", "doDark=false", "doFlat=false"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A night, a master bias and two products."""
    folder = tmp_path_factory.mktemp("made")
    write_night(REGISTRY.camera("simulated"), folder / "night")
    assert quietly("calibrate", "bias", *biases(folder), "-o", folder / "masters") == 0
    assert correct(folder, "products") == 0
    return folder


def biases(folder: Path) -> list[Path]:
    return sorted((folder / "night").glob("bias*.fits"))


def quietly(*words: object) -> int:
    """Run a command whose table is not looked at."""
    with redirect_stdout(StringIO()):
        return main([str(word) for word in words], REGISTRY)


def correct(folder: Path, output: str, *more: str) -> int:
    """Correct one detector of a science frame."""
    words = ["run", folder / "night/science1.fits", "--detectors", "sim0", "--bias", folder / "masters"]
    return quietly(*words, *SETTINGS, *more, "-o", folder / output)


@pytest.fixture
def own(made: Path, tmp_path: Path) -> Path:
    """A copy whose files may be changed; it says where its inputs are, which is elsewhere."""
    return Path(shutil.copytree(made, tmp_path / "own"))


def product(folder: Path, output: str = "products") -> Path:
    return folder / output / "science1_sim0.fits"


def rewritten(path: Path, change: Any = lambda exposure: None) -> None:
    """Write a file again, changed."""
    exposure, told = read_exposure(path), read_provenance(path)
    change(exposure)
    write_exposure(exposure, path, overwrite=True, config_text=read_config(path), provenance=told)


def brighten(exposure: Any) -> None:
    exposure.image[3, 4] += 1


def test_why_tells_inputs_masters_settings_and_steps(isr: Any, made: Path) -> None:
    status, out, _ = isr("why", product(made))
    assert status == 0
    assert f"raw: {made}/night/science1.fits" in out
    assert f"bias: {made}/masters/bias_sim0.fits" in out
    assert "5 raw files" in out
    assert out.count("as it was") == 7
    assert "doDark = false (command line: -c doDark=false)" in out
    assert "doDefect = false (camera: simulated)" in out
    assert "overscan, assembly, bias" in out


def test_why_tells_what_is_gone_and_what_changed(isr: Any, own: Path) -> None:
    correct(own, "again")
    (own / "night/science1.fits").unlink()
    rewritten(own / "masters/bias_sim0.fits", brighten)
    _, out, _ = isr("why", product(own, "again"))
    raw, bias = (next(line for line in out.splitlines() if f"{kind}: " in line) for kind in ("raw", "bias"))
    assert raw.endswith("gone")
    assert bias.endswith("changed")


def test_a_product_made_again_is_the_same_to_the_bit(isr: Any, made: Path) -> None:
    before = product(made).read_bytes()
    status, out, _ = isr("replay", product(made))
    assert (status, out.strip()) == (0, f"{product(made)}: bit-identical")
    assert product(made).read_bytes() == before


def test_a_product_that_was_changed_is_not_the_same(isr: Any, own: Path) -> None:
    rewritten(product(own), brighten)
    status, out, _ = isr("replay", product(own))
    assert status == 1
    assert "differs" in out
    assert "image: 1 of 7680 pixels; most at (x 4, y 3, amplifier A)" in out


def test_inputs_that_changed_or_are_gone_stop_a_replay(isr: Any, own: Path) -> None:
    correct(own, "again")
    rewritten(own / "masters/bias_sim0.fits", brighten)
    (own / "night/science1.fits").rename(own / "science1.fits")
    status, out, err = isr("replay", product(own, "again"))
    assert (status, out) == (2, "")
    assert "science1.fits' is gone; say with --inputs FOLDER" in err
    assert "bias_sim0.fits' is not what went in" in err


def test_inputs_are_looked_for_elsewhere(isr: Any, own: Path, made: Path) -> None:
    correct(own, "again")
    (own / "night").rename(own / "archive")
    assert isr("replay", product(own, "again"))[0] == 2
    assert isr("replay", product(own, "again"), "--inputs", own / "archive")[0] == 0


def test_inputs_elsewhere_may_have_other_names(isr: Any, own: Path) -> None:
    correct(own, "again")
    (own / "archive").mkdir()
    (own / "night/science1.fits").rename(own / "archive/0001.fits")
    assert isr("replay", product(own, "again"), "--inputs", own / "archive")[0] == 0


def test_a_master_knows_the_masters_that_corrected_its_inputs(isr: Any, own: Path) -> None:
    darks = sorted((own / "night").glob("dark*.fits"))
    assert quietly("calibrate", "dark", *darks, "--bias", own / "masters", "-o", own / "darks") == 0
    _, out, _ = isr("why", own / "darks/dark_sim0.fits")
    assert next(line for line in out.splitlines() if "bias: " in line).endswith("as it was")
    rewritten(own / "masters/bias_sim0.fits", brighten)
    _, out, _ = isr("why", own / "darks/dark_sim0.fits")
    assert next(line for line in out.splitlines() if "bias: " in line).endswith("changed")


@pytest.mark.parametrize("name", ["bias_sim0", "flat_sim1"])
def test_a_master_made_again_is_the_same_to_the_bit(isr: Any, own: Path, name: str) -> None:
    flats = sorted((own / "night").glob("flat*.fits"))
    assert quietly("calibrate", "flat", *flats, "--bias", own / "masters", "-c", "doDark=false",
                   "--combine", "median", "-o", own / "masters") == 0  # fmt: skip
    master = own / f"masters/{name}.fits"
    status, out, err = isr("replay", master)
    assert (status, out.strip(), err) == (0, f"{master}: bit-identical", "")


def test_a_master_that_was_changed_is_not_the_same(isr: Any, own: Path) -> None:
    rewritten(own / "masters/bias_sim0.fits", brighten)
    status, out, _ = isr("replay", own / "masters/bias_sim0.fits")
    assert (status, "image: 1 of 7680 pixels" in out) == (1, True)


def test_a_master_that_does_not_say_by_which_command_is_not_made_again(isr: Any, own: Path) -> None:
    master = own / "masters/bias_sim0.fits"
    told = {key: text for key, text in read_provenance(master).items() if key != "command"}
    write_exposure(
        read_exposure(master), master, overwrite=True, config_text=read_config(master), provenance=told
    )
    status, _, err = isr("replay", master)
    assert status == 2
    assert "made of 5 raw files and does not say by which command" in err


def test_a_product_does_not_differ_from_itself(isr: Any, made: Path) -> None:
    status, out, _ = isr("diff", product(made), product(made))
    assert status == 0
    assert [line.split(": ")[1] for line in out.splitlines()] == ["the same"] * 4


@pytest.mark.parametrize("setting", ["overscan.fitType=MEAN", "interpolation.fwhm=2"])
def test_a_setting_that_differs_is_named_with_who_set_it(isr: Any, own: Path, setting: str) -> None:
    name = setting.partition("=")[0]
    correct(own, "other", "-c", setting)
    correct(own, "again")
    _, out, _ = isr("diff", product(own, "again"), product(own, "other"))
    lines = out[out.index("configuration:") : out.index("made by")].splitlines()[1:]
    (line,) = lines
    assert line.strip().startswith(f"{name}: ")
    assert "(default) here" in line
    assert f"(command line: -c {setting}) there" in line
    # The other way round it is the same difference.
    _, back, _ = isr("diff", product(own, "other"), product(own, "again"))
    names, others = ([line.split(":")[0] for line in text.splitlines()] for text in (out, back))
    assert names == others


def test_masters_that_differ_are_followed_to_their_inputs(isr: Any, own: Path) -> None:
    correct(own, "again")
    assert quietly("calibrate", "bias", *biases(own)[:4], "-o", own / "fewer") == 0
    words = ["run", own / "night/science1.fits", "--detectors", "sim0", "--bias", own / "fewer"]
    assert quietly(*words, *SETTINGS, "-o", own / "other") == 0
    status, out, _ = isr("diff", product(own, "again"), product(own, "other"))
    assert status == 1
    lines = out.splitlines()
    assert f"bias: {own}/masters/bias_sim0.fits" in lines[1]
    assert "bias5.fits" in lines[2]
    assert lines[2].index("bias5.fits") < lines[2].index(" here, ")
    assert "image: " in out


def test_what_is_no_product_cannot_be_compared(isr: Any, made: Path) -> None:
    status, _, err = isr("diff", product(made), made / "night/science1.fits")
    assert status == 2
    assert "cannot compare" in err


def test_negative_zero_and_nan_are_pixels_too(isr: Any, own: Path) -> None:
    def change(exposure: Any) -> None:
        exposure.image[0, :3] = 0.0, np.nan, 1.0

    def other(exposure: Any) -> None:
        exposure.image[0, :3] = -0.0, np.nan, 1.0

    two = own / "two.fits"
    shutil.copy(product(own), two)
    rewritten(product(own), change)
    rewritten(two, other)
    _, out, _ = isr("diff", product(own), two)
    assert "image: 1 of 7680 pixels" in out


def test_settings_are_read_back(made: Path) -> None:
    found = Origins.read(product(made))
    assert [one.kind for one in found.inputs] == ["raw", "bias"]
    assert found.settings["doFlat"] == "false (command line: -c doFlat=false)"
    assert found.config["overscan.fitType"] == "MEDIAN"
    assert found.version
