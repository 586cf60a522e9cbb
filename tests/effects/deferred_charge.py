"""Charge that lags behind in serial registers, transfer by transfer and trap by trap, in plain numpy."""

import numpy as np


def defer_charge(charge, amplifiers):
    """What the outputs collect of ``charge``, assembled, in electron; float64.

    Every amplifier has "box" (y0, y1, x0, x1) and "output" ("L" or "R"), and may have "prescan" (columns
    between data and output), "cti" (the fraction that a transfer leaves behind) and "trap": a dict of "size"
    (electron held by the traps of one register pixel), "emission" (transfers), "well" (electron that reach
    all of them) and "power". Each pixel of the register has traps of its own, empty when a row comes in.
    What comes out after the last column falls into the overscan, which is not kept.
    """
    collected = np.array(charge, float)
    for amp in amplifiers:
        y0, y1, x0, x1 = amp["box"]
        part = collected[y0:y1, x0:x1][:, :: -1 if amp["output"] == "R" else 1]
        first = amp.get("prescan", 0)
        trap = amp.get("trap", {"size": 0.0, "emission": 1.0, "well": 1.0, "power": 1.0})
        packets = np.pad(part, ((0, 0), (first, 0)))
        held = np.zeros_like(packets)
        for clock in range(packets.shape[1]):
            freed = held * -np.expm1(-1 / trap["emission"])
            packets, held = packets + freed, held - freed
            reach = trap["size"] * np.clip(packets / trap["well"], 0, 1) ** trap["power"]
            caught = np.maximum(reach - held, 0)
            packets, held = packets - caught, held + caught
            left = amp.get("cti", 0.0) * packets
            if clock >= first:
                part[:, clock - first] = packets[:, 0] - left[:, 0]
            packets = left + np.pad(packets - left, ((0, 0), (0, 1)))[:, 1:]
    return collected
