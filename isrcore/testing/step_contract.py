"""`StepContract`: a test class that checks a step against its own contract."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import hypothesis
from hypothesis import HealthCheck, Phase, reject
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable

from isrcore.camera import Detector
from isrcore.exposure import Exposure
from isrcore.registry import Registry
from isrcore.step import Step
from isrcore.testing import step_checks, step_geometry, strategies
from isrcore.testing.step_cases import Case, Refused, Subject

#: How many cases a step may refuse before it has done anything.
_PATIENCE = 50

Check = Callable[[Case, st.DataObject], None]


class StepContract:
    """Tests of one step, made from its contract: ``class TestLedGlow(StepContract): step = "ledGlow"``.

    ``step`` is the name of a step of the installed plugins (or those of ``registry``), or a step class.
    Override `calibrations`, `settings`, `exposures` or `detectors` where the step needs other inputs than
    those drawn for its contract. ``exempt`` names checks that the step cannot keep, each with the reason:
    ``{"exchanged": "it works along rows"}``. Every check draws ``examples`` cases.

    Needs pytest and Hypothesis: extra ``kit``.
    """

    step: ClassVar[str | type[Step]]
    registry: ClassVar[Registry | None] = None
    exempt: ClassVar[Mapping[str, str]] = {}
    examples: ClassVar[int] = 10
    #: Whether the smallest case that fails is looked for.
    shrinks: ClassVar[bool] = True

    def detectors(self) -> st.SearchStrategy[Detector]:
        """Detectors that exposures are of: some with overscan where the step finds raw frames."""
        return strategies.detectors(has_overscan=None if self._subject().is_assembled else True)

    def exposures(self, detector: Detector) -> st.SearchStrategy[Exposure]:
        """Exposures of a detector as the step finds them, by its contract."""
        return self._subject().exposures(detector)

    def calibrations(self, detector: Detector) -> st.SearchStrategy[dict[str, Any]]:
        """Inputs by kind: one of every kind in the contract. Kinds of your own are frames in adu."""
        return self._subject().calibrations(detector)

    def settings(self) -> st.SearchStrategy[dict[str, Any]]:
        """Settings by dotted name (``"ledGlow.brightness"``) that differ from the defaults."""
        return self._subject().settings()

    def _subject(self) -> Subject:
        """The step, found once."""
        cls = type(self)
        if "_found" not in vars(cls):
            cls._found = Subject.find(cls.step, cls.registry)  # type: ignore[attr-defined]
        return cls._found  # type: ignore[attr-defined, no-any-return]

    @st.composite
    @staticmethod
    def _cases(draw: st.DrawFn, contract: StepContract) -> Case:
        """Everything for one run."""
        detector = draw(contract.detectors())
        exposure, inputs = draw(contract.exposures(detector)), draw(contract.calibrations(detector))
        return Case(contract._subject(), draw(contract.settings()), exposure, inputs)

    def _holds(self, name: str, check: Check) -> None:
        """Whether a check holds on every case; those that the step refuses with good reason do not count."""
        if name in self._exempt():
            return
        # Found before anything is drawn: what plugins do when they are imported is not for Hypothesis to see.
        self._subject()
        refused: list[str] = []
        kept: list[bool] = []

        @self._profile()
        @hypothesis.given(self._cases(self), st.data())
        def holds(case: Case, data: st.DataObject) -> None:
            try:
                check(case, data)
                kept.append(True)
            except Refused as reason:
                refused.append(str(reason))
                if len(refused) > _PATIENCE and not kept:
                    raise AssertionError(self._idle(refused[-1])) from None
                reject()

        try:
            holds()
        except Unsatisfiable:
            raise AssertionError(self._idle(refused[-1])) from None

    def _idle(self, reason: str) -> str:
        """What to tell of a step that never has anything to do."""
        return (
            f"step '{self._subject().spec.name}' refuses everything that is drawn for it: {reason}\n"
            "  override settings, exposures or calibrations of the StepContract so that it has work"
        )

    def _profile(self) -> hypothesis.settings:
        """How many cases are drawn; the rest is as the loaded profile has it."""
        phases = [
            phase for phase in hypothesis.settings().phases if self.shrinks or phase is not Phase.shrink
        ]
        return hypothesis.settings(
            max_examples=self.examples, deadline=None, suppress_health_check=list(HealthCheck), phases=phases
        )

    def _exempt(self) -> Mapping[str, str]:
        """Checks that are left out. Raises AssertionError for one that there is not."""
        known = [name.removeprefix("test_") for name in dir(self) if name.startswith("test_")]
        for name in self.exempt:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
                raise AssertionError(f"exempt names no check {name!r}; {hint}")
        return self.exempt

    def test_contract(self) -> None:
        """Facts, unit, history and mask planes become what the contract says, and no flag is cleared."""
        self._holds("contract", step_checks.check_contract)

    def test_pixels(self) -> None:
        """Pixels stay three planes of the right type and, unless the step moves them, of the same shape."""
        self._holds("pixels", step_checks.check_pixels)

    def test_planning(self) -> None:
        """The contract for an exposure depends on what is known before pixels are read."""
        self._holds("planning", step_checks.check_planning)

    def test_units(self) -> None:
        """A step that names no unit works in electron as well."""
        self._holds("units", step_checks.check_units)

    def test_reach(self) -> None:
        """A changed pixel changes none farther away than ``reach``."""
        self._holds("reach", step_checks.check_reach)

    def test_nans(self) -> None:
        """A NaN of the exposure or of a frame stays where it is, or within reach of that."""
        self._holds("nans", step_checks.check_nans)

    def test_amplifiers_are_independent(self) -> None:
        """A step per amplifier does not let one amplifier's pixels change another's."""
        self._holds("amplifiers_are_independent", step_geometry.check_amplifiers_are_independent)

    def test_order_of_amplifiers(self) -> None:
        """The order in which a camera lists its amplifiers is of no consequence."""
        self._holds("order_of_amplifiers", step_geometry.check_order_of_amplifiers)

    def test_reversed(self) -> None:
        """A frame with its rows or columns reversed gives the reversed result."""
        self._holds("reversed", step_geometry.check_reversed)

    def test_exchanged(self) -> None:
        """A frame with rows and columns exchanged gives the result with rows and columns exchanged."""
        self._holds("exchanged", step_geometry.check_exchanged)

    def test_windows(self) -> None:
        """Running a window equals the window of the run, away from the window's edges by reach."""
        self._holds("windows", step_geometry.check_windows)

    def test_tiles(self) -> None:
        """Bands of any height, on any number of threads, give what the whole frame at once gives."""
        self._holds("tiles", step_checks.check_tiles)

    def test_segments(self) -> None:
        """A step in one pass with the step before it does what it does after it."""
        self._holds("segments", step_checks.check_segments)

    def test_operations(self) -> None:
        """Operations are said twice alike, are float32, and leave the measurement as it was."""
        self._holds("operations", step_checks.check_operations)

    def test_inverse(self) -> None:
        """Where every operation has an inverse, undoing the step returns image, variance, unit and facts."""
        self._holds("inverse", step_checks.check_inverse)

    def test_inputs_are_kept(self) -> None:
        """Calibrations are as they were: the next exposure needs them too."""
        self._holds("inputs_are_kept", step_checks.check_inputs_are_kept)

    def test_repetition(self) -> None:
        """Equal exposures give equal results, to the bit, whoever asks and however often."""
        self._holds("repetition", step_checks.check_repetition)

    def test_memory(self) -> None:
        """One instance corrects many exposures: what it saw before changes nothing, and nothing it gave."""
        self._holds("memory", step_checks.check_memory)

    def test_records(self) -> None:
        """Catalogs have exactly the columns that are promised, and a row for all that was measured."""
        self._holds("records", step_checks.check_records)

    def test_config(self) -> None:
        """A config written to a file and read again is the same."""
        self._holds("config", step_checks.check_config)

    def test_pickles(self) -> None:
        """Step and measurements survive the way to another process."""
        self._holds("pickles", step_checks.check_pickles)
