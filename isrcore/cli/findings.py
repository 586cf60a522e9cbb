"""How far products of simulated frames are from the truth behind them."""

from __future__ import annotations

import math
from pathlib import Path

import attrs
import numpy as np

from isrcore.exposure import Exposure
from isrcore.fits import read_exposure
from isrcore.image import Float32, MaskedImage

#: Largest mean residual (adu), and how far the width of pulls may be from 1; where there are too few pixels
#: to know either so well, this many of their standard errors.
RESIDUAL, PULL, ERRORS = 0.05, 0.02, 4.0
#: Smallest share of pixels without flags.
CLEAN = 0.98

_CLIP, _PASSES = 5.0, 5


@attrs.frozen(eq=False)
class Finding:
    """What comparing one product with the truth gave, over pixels without flags.

    ``residuals`` are clipped means of product minus truth by amplifier, in adu, with their ``errors``;
    ``sky`` the median of the truth, adu; ``pull_width`` the standard deviation of residuals in units of the
    noise that the variance plane states; ``clean`` the share of pixels without flags, ``found`` that of bad
    and saturated pixels that got their flags. ``pulls`` holds the residuals in units of the noise.
    """

    detector: str
    sky: float
    residuals: dict[str, float]
    errors: dict[str, float]
    pull_width: float
    clean: float
    found: float
    pulls: Exposure

    @property
    def is_good(self) -> bool:
        """Whether the product is as near to the truth as it should be."""
        return not self.faults()

    def faults(self) -> list[str]:
        """What is not as it should be, in words."""
        limits = {name: max(RESIDUAL, ERRORS * error) for name, error in self.errors.items()}
        told = [
            f"amplifier {name}: mean residual {value:+.3f} adu, more than {limits[name]:.3f}"
            for name, value in self.residuals.items()
            if not abs(value) < limits[name]
        ]
        # The standard deviation of n normal numbers is uncertain by 1/sqrt(2n) of itself.
        pull_limit = max(PULL, ERRORS / math.sqrt(2 * max(self.clean * self.pulls.mask.size, 1)))
        if not abs(self.pull_width - 1) < pull_limit:
            told.append(f"pulls are {self.pull_width:.3f} wide, further from 1 than {pull_limit:.3f}")
        if not self.clean >= CLEAN:
            told.append(f"only {self.clean:.1%} of the pixels are unflagged, less than {CLEAN:.0%}")
        if self.found != 1:
            told.append(f"only {self.found:.2%} of bad and saturated pixels are flagged")
        return told


def examine(product: Path, truth: Path, master_flat: Path, true_flat: Path) -> Finding:
    """Compare a product with the truth, given the master flat it was made with and the true one.

    Master flats are 1 on their own means, which leaves a factor between product and truth, the same for all
    pixels; it is found from the flats.
    """
    exposure, true = read_exposure(product), read_exposure(truth)
    expected = true.image / _scale(master_flat, true_flat)
    residual = np.subtract(exposure.image, expected, out=expected)
    good = exposure.mask == 0
    pulls: Float32 = np.divide(residual, np.sqrt(exposure.variance), dtype=np.float32)
    flawed = true.pixels.flagged("BAD", "SAT")
    means = {
        amp.name: _clipped_mean(residual[amp.box.slices][good[amp.box.slices]])
        for amp in exposure.detector.amplifiers
    }
    return Finding(
        detector=exposure.detector.name,
        sky=float(np.median(true.image)),
        residuals={name: mean for name, (mean, _) in means.items()},
        errors={name: error for name, (_, error) in means.items()},
        pull_width=float(np.std(pulls[good], dtype=np.float64)),
        clean=float(good.mean()),
        found=float(1 - good[flawed].mean()) if flawed.any() else math.nan,
        pulls=_drawable(exposure, pulls),
    )


def _scale(master: Path, true: Path) -> np.float32:
    """How many times the true flat the master flat is."""
    made, response = read_exposure(master), read_exposure(true).image
    good = (made.mask == 0) & (response > 0)
    return np.float32((made.image[good] / response[good]).mean(dtype=np.float64))


def _clipped_mean(values: Float32) -> tuple[float, float]:
    """The mean within five standard deviations, and its standard error."""
    kept = values.astype(np.float64)
    for _ in range(_PASSES):
        kept = kept[abs(kept - kept.mean()) <= _CLIP * kept.std()]
    return float(kept.mean()), float(kept.std()) / math.sqrt(kept.size)


def _drawable(exposure: Exposure, pulls: Float32) -> Exposure:
    """Pulls as an exposure; those of flagged pixels, which nobody vouches for, are 0."""
    pulls[exposure.mask != 0] = 0
    pixels = MaskedImage(pulls, exposure.mask, exposure.variance, exposure.planes)
    return attrs.evolve(exposure.share(), pixels=pixels, unit="")
