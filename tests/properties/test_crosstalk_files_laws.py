"""Laws of files of crosstalk coefficients: what is written is read, and never the wrong way round."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import attrs
import numpy as np
import pytest
from astropy.io import fits
from hypothesis import example, given
from hypothesis import strategies as st

from isrcore import Amplifier, Box, Crosstalk, CrosstalkError, CrosstalkMatrix, Detector
from isrcore.crosstalk import ORIENTATIONS, ROW_AFFECTED, ROW_SOURCE
from isrcore.testing.crosstalk import crosstalk_tables


def row_of(names):
    """A detector of amplifiers side by side."""
    boxes = [Box(0, 2, 3 * i, 3 * i + 3) for i in range(len(names))]
    shape = (2, 3 * len(names))
    amps = tuple(Amplifier(name, box, box, box) for name, box in zip(names, boxes, strict=True))
    return Detector("ccd0", 0, shape, shape, amps)


def odd(name):
    """A table of one amplifier."""
    return Crosstalk(CrosstalkMatrix([name], [name], [[0]]))


@example(odd(" 0"), ".ecsv")
@example(odd("#1"), ".ecsv")
@example(odd("\"'"), ".ecsv")
@given(crosstalk_tables(), st.sampled_from([".toml", ".ecsv", ".fits"]))
def test_what_is_written_is_read(table, suffix):
    with TemporaryDirectory() as folder:
        path = Path(folder, f"any{suffix}")
        table.write(path)
        assert Crosstalk.read(path, table.detector_name) == table
        assert [p.name for p in Path(folder).iterdir()] == [path.name]


@given(crosstalk_tables(), st.sampled_from([".toml", ".ecsv", ".fits"]))
def test_a_table_of_another_detector_is_refused(table, suffix):
    with TemporaryDirectory() as folder:
        path = Path(folder, f"any{suffix}")
        attrs.evolve(table, detector_name="mine").write(path)
        assert Crosstalk.read(path, "MINE").matrix == table.matrix
        with pytest.raises(CrosstalkError, match="they are of detector 'mine', not of 'other'"):
            Crosstalk.read(path, "other")


@given(crosstalk_tables())
def test_a_matrix_may_be_written_either_way_round(table):
    own = table.matrix
    arrays = own.linear, own.quadratic, own.is_valid
    for orientation, (linear, quadratic, valid) in zip(
        ORIENTATIONS, (arrays, [a.T for a in arrays]), strict=True
    ):
        found = CrosstalkMatrix.from_rows(
            own.affected, own.sources, linear, orientation=orientation, quadratic=quadratic, is_valid=valid
        )
        assert found == own


@given(crosstalk_tables(), st.data())
def test_amplifiers_are_known_by_name_whatever_their_order(table, data):
    names = data.draw(st.permutations(table.matrix.affected))
    found = table.for_detector(row_of(names)) if table.detector_name in ("", "ccd0") else None
    if found is not None:
        for i, affected in enumerate(names):
            for j, source in enumerate(names):
                place = table.matrix.affected.index(affected), table.matrix.sources.index(source)
                assert found.matrix.linear[i, j] == table.matrix.linear[place]


@given(crosstalk_tables())
def test_unknown_coefficients_are_zero(table):
    for matrix in (table.matrix, *table.others.values()):
        assert not matrix.is_coupled[~matrix.is_valid].any()


TOML = """
unit = "adu"
orientation = "{}"
amplifiers = ["A", "B"]
linear = [[0.0, 1e-3], [0.0, 0.0]]
"""


@pytest.mark.parametrize(("orientation", "place"), [(ROW_AFFECTED, (0, 1)), (ROW_SOURCE, (1, 0))])
def test_example_the_file_says_which_way_round_it_is(tmp_path, orientation, place):
    path = tmp_path / "ccd0.toml"
    path.write_text(TOML.format(orientation))
    found = Crosstalk.read(path, "ccd0")
    assert np.argwhere(found.matrix.linear).tolist() == [list(place)]
    assert (found.source, found.orientation, found.unit) == (str(path), ROW_AFFECTED, "adu")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("orientation =", "turned ="), "key 'orientation' is missing; key 'turned' is unknown"),
        (('"row = affected, column = source"', '"yes"'), "orientation is 'yes'; say 'row = affected"),
        (('"adu"', '"electron"'), "unit is 'electron'; coefficients must be those of pixels in 'adu'"),
        (("[0.0, 0.0]]", "[0.0, 0.1]]"), "amplifier 'B' disturbs itself: the diagonal must be zero"),
        (("[0.0, 0.0]]", "[0.0]]"), "gives no crosstalk coefficients"),
        (("1e-3", "nan"), "the linear coefficient of amplifier 'A' from 'B' is no finite number"),
        (('["A", "B"]', '["A"]'), "linear has shape (2, 2), the amplifiers make it (1, 1)"),
        (('["A", "B"]', '["A", "A"]'), "affected amplifiers repeat: A, A"),
        (("linear", "valid = [[1, 1], [1, 1]]\nlinear"), "is_valid is int64, it must be bool"),
        (("unit", "this is no TOML"), "gives no crosstalk coefficients"),
    ],
)
def test_what_is_wrong_with_a_file_is_told(tmp_path, change, told):
    path = tmp_path / "ccd0.toml"
    path.write_text(TOML.format(ROW_AFFECTED).replace(*change))
    with pytest.raises(CrosstalkError) as caught:
        Crosstalk.read(path, "ccd0")
    assert told in str(caught.value)
    assert str(path) in str(caught.value)


def test_damaged_and_foreign_fits_files_are_refused(tmp_path):
    path = tmp_path / "ccd0.fits"
    Crosstalk(CrosstalkMatrix(["A", "B"], ["A", "B"], [[0, 0.5], [0, 0]])).write(path)
    content = path.read_bytes()
    path.write_bytes(content.replace(np.array(0.5, ">f8").tobytes(), np.array(0.25, ">f8").tobytes()))
    with pytest.raises(CrosstalkError, match="its checksum is wrong: the file is damaged"):
        Crosstalk.read(path)
    fits.PrimaryHDU().writeto(tmp_path / "other.fits")
    with pytest.raises(CrosstalkError, match="it has no table 'CROSSTALK'"):
        Crosstalk.read(tmp_path / "other.fits")
    with pytest.raises(CrosstalkError, match=r"name it \.toml, \.ecsv, \.fits"):
        Crosstalk(CrosstalkMatrix(["A"], ["A"], [[0]])).write(tmp_path / "any.txt")


PLAIN = "2 1 -1e-3\n10 2 2e-3  # in any order\n\n1 10 3e-3\n"
EXPECTED = {("2", "1"): -1e-3, ("10", "2"): 2e-3, ("1", "10"): 3e-3}


@pytest.mark.parametrize("is_stated_inside", [True, False])
@pytest.mark.parametrize("columns", ["affected source coefficient", "source affected coefficient"])
def test_plain_text_needs_to_be_told_what_its_columns_are(tmp_path, columns, is_stated_inside):
    path = tmp_path / "ccd0.txt"
    path.write_text(f"# columns: {columns}\n{PLAIN}" if is_stated_inside else PLAIN)
    found = Crosstalk.read(path, "ccd0", columns="" if is_stated_inside else columns).matrix
    assert found.affected == found.sources == ("1", "2", "10")
    for (first, second), value in EXPECTED.items():
        affected, source = (first, second) if columns.startswith("affected") else (second, first)
        assert found.linear[found.affected.index(affected), found.sources.index(source)] == value
    assert np.count_nonzero(found.linear) == 3


def test_plain_text_without_a_statement_is_refused(tmp_path):
    path = tmp_path / "ccd0.txt"
    path.write_text(PLAIN + "7 8\n")
    with pytest.raises(CrosstalkError) as caught:
        Crosstalk.read(path)
    assert "nothing says which column is which" in str(caught.value)
    assert "add a line '# columns: affected source coefficient'" in str(caught.value)
    assert "line 5 has 2 words, not 3" in str(caught.value)
    path.write_text("# columns: affected source coefficient\n1 2 1e-3\n1 2 1e-4\n")
    with pytest.raises(CrosstalkError, match="amplifier '1' from '2' is there twice"):
        Crosstalk.read(path)


def test_numbers_count_the_amplifiers_of_the_detector():
    numbered = CrosstalkMatrix(["1", "2"], ["1", "2"], [[0, 1e-3], [0, 0]])
    found = Crosstalk(numbered).for_detector(row_of(["east", "west"]))
    assert found.matrix.affected == ("east", "west")
    assert found.matrix.linear[0, 1] == 1e-3
    # Unless these are names.
    found = Crosstalk(numbered).for_detector(row_of(["2", "1"]))
    assert found.matrix.linear[1, 0] == 1e-3
    with pytest.raises(CrosstalkError, match="coefficients are 1, 2, those of the detector a, b, c"):
        Crosstalk(numbered).for_detector(row_of(["a", "b", "c"]))


def test_values_that_contradict_themselves_are_refused_with_every_reason():
    own = CrosstalkMatrix(["A"], ["A"], [[0]])
    other = CrosstalkMatrix(["X"], ["Y"], [[1e-3]])
    with pytest.raises(CrosstalkError) as caught:
        Crosstalk(own, {"ccd1": other, "ccd0": own}, "ccd0")
    assert "coefficients for detector 'ccd1' are those of amplifiers X" in str(caught.value)
    assert "'ccd0' is no name of another detector" in str(caught.value)
    with pytest.raises(CrosstalkError, match="affected amplifiers are A, sources B"):
        Crosstalk(CrosstalkMatrix(["A"], ["B"], [[0]]))
    with pytest.raises(CrosstalkError, match="there are no affected amplifiers"):
        CrosstalkMatrix([], [], np.zeros((0, 0)))
    with pytest.raises(CrosstalkError, match="amplifier 'A' disturbs itself"):
        Crosstalk(CrosstalkMatrix(["A"], ["A"], [[0]], [[1e-9]]))


def test_coefficients_cannot_be_written():
    matrix = CrosstalkMatrix(["A"], ["A"], [[0]])
    for array in (matrix.linear, matrix.quadratic, matrix.is_valid):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 1
