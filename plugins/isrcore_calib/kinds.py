"""The kinds of calibration: what each is made from, corrected with, and written as."""

from __future__ import annotations

import attrs


@attrs.frozen
class Kind:
    """One kind of calibration.

    ``inputs`` are the types of exposures it is made from; with one only, frames that do not say their type
    are taken to be of it. ``masters`` may be given to correct them, ``required`` must be unless their step is
    off. ``output`` says whether there is a file with pixels for each detector (``frame``), a table for each
    (``table``) or one table for all (``joint``). With ``one_filter`` filters must not be mixed.
    """

    name: str
    inputs: tuple[str, ...]
    masters: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    output: str = "frame"
    one_filter: bool = False


KINDS = {
    kind.name: kind
    for kind in (
        Kind("bias", ("bias",)),
        Kind("dark", ("dark",), ("bias",), ("bias",)),
        Kind("flat", ("flat",), ("bias", "dark"), ("bias",), one_filter=True),
        Kind("fringe", ("science",), ("bias", "dark", "flat"), ("bias", "flat"), one_filter=True),
        Kind("defects", ("flat", "dark"), ("bias",), output="table"),
        Kind("crosstalk", ("science",), ("bias",), output="table"),
        Kind("gain", ("flat", "bias"), output="joint"),
    )
}

#: The masters that inputs can be corrected with.
MASTERS = ("bias", "dark", "flat")
