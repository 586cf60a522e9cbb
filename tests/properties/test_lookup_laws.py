"""Laws of looking calibrations up: the index finds what looking at each one finds, whatever else is there."""

from __future__ import annotations

import attrs
import pytest
from astropy.time import Time
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from isrcore_repository.lookup import Calibration, CalibrationIndex, Policy, Query, lookup

# Few values, so that ties and ranges that touch are common.
MOMENTS = st.integers(0, 12)
# Most belong together: sparse groups would never show a fault of their order.
FILTERS = ("r", "r", "r", "", "z", "g")
policies = st.sampled_from(Policy)


@st.composite
def calibrations(draw):
    """Calibrations with names of their own."""
    found = []
    for number in range(draw(st.integers(0, 12))):
        begin, end = sorted(draw(st.lists(MOMENTS, min_size=2, max_size=2, unique=True)))
        found.append(
            Calibration(
                kind=draw(st.sampled_from(["flat", "flat", "flat", "bias"])),
                detector=draw(st.sampled_from(["a", "a", "a", "b"])),
                filter=draw(st.sampled_from(FILTERS)),
                begin=draw(st.sampled_from([begin, None])),
                end=draw(st.sampled_from([end, None])),
                taken=draw(st.none() | MOMENTS),
                version=draw(st.integers(0, 2)),
                made=draw(st.none() | st.integers(0, 2)),
                name=f"c{number}",
            )
        )
    return found


@st.composite
def queries(draw):
    """Queries that have a chance."""
    return Query(
        kinds=draw(st.sampled_from(["flat", "flat", "bias", ("bias", "flat")])),
        detector=draw(st.sampled_from(["a", "a", "a", "b"])),
        filters=draw(st.sampled_from([("r",), ("r",), ("g", "r"), ()])),
        time=draw(st.sampled_from([*range(13), None])),
        policy=draw(policies),
        fallback=draw(st.sampled_from([(), ("z",)])),
    )


def is_valid(one, time):
    """Whether a moment is in the range of validity."""
    if time is None:
        return one.begin is None and one.end is None
    return (one.begin is None or one.begin <= time) and (one.end is None or time < one.end)


def suits(one, query, filters):
    is_for = one.kind in query.kinds and one.detector == query.detector and one.filter in {"", *filters}
    is_in_time = query.policy is not Policy.BEFORE or (
        None not in (one.taken, query.time) and one.taken <= query.time
    )
    return is_for and is_in_time and is_valid(one, query.time)


def order(one, query):
    """What is taken first has the smallest."""
    far = float("inf") if None in (one.taken, query.time) else abs(one.taken - query.time)
    begin, made = (-float("inf") if moment is None else moment for moment in (one.begin, one.made))
    if query.policy is Policy.LATEST:
        return -one.version, -made, -begin, one.name
    return far, -one.version, -begin, -made, one.name


def by_looking_at_each(rows, query):
    """The calibration for a query and whether it is of the fallback filter."""
    for filters, is_fallback in ((query.filters, False), (query.fallback, True)):
        fitting = [one for one in rows if suits(one, query, filters)]
        if fitting and (filters or not is_fallback):
            return min(fitting, key=lambda one: order(one, query)), is_fallback
    return None, False


@settings(max_examples=150)
@given(calibrations(), queries())
def test_the_index_finds_what_looking_at_each_finds(rows, query):
    found = CalibrationIndex(rows).find(query)
    assert (found.chosen, found.is_fallback) == by_looking_at_each(rows, query)


@given(calibrations(), queries())
def test_what_is_found_is_valid(rows, query):
    chosen = lookup(rows, query).chosen
    assert chosen is None or is_valid(chosen, query.time)


@given(calibrations(), queries(), st.randoms(use_true_random=False))
def test_order_of_calibrations_does_not_matter(rows, query, random):
    first = lookup(rows, query)
    random.shuffle(rows)
    second = lookup(rows, query)
    assert second.chosen == first.chosen
    assert second.rejected == first.rejected
    assert second.explain() == first.explain()


@given(calibrations(), queries(), calibrations())
def test_unrelated_calibrations_change_nothing(rows, query, others):
    others = [attrs.evolve(one, detector="elsewhere", name=f"other {one.name}") for one in others]
    assert lookup([*rows, *others], query).chosen == lookup(rows, query).chosen


