"""Put charge back that lagged behind in the serial register.

The model: a fraction lost in every transfer, and one species of traps spread along the register, as in
Massey et al. (2010, MNRAS 401, 371) and Snyder et al. (2021, JATIS 7, 048002).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

import attrs
import numpy as np
import numpy.typing as npt

from isrcore import (
    Amplifier,
    Calibrations,
    Config,
    DeferredCharge,
    Exposure,
    Measurement,
    Quantity,
    Simulation,
    Step,
    field,
    map_bands,
    row_bands,
    stepspecs,
)
from isrcore_standard.serial_register import Bench, Register, Restored

# Rows that are worked on together: many, because columns follow each other one by one.
_ROWS = 512

# A register that loses more of a pixel is broken, and what it lost cannot be found again by iteration.
_LARGEST_LOSS = 0.3


class DeferredChargeConfig(Config):
    """When the correction is good enough."""

    threshold: float = field(
        0.01, "Rows are done when no pixel moves by more than this, in electron: far below any read noise.",
        exclusive_minimum=0.0,
    )  # fmt: skip
    maxIter: int = field(
        20, "Iterations at most. Each leaves about the fraction of charge that is lost: 3 to 5 do.", minimum=1
    )


@attrs.frozen(eq=False)
class DeferredChargeMeasurement(Measurement):
    """How one amplifier's correction went.

    ``converged`` tells whether every row came to rest within ``iterations``; ``largest`` is the largest
    correction, in electron.
    """

    iterations: int
    converged: bool
    largest: float


class DeferredChargeCorrection(Step):
    """Undo the read-out of every row by iterating over the forward model; mask and variance stay.

    A row depends on that row and amplifier alone. A pixel that is no number stays so, and its neighbours are
    corrected as if it held what was read before it. Flagged pixels take part with what they hold: charge
    that lags behind a saturated pixel is real.
    """

    spec = stepspecs.DEFERRED_CHARGE
    ConfigClass = DeferredChargeConfig
    readers: ClassVar[Mapping[str, Callable[..., Any]]] = {"deferredCharge": DeferredCharge.read}
    quantities: ClassVar = (
        Quantity("iterations", "Iterations that were done.", kind=int),
        Quantity("converged", "Whether every row converged.", kind=bool),
        Quantity("largest", "Largest correction of a pixel.", "electron"),
    )

    def problems(self, exposure: Exposure, calibrations: Calibrations) -> Iterator[str]:
        """The table must be of this detector, and of registers that still work."""
        table = calibrations.get("deferredCharge")
        if table is None:
            return
        if not isinstance(table, DeferredCharge):
            yield f"deferredCharge is a {type(table).__name__!r}: give an isrcore.DeferredCharge"
            return
        detector = exposure.detector
        if table.detector_name and table.detector_name.lower() != detector.name.lower():
            yield f"deferredCharge is of detector {table.detector_name!r}: give that of {detector.name!r}"
        if set(table.amplifiers) != set(detector.amplifier_names):
            names = ", ".join(table.amplifiers)
            yield f"deferredCharge has amplifiers {names}, the detector {', '.join(detector.amplifier_names)}"
            return
        for amp in detector.amplifiers:
            yield from _amplifier_problems(amp, table)

    def run(self, exposure: Exposure, calibrations: Calibrations) -> None:
        """Correct one amplifier after the other, in bands of rows."""
        limits = self.config.threshold, self.config.maxIter

        def restore(bench: Bench, rows: Any, gain: float) -> Restored:
            return bench.restore(rows, gain, *limits)

        found = {
            amp.name: _summary(self._each_band(exposure.image, amp, calibrations, restore))
            for amp in exposure.detector.amplifiers
        }
        exposure.forget_statistics()
        exposure.measured = {**exposure.measured, self.spec.name: found}
        self._record(exposure, found)

    def _record(self, exposure: Exposure, found: Mapping[str, DeferredChargeMeasurement]) -> None:
        """Metadata, and a warning for amplifiers that did not converge."""
        for name, one in found.items():
            self.metadata.set(f"ISR DEFERRED {name} ITERATIONS", one.iterations)
            self.metadata.set(f"ISR DEFERRED {name} LARGEST", one.largest)
            if not one.converged:
                self.log.warning(
                    "%s: deferred charge of amplifier %s did not converge in %d iterations: "
                    "raise deferredCharge.maxIter or look at its table",
                    exposure.label, name, one.iterations,
                )  # fmt: skip
        self.metadata.set("converged", all(one.converged for one in found.values()))

    def simulate(self, simulation: Simulation) -> None:
        """Let the registers act."""
        for amp in simulation.detector.amplifiers:
            self._each_band(
                simulation.exposure.image,
                amp,
                simulation.calibrations,
                lambda bench, rows, g: bench.lose(rows, g),
            )

    def _each_band(
        self, image: Any, amp: Amplifier, calibrations: Calibrations, work: Callable[[Bench, Any, float], Any]
    ) -> list[Any]:
        """What ``work`` gives for every band of an amplifier's rows, the column next to the output first."""
        part = image[amp.box.slices][:, :: -1 if _is_right(amp) else 1]
        register = _register(amp, calibrations.get("deferredCharge"))
        height = min(_ROWS, part.shape[0])

        def make_look() -> Callable[[slice], Any]:
            bench = Bench(register, height)
            return lambda rows: work(bench, part[rows], amp.gain)

        return map_bands(row_bands(part.shape[0], height), make_look, self.threads)


def _summary(bands: list[Restored]) -> DeferredChargeMeasurement:
    """What was found of all bands."""
    return DeferredChargeMeasurement(
        max(band.iterations for band in bands),
        not any(band.unconverged for band in bands),
        max(band.largest for band in bands),
    )


def _is_right(amp: Amplifier) -> bool:
    """Whether the output is on the right of the amplifier in the assembled frame."""
    return amp.readout_corner.endswith("R")


def _transfers(amp: Amplifier) -> npt.NDArray[np.int64]:
    """Transfers from every column to the output, nearest first; prescan pixels lie between the two."""
    return np.arange(1, amp.box.width + 1) + _prescan_width(amp)


def _prescan_width(amp: Amplifier) -> int:
    """Columns of prescan between data and output in the raw frame."""
    box, data = amp.prescan_box, amp.raw_data_box
    is_beside = box.y0 < data.y1 and box.y1 > data.y0
    is_right_in_raw = _is_right(amp) != amp.flip_x
    lies_there = box.x0 >= data.x1 if is_right_in_raw else box.x1 <= data.x0
    return box.width if box.area and is_beside and lies_there else 0


def _register(amp: Amplifier, table: DeferredCharge) -> Register:
    return Register.of(table.amplifiers[amp.name], _transfers(amp))


def _amplifier_problems(amp: Amplifier, table: DeferredCharge) -> Iterator[str]:
    """Why an amplifier cannot be corrected."""
    if not amp.gain > 0:
        yield f"amplifier {amp.name!r} has gain {amp.gain}, deferred charge needs electrons"
    loss = table.amplifiers[amp.name].cti * int(_transfers(amp)[-1])
    if loss > _LARGEST_LOSS:
        yield (
            f"amplifier {amp.name!r} would lose {loss:.0%} of the charge of its last column: "
            "cti is the fraction of one transfer"
        )
