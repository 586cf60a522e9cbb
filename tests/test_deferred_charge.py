"""Tables of serial registers: their files, what is refused, and how a run uses them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import attrs
import numpy as np
import pytest
from astropy.table import Table
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import isrcore_simulate
import isrcore_simulated
import isrcore_standard
from isrcore import (
    DeferredCharge,
    DeferredChargeError,
    Detector,
    Exposure,
    IsrTask,
    MaskedImage,
    PlanError,
    Readout,
    Registry,
    SerialTransfer,
    default_config,
    read_exposure,
    simulate,
)
from isrcore.testing.registers import serial_transfers
from isrcore_standard.deferred_charge import _prescan_width

REGISTRY = Registry({"standard": isrcore_standard})
PLUGINS = Registry(
    {"simulate": isrcore_simulate, "simulated": isrcore_simulated, "standard": isrcore_standard}
)
TABLE = DeferredCharge({"A": SerialTransfer(1e-6), "B": SerialTransfer(2e-6, 0.5, 3.0, 9e4, 0.6)}, "ccd0")
Run = Callable[..., tuple[int, str, str]]
NAMES = st.text("ABCxyz019_-", min_size=1, max_size=8)


@pytest.mark.parametrize("name", ["table.fits", "table.ecsv"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(amplifiers=st.dictionaries(NAMES, serial_transfers(), min_size=1, max_size=4))
def test_a_table_comes_back_from_its_file(
    tmp_path: Path, name: str, amplifiers: dict[str, SerialTransfer]
) -> None:
    table = DeferredCharge(amplifiers, "ccd0")
    table.write(tmp_path / name)
    found = DeferredCharge.read(tmp_path / name, "CCD0")
    assert found == table
    assert (found.detector_name, found.source) == ("ccd0", str(tmp_path / name))


def test_numbers_that_cannot_be_are_all_listed() -> None:
    bad = {
        "A": SerialTransfer(cti=1.5, trap_size=-1.0),
        "B": SerialTransfer(trap_well=np.nan, trap_power=2.0),
    }
    with pytest.raises(DeferredChargeError) as caught:
        DeferredCharge({**bad, "C": SerialTransfer(trap_emission=0.0)})
    assert str(caught.value).splitlines() == [
        "no register is like this",
        "  amplifier 'A': cti is 1.5, it is a fraction per transfer: 0 or more, below 1",
        "  amplifier 'A': trap_size is -1.0 electron, it must not be negative",
        "  amplifier 'B': trap_well is nan, it must be a finite number",
        "  amplifier 'B': trap_power is 2.0, it must be above 0 and at most 1",
        "  amplifier 'C': trap_emission is 0.0, it must be positive",
    ]


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (Table({"amplifier": ["A"], "cti": [0.1]}), "it has no column 'trap_size', 'trap_emission'"),
        (Table(rows=[("A", 0.0, 0.0, 1.0, 1.0, 1.0)] * 2, names=TABLE._table().colnames), "there twice: A"),
        (Table(rows=[("A", "x", 0.0, 1.0, 1.0, 1.0)], names=TABLE._table().colnames), "must hold numbers"),
    ],
)
def test_other_tables_are_refused(tmp_path: Path, table: Table, told: str) -> None:
    table.write(tmp_path / "table.ecsv", format="ascii.ecsv")
    with pytest.raises(DeferredChargeError, match=told):
        DeferredCharge.read(tmp_path / "table.ecsv")


def test_other_detectors_and_other_files_are_refused(tmp_path: Path) -> None:
    TABLE.write(tmp_path / "table.fits")
    with pytest.raises(DeferredChargeError, match="of detector 'ccd0', not of 'ccd1'"):
        DeferredCharge.read(tmp_path / "table.fits", "ccd1")
    (tmp_path / "notes.txt").write_text("cti is about 1e-6\n")
    with pytest.raises(DeferredChargeError, match="neither a FITS nor an ECSV table"):
        DeferredCharge.read(tmp_path / "notes.txt")
    with pytest.raises(DeferredChargeError, match=r"name it .fits or .ecsv"):
        TABLE.write(tmp_path / "table.csv")


def test_tables_are_given_on_the_command_line(tmp_path: Path, isr: Run) -> None:
    raw, product = tmp_path / "frame.fits.fz", tmp_path / "product.fits"
    camera = ["--camera", "simulated", "--detectors", "sim1", "--exposure-time", 300, "--stars", 20_000]
    assert isr("simulate", *camera, "--truth", tmp_path / "truth", raw, registry=PLUGINS)[0] == 0
    # Half a per mille per transfer: two per cent of the last columns.
    table = DeferredCharge(dict.fromkeys("AB", SerialTransfer(5e-4, 0.05)), "sim1")
    table.write(tmp_path / "sim1.ecsv")
    masters = [f"--{kind}={tmp_path / 'truth/masters'}" for kind in ("bias", "dark", "flat")]
    options = [*masters, "--deferred-charge", tmp_path / "sim1.ecsv", "-c", "doDefect=false", "-o", product]
    status, _, complaint = isr("run", raw, *options, registry=PLUGINS)
    assert status == 0, complaint
    found = read_exposure(product)
    assert "deferred-charge-corrected" in found.facts
    entry = next(entry for entry in found.history if entry.step == "deferredCharge")
    assert entry.calibration.endswith("sim1.ecsv")
    DeferredCharge(table.amplifiers, "sim0").write(tmp_path / "other.fits")
    options = ["--deferred-charge", tmp_path / "other.fits", "-o", tmp_path / "again.fits"]
    status, told, complaint = isr("run", raw, *masters, *options, registry=PLUGINS)
    assert status != 0
    assert "it is of detector 'sim0', not of 'sim1'" in told + complaint


@pytest.mark.parametrize("transfer", [SerialTransfer(5e-4), SerialTransfer(1e-5, 0.3, 3.0, 5e4, 0.6)])
def test_a_simulated_frame_comes_back(transfer: SerialTransfer) -> None:
    detector = PLUGINS.camera("simulated")["sim0"]
    rng = np.random.default_rng(5)
    image = rng.uniform(50, 3000, detector.shape).astype(np.float32)
    image[rng.random(image.shape) < 0.02] += 20_000
    truth = Exposure(MaskedImage.from_image(image), detector)
    table = DeferredCharge(dict.fromkeys(detector.amplifier_names, transfer))
    plain, task = (chain("overscan", "assembly", "variance", *more) for more in ((), ("deferredCharge",)))
    raw = simulate(task, truth, Readout(has_noise=False), deferredCharge=table).exposure
    with_it, without = (
        abs(by.run(raw, **inputs).exposure.image - image)
        for by, inputs in ((task, {"deferredCharge": table}), (plain, {}))
    )
    # Half an adu of the converter, and five per cent of that from pixels before it.
    assert with_it.max() <= 0.55
    assert without.max() > 5.5


def exposure() -> Exposure:
    image = np.full((4, 5), 100, np.float32)
    facts = frozenset({"assembled", "converted", "levels-known"})
    return Exposure(MaskedImage.from_image(image), Detector.of_shape((4, 5), gain=2.0), facts=facts)


def chain(*steps: str) -> IsrTask:
    config = default_config(REGISTRY)
    for spec in REGISTRY.specs.values():
        if spec.flag is not None:
            config.set(spec.flag, spec.name in ("conversion", *(steps or ("deferredCharge",))))
    config.expectWcs = False
    return IsrTask(config, registry=REGISTRY)


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (None, "step 'deferredCharge' needs calibration 'deferredCharge', none was given"),
        ({"0": 1e-6}, "deferredCharge is a 'dict': give an isrcore.DeferredCharge"),
        (TABLE, "deferredCharge is of detector 'ccd0': give that of 'unnamed'"),
        (TABLE, "deferredCharge has amplifiers A, B, the detector 0"),
        (DeferredCharge({"0": SerialTransfer(cti=0.1)}), "would lose 50% of the charge of its last column"),
    ],
)
def test_a_table_that_does_not_fit_is_refused_before_any_pixel(table: object, told: str) -> None:
    with pytest.raises(PlanError) as caught:
        chain().run(exposure(), deferredCharge=table)
    assert told in str(caught.value)


def test_a_run_records_what_it_did() -> None:
    given_exposure, task = exposure(), chain()
    found = task.run(given_exposure, deferredCharge=DeferredCharge({"0": SerialTransfer(cti=1e-4)})).exposure
    assert "deferred-charge-corrected" in found.facts
    assert (found.image > 100).sum() > 0
    assert (given_exposure.image == 100).all()
    # 200 electron lose 0.02 in the first column: the largest correction.
    measured = found.measured["deferredCharge"]["0"]
    assert measured.converged
    assert measured.largest == pytest.approx(0.02, rel=0.01)
    metadata = task.deferredCharge.metadata
    assert metadata["ISR DEFERRED 0 ITERATIONS"] == measured.iterations
    assert metadata["ISR DEFERRED 0 LARGEST"] == measured.largest
    assert metadata["converged"] is True


def test_prescan_is_found_wherever_amplifiers_store_it() -> None:
    # Four columns before the first of every row, stored at either end.
    for detector in PLUGINS.camera("simulated").detectors:
        assert [_prescan_width(amp) for amp in detector.amplifiers] == [4, 4]
        # Columns behind the last of every row would be overscan.
        amp = detector.amplifiers[0]
        other = attrs.evolve(amp, readout_corner="L" + "LR"[amp.readout_corner[1] == "L"])
        assert _prescan_width(other) == 0
