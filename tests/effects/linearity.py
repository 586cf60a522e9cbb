"""Response that is not proportional, put into a frame. Plain numpy; nothing here comes from isrcore."""

import numpy as np


def respond(image, amplifiers):
    """What amplifiers read for an assembled image of proportional counts; both in adu, float64 arrays.

    An output node of which the capacitance changes with the voltage on it holds a charge of v + c v² at a
    reading v (Janesick 2007, Photon Transfer, V/e nonlinearity), with c = amp["capacitance_slope"] in
    1/adu. Another response is a table amp["response"] of (proportional, read) counts, both rising, with
    straight lines between and the last difference kept beyond. Boxes are (y0, y1, x0, x1).
    """
    read = np.array(image, np.float64)
    for amp in amplifiers:
        y0, y1, x0, x1 = amp["box"]
        part = read[y0:y1, x0:x1]
        if slope := amp.get("capacitance_slope"):
            part[...] = (np.sqrt(1 + 4 * slope * part) - 1) / (2 * slope)
        if "response" in amp:
            charge, reading = (np.asarray(column, np.float64) for column in amp["response"])
            part -= np.interp(part, charge, charge - reading)
    return read
