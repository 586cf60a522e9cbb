"""Laws of operations along curves: they are their formulas in float64, and their inverses lead back."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isrcore import (
    Box,
    LineTable,
    Lookup,
    LookupTable,
    MaskedImage,
    Piecewise,
    Polynomial,
    Tiled,
)
from isrcore.kernels.joining import join_placed
from isrcore.kernels.reference import Placed, Work, execute
from isrcore.testing import strategies
from isrcore.testing.contracts import check_same
from isrcore.testing.linearity import line_tables, lookup_values

SHAPE = (13, 17)


def applied(op, pixels):
    """The pixels after the operation, and the numbers it counts."""
    result = pixels.copy()
    return result, execute(Work(result, (Placed(op, Box.of_shape(pixels.shape)),))).tolist()


def frame(image, variance=4.0):
    image = np.atleast_2d(np.float32(image))
    return MaskedImage.from_image(image, variance=np.full(image.shape, variance, np.float32))


def exact(array):
    return np.asarray(array, np.float64)


@given(
    strategies.masked_images(SHAPE, spoiled=False), st.lists(st.floats(-1e-4, 1e-4), min_size=1, max_size=3)
)
def test_a_polynomial_is_its_formula(pixels, factors):
    factors = [factor / 300**power for power, factor in enumerate(factors)]
    after, _ = applied(Polynomial(tuple(factors)), pixels)
    x = exact(pixels.image)
    expected = x + sum(c * x ** (k + 2) for k, c in enumerate(factors))
    slope = 1 + sum((k + 2) * c * x ** (k + 1) for k, c in enumerate(factors))
    # Corrections are a few percent of the pixel: their roundings count as one of the pixel's at most.
    assert (abs(after.image - expected) <= np.spacing(np.abs(pixels.image)) * 1.5 + 1e-30).all()
    np.testing.assert_allclose(after.variance, pixels.variance * slope**2, rtol=1e-6)
    np.testing.assert_array_equal(after.mask, pixels.mask)


def test_beyond_its_highest_point_a_polynomial_is_undone_upwards():
    """x - x²/400 is 100 at most: what cannot be reached must not come out dark."""
    op = Polynomial((-1 / 400,))
    lost, _ = applied(op.inverse(), frame([100.0, 150.0, 1e4]))
    assert lost.image[0, 0] == pytest.approx(200, abs=3)
    assert (lost.image[0, 1:] > 200).all()


@st.composite
def lookups(draw):
    table = draw(lookup_values(draw(st.integers(1, 3))))
    row = draw(st.integers(0, len(table) - 1))
    return table[row].astype(np.float64), Lookup(
        one := LookupTable.of(table), one.first(row), draw(st.sampled_from([0.0, 0.5, -10.5, 3.0]))
    )


@given(strategies.masked_images(SHAPE), lookups())
def test_a_lookup_is_its_table(pixels, drawn):
    values, op = drawn
    after, _ = applied(op, pixels)
    for x, found in zip(pixels.image.flat, after.image.flat, strict=True):
        place = np.trunc(x + np.float32(op.offset))
        place = 0 if np.isnan(place) else int(np.clip(place, 0, len(values) - 1))
        np.testing.assert_array_equal(found, x + np.float32(values[place]))


@given(strategies.masked_images(SHAPE, spoiled=False), lookups())
def test_variance_follows_the_slope_of_the_table_about_the_pixel(pixels, drawn):
    values, op = drawn
    after, _ = applied(op, pixels)
    for x, before, found in zip(pixels.image.flat, pixels.variance.flat, after.variance.flat, strict=True):
        place = int(np.trunc(x + np.float32(op.offset)))
        low, high = max(place - 32, 0), min(place + 32, len(values) - 1)
        is_inside = 0 <= place < len(values) and high > low
        slope = (values[high] - values[low]) / (high - low) if is_inside else 0.0
        assert found == pytest.approx(before * (1 + slope) ** 2, rel=1e-6)


@given(strategies.masked_images(SHAPE), lookups(), st.integers(0, 2))
def test_pixels_outside_are_counted_for_their_owner(pixels, drawn, owner):
    values, op = drawn
    _, counts = applied(attrs.evolve(op, owner=owner, owners=3), pixels)
    with np.errstate(invalid="ignore"):
        places = np.trunc(pixels.image + np.float32(op.offset))
    expected = [0, 0, 0]
    expected[owner] = np.count_nonzero(~((places >= 0) & (places < len(values))))
    assert counts == expected


@given(strategies.masked_images(SHAPE, spoiled=False), lookups())
def test_what_a_lookup_is_simulated_from_leads_back_up_to_its_leaps(pixels, drawn):
    values, op = drawn
    simulated, _ = applied(op.inverse().without_variance(), pixels)
    returned, _ = applied(op, simulated)
    leap = max(np.diff(values).max(initial=0.0), 0.0)
    largest = np.abs(pixels.image).max() + np.abs(values).max() + abs(op.offset)
    assert abs(returned.image - pixels.image).max() <= leap + 3 * np.spacing(np.float32(largest))


@given(strategies.masked_images(SHAPE, spoiled=False), st.integers(1, 3000), st.floats(-0.02, 0.02))
def test_a_table_without_leaps_is_undone(pixels, columns, slope):
    """A falling table shifts neighbouring steps over each other by one step at most."""
    table = LookupTable.of(slope * np.arange(columns)[None])
    op = Lookup(table, table.first(0), 0.5)
    returned, _ = applied(op.inverse(), applied(op, pixels)[0])
    allowed = abs(slope) + 3 * np.spacing(np.abs(pixels.image) + np.float32(abs(slope) * columns + 1))
    assert (abs(returned.image - pixels.image) <= allowed).all()


@given(strategies.masked_images(SHAPE, spoiled=False), line_tables(2), st.integers(0, 1))
def test_lines_are_their_formula(pixels, table, row):
    op = Piecewise(table, table.first(row))
    after, _ = applied(op, pixels)
    size = table.length + 2
    slopes, intercepts = (exact(part[row * size :][:size]) for part in (table.slopes, table.intercepts))
    numbers = np.floor(pixels.image * np.float32(table.scale)).astype(int)
    line = np.clip(numbers - table.start + 1, 0, table.length + 1)
    expected = exact(pixels.image) * slopes[line] + intercepts[line]
    # A product and a sum.
    unit = np.spacing(np.float32(np.maximum(abs(expected), abs(pixels.image) * slopes[line])))
    assert (abs(after.image - expected) <= 1.5 * unit).all()
    np.testing.assert_allclose(after.variance, pixels.variance * slopes[line] ** 2, rtol=1e-6)


@given(st.data())
def test_lines_meet_where_they_change(data):
    table = data.draw(line_tables(1))
    edges = (table.start + np.arange(table.length + 1)) / table.scale
    left, right = (
        slopes * edges + intercepts
        for slopes, intercepts in (
            (exact(table.slopes[:-1]), exact(table.intercepts[:-1])),
            (exact(table.slopes[1:]), exact(table.intercepts[1:])),
        )
    )
    # Slopes are rounded to float32, intercepts too.
    reach = np.abs(edges).max() + 1 / table.scale + np.abs(table.intercepts).max()
    np.testing.assert_allclose(left, right, atol=4 * np.spacing(np.float32(reach)))


@given(strategies.masked_images(SHAPE, spoiled=False), line_tables(1))
def test_lines_are_undone(pixels, table):
    op = Piecewise(table, table.first(0))
    after, _ = applied(op, pixels)
    returned, _ = applied(op.inverse(), after)
    largest = np.maximum(np.abs(pixels.image), np.abs(after.image)) + np.abs(table.intercepts).max()
    assert (abs(returned.image - pixels.image) <= 4 * np.spacing(largest) / table.slopes.min()).all()
    # Where two lines meet, a rounding may give the other one's slope back.
    kinks = np.abs(np.diff(exact(table.slopes))).max() / exact(table.slopes).min()
    np.testing.assert_allclose(returned.variance, pixels.variance, rtol=3 * kinks + 1e-6)


@st.composite
def neighbours(draw):
    """The same operation of two amplifiers side by side, each with numbers of its own."""
    left, right = Box(0, SHAPE[0], 0, 7), Box(0, SHAPE[0], 7, SHAPE[1])
    kind = draw(st.sampled_from(["powers", "lookup", "lines"]))
    table, lines = LookupTable.of(draw(lookup_values(2))), draw(line_tables(2))
    numbers = [(draw(st.floats(-1e-4, 1e-4)), draw(st.floats(-1e-7, 1e-7))) for _ in range(2)]
    made = {
        "powers": [Polynomial(pair) for pair in numbers],
        "lookup": [Lookup(table, table.first(row), row / 2, row, 2) for row in range(2)],
        "lines": [Piecewise(lines, lines.first(row)) for row in range(2)],
    }[kind]
    return [Placed(op, box) for op, box in zip(made, (left, right), strict=True)]


@given(neighbours(), strategies.masked_images(SHAPE), st.booleans(), st.integers(1, 15))
def test_neighbours_are_joined_and_nothing_changes(placed, pixels, is_inverse, rows):
    if is_inverse:
        placed = [Placed(one.op.inverse(), one.box) for one in placed]
    joined = join_placed(placed)
    assert len(joined) == 1
    apart, together = pixels.copy(), pixels.copy()
    execute(Work(apart, tuple(placed)))
    Tiled(rows=rows)(Work(together, tuple(joined)))
    check_same(apart, together)


def test_example_counts_of_neighbours_stay_apart():
    table = LookupTable.of(np.zeros((2, 5)))
    placed = [
        Placed(Lookup(table, table.first(x), 0.0, owner=x, owners=2), Box(0, 1, x, x + 1)) for x in range(2)
    ]
    (both,) = join_placed(placed)
    for image, counts in (([99.0, 1.0], [1, 0]), ([2.0, np.nan], [0, 1]), ([-1.0, 5.0], [1, 1])):
        assert execute(Work(frame(image), (both,))).tolist() == counts


def test_example_a_square():
    after, _ = applied(Polynomial((0.01,)), frame([10.0, 20.0]))
    assert after.image[0] == pytest.approx([11, 24])
    assert after.variance[0] == pytest.approx([4 * 1.2**2, 4 * 1.4**2])
    returned, _ = applied(Polynomial((0.01,)).inverse(), after)
    assert returned.image.tolist() == [[10, 20]]
    assert returned.variance[0] == pytest.approx([4, 4])


def test_example_a_table_of_three_entries():
    table = LookupTable.of(np.float32([[10, 20, 40], [1, 2, 3]]))
    after, _ = applied(Lookup(table, table.first(0)), frame([-3.0, -0.9, 0.0, 1.99, 2.0, 7.0, np.nan]))
    assert after.image[0, :-1].tolist() == pytest.approx([7, 9.1, 10, 21.99, 42, 47])
    # The slope from the first entry to the last is 15; outside nothing is stretched.
    assert after.variance[0].tolist() == [4, 4 * 256, 4 * 256, 4 * 256, 4 * 256, 4, 4]
    other, _ = applied(Lookup(table, table.first(1), 1.0), frame([0.0, 5.0]))
    assert other.image.tolist() == [[2, 8]]


def test_example_two_lines():
    table = LineTable.through(0, 10.0, np.array([[0.0, 8.0, 20.0]]))
    op = Piecewise(table, table.first(0))
    after, _ = applied(op, frame([-5.0, 0.0, 5.0, 10.0, 15.0, 25.0]))
    assert after.image[0].tolist() == pytest.approx([-5, 0, 4, 8, 14, 25], abs=1e-6)
    assert after.variance[0].tolist() == pytest.approx([4, 2.56, 2.56, 5.76, 5.76, 4])
    returned, _ = applied(op.inverse(), after)
    assert returned.image[0].tolist() == pytest.approx([-5, 0, 5, 10, 15, 25], abs=1e-6)


def test_a_table_too_large_to_count_in_float32_is_refused():
    with pytest.raises(ValueError, match="has more than 16777216 entries"):
        LookupTable.of(np.broadcast_to(np.float32(0), (2, 2**23)))
