"""What serial registers do to rows of charge, and how to undo it.

Rows are transposed here: an array has shape (columns, rows), float32, in electron, with the column next to
the output first. Then a register is walked through column by column, for many rows at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from isrcore import SerialTransfer

Charge = npt.NDArray[np.float32]

# Shares of a pixel's charge below this are left out: a full pixel holds some 1e5 electron.
_LEAST_SHARE = 1e-9


@attrs.frozen(eq=False)
class Register:
    """The serial register of an amplifier, as the charge of one row meets it.

    ``shares[k]`` (columns, 1) of a pixel's charge arrive k pixels late because of transfers that leave
    charge behind; of ``shares[0]`` one is subtracted. ``capacity`` (columns, 1) is what the traps that a
    packet passes hold at most, in electron, and ``kept`` what they still hold one transfer later.
    """

    transfer: SerialTransfer
    shares: tuple[Charge, ...]
    capacity: Charge
    kept: np.float32

    @classmethod
    def of(cls, transfer: SerialTransfer, transfers: npt.NDArray[np.int64]) -> Register:
        """The register of columns that need so many transfers to get to the output."""
        capacity = (transfer.trap_size * transfers).astype(np.float32)[:, None]
        shares = tuple(_shares(transfer.cti, transfers))
        return cls(transfer, shares, capacity, np.float32(math.exp(-1 / transfer.trap_emission)))

    def change(self, charge: Charge, out: Charge, room: Charge) -> Charge:
        """What the read-out adds to every pixel, in ``out``; ``room`` (2, columns, rows) is overwritten."""
        arriving = charge
        out.fill(0)
        if self.transfer.trap_size:
            self._trap(charge, room[0], out)
            arriving = np.add(charge, out, out=room[0])
        for late, share in enumerate(self.shares):
            stop = len(charge) - late
            moved = np.multiply(arriving[:stop], share[:stop], out=room[1, :stop])
            np.add(out[late:], moved, out=out[late:])
        return out

    def _trap(self, charge: Charge, held: Charge, out: Charge) -> None:
        """Take what traps hold after each packet from what they held before.

        All traps that a packet passes are one reservoir: it first lets go, into the packet, then fills up
        to what the packet reaches. What it gives and takes adds up to what it holds.
        """
        self._reach(charge, held)
        left = np.empty(held.shape[1], np.float32)
        for before, here in pairwise(held):
            np.multiply(before, self.kept, out=left)
            np.maximum(here, left, out=here)
        np.negative(held[0], out=out[0])
        np.subtract(held[:-1], held[1:], out=out[1:])

    def _reach(self, charge: Charge, held: Charge) -> None:
        """Charge of the traps that packets reach, in ``held``."""
        power = self.transfer.trap_power
        np.multiply(charge, np.float32(1 / self.transfer.trap_well), out=held)
        np.clip(held, 0, 1, out=held)
        if power != 1:
            # A third of the time of np.power; the logarithm of zero is welcome.
            with np.errstate(divide="ignore"):
                np.log(held, out=held)
            np.multiply(held, np.float32(power), out=held)
            np.exp(held, out=held)
        np.multiply(held, self.capacity, out=held)


def _shares(cti: float, transfers: npt.NDArray[np.int64]) -> Iterator[Charge]:
    """P(k late) - P(0 late without loss), for k = 0, 1, ..., as long as they matter.

    Of n transfers that each leave charge behind with probability c, k do so before n did not:
    C(n+k-1, k) c^k (1-c)^n, the negative binomial distribution.
    """
    if not cti:
        return
    number = transfers.astype(np.float64)
    on_time = number * math.log1p(-cti)
    yield np.expm1(on_time).astype(np.float32)[:, None]
    share, late = np.exp(on_time), 0
    while late + 1 < number.size:
        late += 1
        share = share * (number + late - 1) * (cti / late)
        if share.max() < _LEAST_SHARE:
            break
        yield share.astype(np.float32)[:, None]


@attrs.frozen
class Restored:
    """How well rows were restored: iterations, rows that did not converge, largest change in electron."""

    iterations: int
    unconverged: int
    largest: float


class Bench:
    """Memory to work on up to ``rows`` rows of a register."""

    def __init__(self, register: Register, rows: int) -> None:
        self._register = register
        shape = len(register.capacity), rows
        self._charge = np.empty((2, *shape), np.float32)
        self._change = np.empty((2, *shape), np.float32)
        self._room = np.empty((2, *shape), np.float32)

    def lose(self, image: Any, gain: float) -> None:
        """Let the register act on the pixels of some rows, (rows, columns) in adu, in place."""
        charge = self._charge[0, :, : image.shape[0]]
        _load(image, gain, charge)
        change = self._change[0, :, : image.shape[0]]
        self._register.change(charge, change, self._room[:, :, : image.shape[0]])
        np.divide(change, np.float32(gain), out=change)
        np.add(image, change.T, out=image)

    def restore(self, image: Any, gain: float, threshold: float, max_iter: int) -> Restored:
        """Undo what the register did to some rows, in place: find x with x + change(x) = image.

        x is the image minus the change that x itself suffers, again and again (Bristow 2003). A row is done
        when no pixel's change moves by more than ``threshold`` (electron), whatever other rows do.
        """
        rows = slice(0, image.shape[0])
        observed, charge = self._charge[:, :, rows]
        old, new = self._change[:, :, rows]
        _load(image, gain, observed)
        charge[...], old[...] = observed, 0
        moves, iterations = np.ones(image.shape[0], bool), 0
        while moves.any() and iterations < max_iter:
            iterations += 1
            self._register.change(charge, new, self._room[:, :, rows])
            if not moves.all():
                new[:, ~moves] = old[:, ~moves]
            moves &= _largest(np.subtract(new, old, out=self._room[0, :, rows])) > threshold
            old, new = new, old
            np.subtract(observed, old, out=charge)
        largest = float(_largest(old).max())
        np.divide(old, np.float32(gain), out=old)
        np.subtract(image, old.T, out=image)
        return Restored(iterations, int(np.count_nonzero(moves)), largest)


def _largest(values: Charge) -> Charge:
    """The largest absolute value of every row."""
    found: Charge = np.maximum(values.max(axis=0), -values.min(axis=0))
    return found


def _load(image: Any, gain: float, charge: Charge) -> None:
    """Charge in the order in which it is read out. What is no number counts as what was read before it."""
    np.multiply(image.T, np.float32(gain), out=charge)
    good = np.isfinite(charge)
    if good.all():
        return
    charge[0, ~good[0]] = 0
    for place in np.flatnonzero(~good[1:].all(axis=1)) + 1:
        charge[place] = np.where(good[place], charge[place], charge[place - 1])
