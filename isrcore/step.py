"""What an implementation of a step looks like.

A `PixelStep` declares operations and never loops over arrays; a `GatherStep` moves amplifiers; any other
`Step` runs on the exposure, for what needs neighbours or other amplifiers. All are Tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import attrs

from isrcore.camera import Amplifier, Camera, Detector
from isrcore.defects import Defects
from isrcore.exposure import Exposure, VisitInfo
from isrcore.filters import filter_names, why_unlisted
from isrcore.geometry import Box, Gather
from isrcore.image import MaskedImage
from isrcore.kernels.ops import Op
from isrcore.quantities import Quantity, make_catalog
from isrcore.stepspecs import StepSpec
from isrcore.task import Task

if TYPE_CHECKING:
    from isrcore.calibrations import Calibrations
    from isrcore.simulation import Simulation


class StepError(RuntimeError):
    """A step cannot do its work on this exposure; the message names exposure, reason and remedy."""


@attrs.frozen
class Skip:
    """Why a step that is switched on has nothing to do."""

    reason: str


@attrs.frozen(eq=False)
class Measurement:
    """What a pixel step measured on one amplifier (or detector): base class of frozen results."""


@attrs.frozen(eq=False)
class AmpView:
    """What a pixel step sees: one amplifier (or, per detector, all of it) of one exposure.

    ``amp`` is None for a step per detector. ``box`` is the place of the view's pixels in the geometry of
    the moment (raw before assembly, trimmed after). ``facts`` and ``unit`` are those that will hold when the
    step's turn comes. ``measurement`` is what the step itself measured, None before.
    """

    exposure: Exposure
    calibrations: Calibrations
    amp: Amplifier | None
    box: Box
    facts: frozenset[str]
    unit: str
    pixels_in: Callable[[Box], MaskedImage]
    measurements: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict)
    measurement: Any = None

    @property
    def name(self) -> str:
        """The amplifier's name, or the detector's for a step per detector."""
        return self.detector.name if self.amp is None else self.amp.name

    def split(self) -> tuple[AmpView, ...]:
        """A view of every amplifier, of a view of the whole detector."""
        return tuple(
            attrs.evolve(self, amp=amp, box=amp.box if self.is_assembled else amp.raw_box)
            for amp in self.detector.amplifiers
        )

    @property
    def is_assembled(self) -> bool:
        """Whether ``box`` is in the trimmed frame when the step's turn comes, rather than in the raw one."""
        return "assembled" in self.facts

    @property
    def detector(self) -> Detector:
        """The detector, with this exposure's levels."""
        return self.exposure.detector

    @property
    def amplifier(self) -> Amplifier:
        """The amplifier. Raises TypeError in a step per detector, which has none."""
        if self.amp is None:
            raise TypeError("this step runs per detector and has no amplifier; declare per = 'amplifier'")
        return self.amp

    @property
    def visit(self) -> VisitInfo:
        """When and how the exposure was taken."""
        return self.exposure.visit

    @property
    def defects(self) -> Defects | None:
        """The known defects of the detector, if they were given."""
        found: Defects | None = self.calibrations.get("defects")
        return found

    def offers(self, kind: str) -> bool:
        """Whether a usable calibration of this kind was given."""
        return self.calibrations.offers(kind)

    def calibration(self, kind: str) -> MaskedImage:
        """The part of a calibration frame under the view. Raises LookupError when it was not given."""
        return self.calibrations.frame(kind).pixels.window(self.box)

    def visit_of(self, kind: str) -> VisitInfo:
        """When and how a calibration frame was taken."""
        return self.calibrations.frame(kind).visit

    def measured(self, step: str) -> Any:
        """What another step measured here: None when it has not run, or measured nothing."""
        return self.measurements.get(step, {}).get(self.name)

    def bits(self, *planes: str) -> int:
        """The mask value of these planes."""
        return self.exposure.planes.value(*planes)

    def pixels(self, box: Box) -> MaskedImage:
        """The pixels in ``box`` as the steps before this one leave them: a float32 copy.

        Only for steps whose ``reads_pixels`` says so. The box is in the geometry of the moment.
        """
        return self.pixels_in(box)


