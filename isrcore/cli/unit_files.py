"""The files of one unit: its product, and what the configuration asks for besides."""

from __future__ import annotations

from pathlib import Path

import attrs

from isrcore.atomic import remove_unfinished
from isrcore.exposure import Exposure
from isrcore.fits import FitsError
from isrcore.paths import stem
from isrcore.pictures import write_png
from isrcore.task import Struct

_UNINTERPOLATED = "postISRCCD_uninterpolated"
_PICTURES = ("ossThumb", "flattenedThumb")


@attrs.frozen
class UnitFiles:
    """The product, and beside it a folder for every other kind of output, named as the dataset it is."""

    product: Path

    def exposures(self, result: Struct) -> dict[Path, Exposure]:
        """The exposures of what `IsrTask.run` returned, by file; makes the folders."""
        found = {self.product: result.exposure}
        if result.preInterpolatedExposure is not None:
            found[self._beside(_UNINTERPOLATED, self.product.name)] = result.preInterpolatedExposure
        return found

    def write_pictures(self, result: Struct) -> None:
        """Write the thumbnails that were made. Raises `FitsError` when a folder or file cannot be."""
        for name in _PICTURES:
            picture = getattr(result, name)
            if picture is not None:
                path = self._beside(name, f"{stem(self.product)}.png")
                try:
                    write_png(path, picture)
                except OSError as fault:
                    raise FitsError(f"cannot write {str(path)!r}: {fault.strerror}; free space") from fault

    def _beside(self, folder: str, name: str) -> Path:
        """A file in a folder beside the product, of which nothing unfinished is left."""
        path = self.product.parent / folder / name
        path.parent.mkdir(exist_ok=True)
        remove_unfinished(path)
        return path
