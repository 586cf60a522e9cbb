"""An independent model of a CCD: from a known sky to the raw frame it leaves, in plain numpy.

Nothing here comes from isrcore, so an error of isrcore cannot cancel. Boxes are (y0, y1, x0, x1).
Poisson noise is exact; digitisation rounds to the nearest adu, which adds 1/12 adu^2 of variance.
"""

import numpy as np

# "raw" is all an amplifier writes; outside "data" it holds level and read noise only (overscan, prescan).
_A = {"raw": (0, 4644, 0, 1056), "data": (0, 4612, 32, 1056), "box": (0, 4612, 0, 1024)}
_A |= {"gain": 1.62, "read_noise": 4.1, "level": 1210.0}
_B = {"raw": (0, 4644, 1056, 2112), "data": (0, 4612, 1056, 2080), "box": (0, 4612, 1024, 2048)}
_B |= {"gain": 1.74, "read_noise": 5.3, "level": 1365.0}
MEGACAM = {"shape": (4612, 2048), "raw_shape": (4644, 2112), "amplifiers": {"A": _A, "B": _B}}


def expose(layout, sky, time_s=0.0, *, flat=1.0, dark=0.0, dead=(), hot=(), full_well=np.inf, seed=0, **read):
    """The raw frame (uint16) and the truth: mean ``electrons`` before saturation, and that of `read_out`.

    ``sky`` electron/pixel, ``flat`` relative, ``dark`` electron/s: scalars or assembled (trimmed) frames.
    ``dead`` boxes collect nothing; ``hot`` pairs (box, electron/s) add charge; ``full_well`` electron.
    """
    rng = np.random.default_rng(seed)
    mean = (np.ones(layout["shape"]) * sky * flat + dark * time_s).astype(np.float32)
    for box, rate in hot:
        mean[cut(box)] += rate * time_s
    for box in dead:
        mean[cut(box)] = 0
    charge = np.minimum(rng.poisson(mean), full_well).astype(np.float32)
    raw, truth = read_out(layout, charge, rng, **read)
    return raw, {**truth, "electrons": mean, "saturated": truth["saturated"] | (charge >= full_well)}


def read_out(layout, charge, rng, *, bias=0.0, drift=0.0, row_noise=0.0, adc_max=65535):
    """Digitise ``charge`` (electron). ``bias`` adu; raw row y has level + drift cos(pi y/n) + row noise.

    The truth: ``levels`` (adu) per raw row by amplifier, and the trimmed pixels that are ``saturated``.
    """
    raw, saturated, levels = np.zeros(layout["raw_shape"], np.float32), np.zeros(charge.shape, bool), {}
    bias, n = np.broadcast_to(np.float32(bias), charge.shape), len(raw)
    for name, amp in layout["amplifiers"].items():
        (y0, y1, x0, x1), data, box = amp["raw"], cut(amp["data"]), cut(amp["box"])
        wave = drift * np.cos(np.pi * np.arange(n) / n) + row_noise * rng.standard_normal(n)
        levels[name] = amp["level"] + wave
        noise = rng.standard_normal((y1 - y0, x1 - x0), np.float32) * (amp["read_noise"] / amp["gain"])
        raw[y0:y1, x0:x1] = levels[name][y0:y1, None] + noise
        raw[data] += turn(amp, charge[box] / amp["gain"] + bias[box])
        saturated[box] = turn(amp, raw[data] + 0.5 >= adc_max)
    return np.clip(raw + 0.5, 0, adc_max).astype(np.uint16), {"levels": levels, "saturated": saturated}


def cut(box):
    return slice(*box[:2]), slice(*box[2:])


def turn(amp, pixels):
    return pixels[:: -1 if amp.get("flip_y") else 1, :: -1 if amp.get("flip_x") else 1]