class Step(Task):
    """An implementation of one `StepSpec`, optionally bound to one camera.

    Override `run` for steps that need neighbours or other amplifiers; such a step ends a segment.
    """

    spec: ClassVar[StepSpec]
    camera: ClassVar[str] = ""

    #: How files with calibrations are read that are no frames: by kind, a function of path and detector name.
    #: It raises ValueError or OSError, saying what is wrong with the file.
    readers: ClassVar[Mapping[str, Callable[[Path, str], Any]]] = {}

    #: What `measure` or `run` finds for every amplifier (or the detector), as columns of a catalog:
    #: attributes of what is kept in ``exposure.measured``.
    quantities: ClassVar[tuple[Quantity, ...]] = ()

    #: Datasets of a repository that may hold a kind of calibration, those to look for first first; a kind
    #: without an entry is a dataset of its own name (see `datasets`). Files say by their type which dataset
    #: they are of.
    dataset_names: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    #: Whether `run` writes pixels or flags: then it never gets those of the exposure somebody gave.
    changes_pixels: ClassVar[bool] = True

    #: Name and version of the plugin that brought the step, for records; set by the task that runs it.
    plugin: str = ""
    version: str = ""

    def __init_subclass__(cls, **keywords: Any) -> None:
        """A step that stands alone is named by its contract."""
        super().__init_subclass__(**keywords)
        if "spec" in vars(cls):
            cls._DefaultName = cls.spec.name

    def contract(self, exposure: Exposure) -> StepSpec | Skip:
        """The contract for this exposure, or why there is nothing to do. Must not read pixels."""
        return self.spec

    def datasets(self, kind: str) -> tuple[str, ...]:
        """Datasets of a repository that may hold a kind of calibration, those to look for first first.

        A config with ``dataProductName`` names that of the kind the step is about.
        """
        own = getattr(self.config, "dataProductName", None)
        is_main = kind in self.spec.calibrations
        return (own,) if own and is_main else self.dataset_names.get(kind, (kind,))

    def skips(self, exposure: Exposure, calibrations: Calibrations) -> Skip | None:
        """Why there is nothing to do with these inputs, which `contract` does not know; None if there is.

        Must not read pixels.
        """
        return None

    def problems(self, exposure: Exposure, calibrations: Calibrations) -> Iterator[str]:
        """What makes the step impossible on these inputs, beyond its contract. Must not read pixels.

        The exposure has the facts and the unit that will hold when the step's turn comes.
        """
        return iter(())

    def run(self, exposure: Exposure, calibrations: Calibrations) -> None:
        """Do the step in place. Pixels of a raw exposure belong to the caller and are never written."""
        raise TypeError(f"step '{self.spec.name}' has no run: {type(self).__name__} is run in segments")

    def simulate(self, simulation: Simulation) -> None:
        """Put into ``simulation.exposure``, in place, what the step takes out of a real one.

        By default nothing: that is right for steps that flag, set the variance or only look.
        """

    @property
    def catalog_name(self) -> str:
        """The dataset of the step's catalog: "isr_overscan"."""
        return f"isr_{self.spec.name}"

    def getSchemaCatalogs(self) -> dict[str, Any]:
        """The catalog of what the step measures, without rows; nothing when it measures nothing."""
        return {self.catalog_name: make_catalog(self.quantities)} if self.quantities else {}

    def catalogs(self, exposure: Exposure) -> dict[str, Any]:
        """The same with what was measured on an exposure; without rows when the step did not run."""
        if not self.quantities:
            return {}
        return {self.catalog_name: make_catalog(self.quantities, exposure.measured.get(self.spec.name))}

    def finish(self, exposure: Exposure) -> None:
        """After the pixels: record what was measured in header and metadata. Must not change pixels."""

    def top_config(self) -> Any:
        """The config of the task this step belongs to; its own when it stands alone."""
        return self.config if self._parent is None else self._parent.config

    def camera_of(self, exposure: Exposure) -> Camera | None:
        """The exposure's camera, if the task that runs the step knows it."""
        cameras: Mapping[str, Camera] = getattr(getattr(self._parent, "registry", None), "cameras", {})
        return cameras.get(exposure.camera)

    def filter_names(self, exposure: Exposure) -> tuple[str, ...]:
        """Everything the exposure's filter is called, the header's name first; nothing when it has none."""
        return filter_names(exposure.visit.filter, self.camera_of(exposure))

    def skip_unlisted(self, exposure: Exposure, listed: Collection[str]) -> Skip | None:
        """Why a step that is for the filters of its section's ``filters`` has nothing to do; None if it has.

        Filters may be listed by any of their names.
        """
        why = why_unlisted(exposure.visit.filter, listed, self.camera_of(exposure))
        names = ", ".join(listed) or "which is empty"
        return Skip(f"{why} in {self.spec.name}.filters ({names})") if why else None

    @property
    def threads(self) -> int:
        """How many threads the task that runs the step uses for pixels; one when it stands alone."""
        return int(getattr(getattr(self._parent, "executor", None), "threads", 1))


class PixelStep(Step):
    """A step whose effect on a pixel depends on that pixel, calibrations and what was measured before.

    ``per`` says whether it sees one amplifier at a time or the whole detector.
    """

    per: ClassVar[Literal["amplifier", "detector"]] = "amplifier"

    def reads_pixels(self) -> bool:
        """Whether `measure` looks at the exposure's own pixels, with ``view.pixels``."""
        return False

    def measure(self, view: AmpView) -> Measurement | None:
        """What the operations need to know, as frozen data; kept in ``exposure.measured``."""
        return None

    def ops(self, view: AmpView) -> Iterator[Op]:
        """The operations, in order."""
        raise TypeError(
            f"step '{self.spec.name}': {type(self).__name__} must say its operations in ops(view)"
        )

    def simulate(self, simulation: Simulation) -> None:
        """Undo the operations, last first, without their effect on the variance.

        Override where the operations depend on the pixels they change. Raises StepError when `measure` looks
        at such pixels, and NotInvertible for an operation that loses what it replaces.
        """
        simulation.undo(self)


class GatherStep(Step):
    """A step that moves pixels from the raw frame to another geometry."""

    def gathers(self, detector: Detector) -> tuple[Gather, ...]:
        """The moves, one per amplifier."""
        return detector.gathers()

    def target(self, detector: Detector) -> tuple[Detector, tuple[int, int]]:
        """The detector as it is afterwards and the shape of the image."""
        return detector, detector.shape

    def simulate(self, simulation: Simulation) -> None:
        """Move the pixels back; those of the raw frame that are nobody's data become zero."""
        simulation.scatter(self.gathers(simulation.exposure.detector))
