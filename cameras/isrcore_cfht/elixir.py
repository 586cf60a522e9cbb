"""What the observatory's pipeline Elixir says it did to a file."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import attrs

from isrcore import Exposure, HistoryEntry

_log = logging.getLogger(__name__)


@attrs.frozen
class Operation:
    """An operation of Elixir: the fact it makes true, our step for it, and the card that names its file."""

    fact: str
    step: str
    card: str


_OPERATIONS = {
    "OVERSCAN": Operation("overscan-subtracted", "overscan", "IMRED_OV"),
    "BIAS": Operation("bias-subtracted", "bias", "IMRED_BS"),
    "DARK_CURRENT": Operation("dark-subtracted", "dark", "IMRED_DK"),
    "FLAT-FIELD": Operation("flat-fielded", "flat", "IMRED_FF"),
}
_FRINGE = Operation("fringe-subtracted", "fringe", "IMCMB_01")
# Bad pixels are multiplied by zero, which flags nothing: no fact of ours follows.
_WITHOUT_FACT = {"MASK_BP"}
_MASTER = "MASTER_DETREND_"
_MASTERS = {"BIAS": "bias", "DARK": "dark", "SKYFLAT": "flat", "FLAT": "flat", "FRINGE": "fringes"}


def master_kind(header: Mapping[str, Any]) -> str:
    """Which calibration the header says it is, empty when it is none that Elixir made.

    Named as our steps name what they read. IMCMB_FT is ``MASTER_DETREND_`` and BIAS, DARK, SKYFLAT or FRINGE.
    """
    stack = str(header.get("IMCMB_FT", "")).strip()
    if not stack.startswith(_MASTER):
        return ""
    name = stack.removeprefix(_MASTER)
    return _MASTERS.get(name, name.lower())


def given_facts(header: Mapping[str, Any]) -> dict[str, str]:
    """Facts that hold already, and who made them true; none for a raw file.

    From the operations of IMRED_OP, and IMCMB_FT for fringes, which are removed last. Operations that are
    not known are logged.
    """
    return {operation.fact: who for operation, who in _done(header)}


def with_history(exposure: Exposure) -> Exposure:
    """The exposure with a record of what Elixir did and with which files."""
    header = exposure.header
    version = str(header.get("IMRED_DT", "")).partition(" - ")[0]
    exposure.history += tuple(
        HistoryEntry(
            operation.step, "Elixir", version, calibration=str(header.get(operation.card, "")).split(" ")[0]
        )
        for operation, _ in _done(header)
    )
    return exposure


def _done(header: Mapping[str, Any]) -> list[tuple[Operation, str]]:
    """What Elixir did, in order, and the card that says so."""
    words = [word.strip() for word in str(header.get("IMRED_OP", "")).split("+") if word.strip()]
    unknown = [word for word in words if word not in _OPERATIONS and word not in _WITHOUT_FACT]
    if unknown:
        _log.warning("IMRED_OP names %s, which is not known here", ", ".join(unknown))
    done = [(_OPERATIONS[word], "Elixir (IMRED_OP)") for word in words if word in _OPERATIONS]
    if str(header.get("IMCMB_FT", "")).strip() == "DEFRINGE_SCIENCE":
        done.append((_FRINGE, "Elixir (IMCMB_FT)"))
    return done
