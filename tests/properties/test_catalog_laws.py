"""Law: the catalogs of a run have the columns that the task declared, and a row for all that was measured."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings

import isrcore_standard
from isrcore import Detector, Exposure, IsrTask, MaskedImage, PixelStep, Quantity, Registry, default_config
from isrcore.testing import strategies

REGISTRY = Registry({"standard": isrcore_standard})


def described(table):
    """What is declared of a table: its columns with type, unit and description."""
    return [(c.name, c.dtype.kind, str(c.unit), c.description) for c in table.itercols()]


@given(strategies.runs(REGISTRY))
@settings(max_examples=20)
def test_a_run_fills_exactly_the_columns_that_are_declared(drawn):
    config, exposure, inputs = drawn
    task = IsrTask(config=config, registry=REGISTRY)
    declared = task.getAllSchemaCatalogs()
    assert all(len(table) == 0 for table in declared.values())
    result = task.run(exposure, **inputs)
    assert set(result.catalogs) == set(declared)
    for name, table in result.catalogs.items():
        assert described(table) == described(declared[name])
        measured = result.exposure.measured.get(name.removeprefix("isr_"), {})
        assert list(table["amplifier"]) == list(measured)


def test_every_column_says_what_it_is():
    task = IsrTask(registry=REGISTRY)
    for name, table in task.getAllSchemaCatalogs().items():
        assert name.startswith("isr_")
        for column in table.itercols():
            assert column.description.endswith(".")
            assert column.dtype.kind in "Ufib"
    units = {str(c.unit) for table in task.getAllSchemaCatalogs().values() for c in table.itercols()}
    assert units <= {"None", "adu", "electron", "electron / adu"}


def test_measurements_of_amplifiers_are_declared_by_every_step_that_has_them():
    """A step that measures without saying so would be missing from the schemas."""
    silent = {
        step.spec.name
        for _, step in REGISTRY.steps
        if issubclass(step, PixelStep) and step.measure is not PixelStep.measure and not step.quantities
    }
    # A flag with its reason, a curve with its type, polygons, and operands: no numbers of amplifiers.
    assert silent == {"amplifierMask", "linearity", "variance", "vignette"}


def small_task_and_frame():
    """A task without calibrations and overscan, and a raw frame of two rows."""
    config = default_config(REGISTRY)
    for name in ("doBias", "doDark", "doFlat", "doDefect", "expectWcs", "doOverscan"):
        config.set(name, False)
    detector = Detector.of_shape((2, 3), gain=1.5, read_noise=4.0)
    raw = Exposure(MaskedImage.from_raw(np.full((2, 3), 100, np.uint16)), detector)
    return IsrTask(config, registry=REGISTRY), raw


def test_example_levels_of_two_rows():
    task, raw = small_task_and_frame()
    table = task.run(raw).catalogs["isr_levels"]
    assert table.colnames == ["amplifier", "gain", "read_noise", "saturation", "suspect_level"]
    assert str(table["gain"].unit) == "electron / adu"
    assert table["gain"][0] == 1.5
    assert len(task.run(raw).catalogs["isr_overscan"]) == 0


def test_catalogs_are_made_once_of_what_was_measured_then():
    task, raw = small_task_and_frame()
    result = task.run(raw)
    result.exposure.measured.clear()
    catalogs = result.catalogs
    assert list(catalogs["isr_levels"]["gain"]) == [1.5]
    assert catalogs["isr_levels"] is catalogs["isr_levels"]
    assert len(catalogs) == len(list(catalogs))
    assert "isr_levels" in repr(catalogs)
    sent = pickle.loads(pickle.dumps(result)).catalogs
    assert {name: described(table) for name, table in sent.items()} == {
        name: described(table) for name, table in catalogs.items()
    }
    assert list(sent["isr_levels"]["gain"]) == [1.5]


def test_a_quantity_of_another_kind_is_refused():
    with pytest.raises(KeyError):
        Quantity("x", "X.", kind=list).column()
