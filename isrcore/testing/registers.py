"""Hypothesis strategies for serial registers that lose charge."""

from __future__ import annotations

from hypothesis import strategies as st

from isrcore.camera import Detector
from isrcore.deferred_charge import DeferredCharge, SerialTransfer


def serial_transfers(max_cti: float = 1e-3) -> st.SearchStrategy[SerialTransfer]:
    """Registers with a loss per transfer up to ``max_cti``, and with traps or without; some are perfect."""
    return st.builds(
        SerialTransfer,
        cti=st.just(0.0) | st.floats(1e-6, max_cti),
        trap_size=st.just(0.0) | st.floats(0.01, 0.5),
        trap_emission=st.floats(0.3, 20.0),
        trap_well=st.floats(2e4, 2e5),
        trap_power=st.just(1.0) | st.floats(0.5, 1.0),
    )


def deferred_charges(detector: Detector) -> st.SearchStrategy[DeferredCharge]:
    """A table with a register of its own for every amplifier of a detector."""
    registers = st.fixed_dictionaries({name: serial_transfers() for name in detector.amplifier_names})
    return st.builds(DeferredCharge, registers, st.sampled_from(["", detector.name]))