@given(calibrations(), queries())
def test_a_strictly_better_candidate_wins(rows, query):
    chosen = lookup(rows, query).chosen
    assume(chosen is not None and query.time is not None)
    better = attrs.evolve(chosen, taken=query.time, version=9, name="better")
    assert lookup([*rows, better], query).chosen == better


@given(calibrations(), queries())
def test_everything_not_chosen_is_rejected_with_a_reason(rows, query):
    found = lookup(rows, query)
    of_kind = [one for one in rows if one.kind in query.kinds]
    told = [one.name for one, _ in found.rejected]
    assert sorted(told + ([found.chosen.name] if found.chosen else [])) == sorted(one.name for one in of_kind)
    assert all(reason for _, reason in found.rejected)
    assert found.refused == len(told)
    assert list(found.nearest(3)) == list(found.rejected[:3])


@given(calibrations(), queries())
def test_one_that_is_objected_to_is_as_good_as_not_there(rows, query):
    chosen = lookup(rows, query).chosen
    assume(chosen is not None)
    found = lookup(rows, query, lambda one: "its file is gone" if one is chosen else "")
    without = lookup([one for one in rows if one is not chosen], query)
    assert (found.chosen, found.is_fallback) == (without.chosen, without.is_fallback)
    assert (chosen, "its file is gone") in found.rejected


@pytest.mark.parametrize(("time", "name"), [(4, None), (5, "first"), (9, "first"), (10, "next"), (15, None)])
def test_the_end_belongs_to_the_next_one(time, name):
    rows = [
        Calibration("bias", "a", begin=5, end=10, name="first"),
        Calibration("bias", "a", begin=10, end=15, name="next"),
    ]
    chosen = lookup(rows, Query("bias", "a", time=time)).chosen
    assert (chosen and chosen.name) == name


def test_policies_of_the_same_calibrations():
    near = Calibration("bias", "a", taken=11, version=1, name="near")
    before = Calibration("bias", "a", taken=7, version=1, name="before")
    latest = Calibration("bias", "a", taken=90, version=2, name="latest")
    taken = {
        policy: lookup([near, before, latest], Query("bias", "a", time=10, policy=policy))
        for policy in Policy
    }
    assert {policy.value: found.chosen.name for policy, found in taken.items()} == {
        "nearest": "near",
        "before": "before",
        "latest": "latest",
    }


def test_a_message_tells_the_nearest_with_reasons():
    day = Time("2020-01-10T00:00:00", scale="utc")
    rows = [
        Calibration("flat", "a", "r", None, Time(f"2020-01-0{n}T00:00:00", scale="utc"), name=f"old{n}")
        for n in range(1, 5)
    ]
    rows.append(Calibration("flat", "b", "r", name="other"))
    assert lookup(rows, Query("flat", "a", ["r"], day)).explain(2) == (
        "flat: none suits\n"
        "  old4: valid until before 2020-01-04T00:00:00, the exposure is of 2020-01-10T00:00:00\n"
        "  old3: valid until before 2020-01-03T00:00:00, the exposure is of 2020-01-10T00:00:00\n"
        "  and 3 more"
    )


def test_the_fallback_filter_is_said():
    rows = [Calibration("flat", "a", "z", taken=0, name="other")]
    found = lookup(rows, Query("flat", "a", ["r"], 0, fallback=["z"]))
    assert found.is_fallback
    assert found.explain() == "flat: other (of the fallback filter 'z', 0.0 days away)"
    assert lookup(rows, Query("flat", "a", ["r"], 0)).chosen is None


def test_a_range_with_nothing_in_it_is_refused():
    with pytest.raises(ValueError, match="that is never; swap"):
        Calibration("bias", "a", begin=5, end=5, name="none")


def test_one_that_has_just_ended_is_out_though_an_earlier_one_is_still_valid():
    rows = [
        Calibration("bias", "a", begin=1, taken=1, name="long"),
        Calibration("bias", "a", begin=2, end=5, taken=5, name="ended"),
    ]
    assert lookup(rows, Query("bias", "a", time=5)).chosen == rows[0]
