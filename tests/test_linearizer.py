"""Linearizers: files give back what was written, and what makes no sense is refused with every reason."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from hypothesis import given
from hypothesis import strategies as st

from isrcore import Box, Detector, LinearityCurve, Linearizer, LinearizerError
from isrcore.linearity import LINEARITY_TYPES
from isrcore.testing import strategies
from isrcore.testing.linearity import coefficients, linearizers, lookup_values

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@st.composite
def any_linearizers(draw):
    """Linearizers with names that need care, from those of a detector."""
    made = draw(linearizers(draw(strategies.detectors())))
    names = draw(st.lists(TEXTS.filter(str.strip), min_size=4, max_size=4, unique=True))
    curves = dict(zip(names, made.amplifiers.values(), strict=False))
    return Linearizer(curves, made.table, draw(TEXTS), draw(TEXTS))


@pytest.mark.parametrize("suffix", [".fits", ".toml"])
@given(linearizer=any_linearizers())
def test_reading_gives_back_what_was_written(tmp_path_factory, suffix, linearizer):
    path = tmp_path_factory.getbasetemp() / f"one{suffix}"
    linearizer.write(path)
    again = Linearizer.read(path)
    assert again == linearizer
    assert (again.source, again.overrides) == (str(path), True)


@given(linearizer=any_linearizers().filter(lambda one: one.table is None))
def test_reading_ecsv_gives_back_what_was_written(tmp_path_factory, linearizer):
    path = tmp_path_factory.getbasetemp() / "one.ecsv"
    linearizer.write(path)
    assert Linearizer.read(path) == linearizer


def test_a_lookup_table_does_not_fit_into_ecsv(tmp_path):
    linearizer = Linearizer({"A": LinearityCurve("LookupTable", (0, 0))}, [[1, 2]])
    with pytest.raises(LinearizerError, match="does not fit into ECSV; name the file"):
        linearizer.write(tmp_path / "one.ecsv")
    with pytest.raises(LinearizerError, match=r"name it \.fits, \.ecsv, \.toml"):
        linearizer.write(tmp_path / "one.yaml")
    assert list(tmp_path.iterdir()) == []


def test_columns_of_others_are_understood(tmp_path):
    """Vectors padded with NaN, compressed, the names of the detector in the primary header."""
    table = fits.BinTableHDU.from_columns(
        [
            fits.Column("AMPLIFIER_NAME", "8A", array=np.array(["C00", "C01"])),
            fits.Column("TYPE", "12A", array=np.array(["Squared", "LookupTable"])),
            fits.Column("COEFFS", "4D", array=np.array([[1e-6, np.nan, np.nan, np.nan], [1, 0.5, 0, 0]])),
            *(fits.Column(name, "K", array=np.array([0, 5])) for name in ("BBOX_X0", "BBOX_Y0")),
            *(fits.Column(name, "K", array=np.array([5, 5])) for name in ("BBOX_DX", "BBOX_DY")),
        ]
    )
    values = fits.Column("LOOKUP_VALUES", "3E", array=np.arange(6.0).reshape(2, 3))
    primary = fits.PrimaryHDU(header=fits.Header({"DET_NAME": "R22_S11", "DET_SER": "ITL-3"}))
    path = tmp_path / "theirs.fits.gz"
    fits.HDUList([primary, table, fits.BinTableHDU.from_columns([values])]).writeto(path)
    read = Linearizer.read(path)
    assert read.amplifiers == {
        "C00": LinearityCurve("Squared", (1e-6,), Box(0, 5, 0, 5)),
        "C01": LinearityCurve("LookupTable", (1, 0.5, 0, 0), Box(5, 10, 5, 10)),
    }
    assert read.table.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert (read.detector_name, read.serial) == ("R22_S11", "ITL-3")


@pytest.mark.parametrize("suffix", [".fits", ".toml"])
def test_example_a_lookup_table_of_one_number(tmp_path, suffix):
    linearizer = Linearizer({"A": LinearityCurve("LookupTable", (0, 0))}, [[0.5]])
    linearizer.write(tmp_path / f"one{suffix}")
    assert Linearizer.read(tmp_path / f"one{suffix}").table.tolist() == [[0.5]]


@pytest.mark.parametrize("suffix", [".fits", ".ecsv", ".toml"])
def test_example_names_that_rows_do_not_begin_with(tmp_path, suffix):
    names = ("#2", " 2", " #2", "2#")
    linearizer = Linearizer({name: LinearityCurve("Squared", (1e-6,)) for name in names})
    linearizer.write(tmp_path / f"one{suffix}")
    assert Linearizer.read(tmp_path / f"one{suffix}") == linearizer


def test_example_in_toml(tmp_path):
    path = tmp_path / "ccd00.toml"
    path.write_text(
        'detector = "ccd00"\n[amplifiers.A]\ntype = "Polynomial"\ncoeffs = [-2e-7, 1e-12]\n'
        'box = "[1:1024,1:4612]"\n[amplifiers.B]\n'
    )
    read = Linearizer.read(path)
    assert read.amplifiers["A"] == LinearityCurve("Polynomial", (-2e-7, 1e-12), Box(0, 4612, 0, 1024))
    assert read.amplifiers["B"].type == "None"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "'amplifiers'"),
        ("amplifiers = 3", "holds no linearizer"),
        ("[amplifiers.A]\nkind = 'Squared'", "unexpected keyword argument 'kind'"),
        ("colour = 1\n[amplifiers.A]", "key 'colour' is unknown"),
        ("[amplifiers.A]\ntype = 'Fancy'", "amplifier 'A': its type 'Fancy' is unknown; known are 'None'"),
        ("no toml", "holds no linearizer"),
        ("# %ECSV 1.0\n# ---\n# datatype:\n# - {name: A, datatype: int64}\nA\n1\n", "lacks AMPLIFIER_NAME"),
    ],
)
def test_a_file_that_is_none_is_named_with_the_reason(tmp_path, content, told):
    path = tmp_path / "wrong"
    path.write_text(content)
    with pytest.raises(LinearizerError, match=told) as caught:
        Linearizer.read(path)
    assert str(path) in str(caught.value)
    # As readers of the command line raise, and as the original raises.
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, RuntimeError)


def test_two_rows_of_one_amplifier_and_no_table_are_refused(tmp_path):
    linearizer = Linearizer({"A": LinearityCurve(), "B": LinearityCurve()})
    linearizer.write(tmp_path / "two.ecsv")
    text = (tmp_path / "two.ecsv").read_text().replace("\nB ", "\nA ")
    (tmp_path / "two.ecsv").write_text(text)
    with pytest.raises(LinearizerError, match="two of its rows are of one amplifier"):
        Linearizer.read(tmp_path / "two.ecsv")
    fits.PrimaryHDU().writeto(tmp_path / "bare.fits")
    with pytest.raises(LinearizerError, match="it has no table"):
        Linearizer.read(tmp_path / "bare.fits")
    Table({"x": [1]}).write(tmp_path / "other.fits")
    with pytest.raises(LinearizerError, match="its table lacks AMPLIFIER_NAME, TYPE"):
        Linearizer.read(tmp_path / "other.fits")
    with pytest.raises(FileNotFoundError):
        Linearizer.read(tmp_path / "none.fits")


WRONG = [
    ("Fancy", (), "unknown; known are 'None', 'Proportional', 'Squared', 'Polynomial', 'LookupTable'"),
    ("Squared", (), "type 'Squared' needs coefficients, it has none"),
    ("Squared", (np.nan, np.nan), "needs coefficients"),
    ("Squared", (1e-6, 2.0), "has one coefficient, not 2: use 'Polynomial'"),
    ("Polynomial", (np.nan,), "needs coefficients"),
    ("Polynomial", (np.nan, 1.0), "must be finite"),
    ("Polynomial", (np.inf,), "must be finite"),
    ("LookupTable", (0,), "two coefficients, row and offset, not 1"),
    ("LookupTable", (0, 1, 2), "two coefficients, row and offset, not 3"),
    ("LookupTable", (0.5, 1), "must be a whole number, not 0.5"),
    ("Spline", (0, 1), "two or more nodes and as many values, it has 2"),
    ("Spline", (0, 1, 2, 3, 4), "two or more nodes and as many values, it has 5"),
    ("Spline", (0, 1, 1, 0, 0, 0), "must increase, they are 0.0, 1.0, 1.0"),
    ("DoubleSpline", (2, 2, 0, 1, 0, 0, 0, 1, 0), "needs two numbers of nodes"),
    ("DoubleSpline", (2, 1, 0, 1, 0, 0, 0, 0), "needs two numbers of nodes"),
    ("DoubleSpline", (2, 2, 0, 1, 0, 0, 3, 1, 0, 0), "must increase, they are 3.0, 1.0"),
    ("DoubleSpline", (2, 2, 5, 1, 0, 0, 1, 3, 0, 0), "must increase, they are 5.0, 1.0"),
]


@pytest.mark.parametrize(("kind", "coeffs", "told"), WRONG)
def test_coefficients_that_make_no_sense_are_refused(kind, coeffs, told):
    with pytest.raises(LinearizerError, match=told) as caught:
        Linearizer({"left": LinearityCurve(kind, coeffs)})
    assert "amplifier 'left': " in str(caught.value)


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (None, "amplifier 'B': type 'LookupTable' needs a table, there is none"),
        (np.ones(3), "has rows and columns, this one has shape"),
        (np.ones((2, 0)), "has rows and columns, this one has shape"),
        (np.ones((3, 2)), "more rows than columns: transpose it"),
        ([[1, np.nan]], "1 entries of the lookup table are not finite"),
        (np.ones((1, 5)), "amplifier 'B': row 1 is not among the table's 1 rows"),
    ],
)
def test_tables_that_make_no_sense_are_refused(table, told):
    curves = {"A": LinearityCurve(), "B": LinearityCurve("LookupTable", (1, 0))}
    with pytest.raises(LinearizerError, match=told):
        Linearizer(curves, table)


def test_all_problems_are_told_at_once():
    curves = {name: LinearityCurve(kind, coeffs) for name, (kind, coeffs, _) in enumerate(WRONG)}
    with pytest.raises(LinearizerError) as caught:
        Linearizer({str(name): curve for name, curve in curves.items()})
    assert str(caught.value).count("amplifier '") == len(WRONG)


@given(data=st.data(), kind=st.sampled_from(LINEARITY_TYPES))
def test_what_strategies_draw_is_sound(data, kind):
    curve = LinearityCurve(kind, data.draw(coefficients(kind)))
    assert list(curve.problems()) == []
    assert len(curve.splines) == {"Spline": 1, "DoubleSpline": 2}.get(kind, 0)


def test_a_linearizer_belongs_to_its_detector():
    detector = Detector.of_shape((3, 4))
    own = Linearizer.of(detector)
    own.check(detector)
    assert list(own.problems(detector)) == []
    with pytest.raises(LinearizerError, match="is not for 'unnamed'\n  it is of detector 'ccd7', not"):
        Linearizer({"0": LinearityCurve()}, detector_name="ccd7").check(detector)


def test_one_from_a_file_may_differ_from_what_the_camera_says():
    said = Detector.of_shape((3, 4)).with_amplifiers(
        **{"0": {"linearity_type": "Squared", "linearity_coeffs": (1e-6, np.nan)}}
    )
    for curve, told in (
        (LinearityCurve("Squared", (1e-6,)), []),
        (LinearityCurve("Squared", (2e-6,)), ["has coefficients (2e-06,), the detector says (1e-06,)"]),
        (LinearityCurve("Polynomial", (1e-6,)), ["is 'Polynomial', the detector says 'Squared'"]),
    ):
        assert list(Linearizer({"0": curve}).problems(said)) == [f"amplifier '0' {text}" for text in told]
        assert list(Linearizer({"0": curve}, overrides=True).problems(said)) == []


def test_values_are_frozen():
    rows = np.ones((1, 3), np.float32)
    linearizer = Linearizer({"A": LinearityCurve("LookupTable", (0, 0))}, rows)
    rows[...] = 7
    assert linearizer.table.tolist() == [[1, 1, 1]]
    with pytest.raises(ValueError, match="read-only"):
        linearizer.table[0, 0] = 2


@given(st.data())
def test_equal_linearizers_have_equal_tables(data):
    curves = {"A": LinearityCurve("LookupTable", (0, 0))}
    table = data.draw(lookup_values(1))
    other = table.copy()
    other[0, 0] += 1
    assert Linearizer(curves, table) == Linearizer(curves, table.copy())
    assert Linearizer(curves, table) != Linearizer(curves, other)
    assert Linearizer({"A": LinearityCurve()}) != Linearizer(curves, table)
