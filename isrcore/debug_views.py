"""Pictures of an exposure during a run, for those who want to see what a step does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from isrcore.config import Config, ConfigError, field
from isrcore.exposure import Exposure
from isrcore.paths import stem
from isrcore.pictures import Picture, describe, draw_exposure
from isrcore.stepspecs import StepSpec
from isrcore.task import TaskError

#: The name of the end of a run.
AFTER_ALL = "postISRCCD"

# The documented names of what can be seen; their steps may come with a plugin that is not installed.
_DOCUMENTED = frozenset(
    {"doAssembleCcd", "doBias", "doCrosstalk", "doBrighterFatter", "doDark", "doFringe", "doStrayLight"}
    | {"doFlat", AFTER_ALL}
)


class DebugConfig(Config):
    """What `IsrTask.debugView` shows."""

    changes_results = False

    steps: list[str] = field(
        [],
        "Steps after which a run shows the exposure, by name ('bias') or switch ('doBias'); 'postISRCCD' is "
        "the end. Showing changes no pixel.",
    )
    folder: str = field(
        "", "Folder for the pictures, made if it is not there; older ones are replaced. Empty: a window."
    )


class DebugViews:
    """The views that a configuration asks for. Raises `ConfigError` for a step that nobody knows."""

    def __init__(self, config: DebugConfig, specs: Mapping[str, StepSpec]) -> None:
        self._names = {spec.flag: name for name, spec in specs.items() if spec.flag}
        unknown = [step for step in config.steps if not {step} & {*specs, *self._names, *_DOCUMENTED}]
        if unknown:
            known = ", ".join([*sorted(specs), AFTER_ALL])
            names = ", ".join(map(repr, unknown))
            raise ConfigError(f"'debug.steps' names {names}, which is no step; steps are {known}")
        self.steps = frozenset(map(self._name, config.steps))
        self.folder = Path(config.folder) if config.folder else None

    def _name(self, step: str) -> str:
        """The name of a step given by name or switch."""
        return self._names.get(step, step)

    def show(self, exposure: Exposure, step: str) -> None:
        """Show the exposure, if the configuration names the step. Raises `TaskError` if that fails."""
        if self._name(step) not in self.steps:
            return
        picture = draw_exposure(exposure, title=f"{step}: {describe(exposure)}")
        try:
            self._bring_out(picture, f"{_stem(exposure)}_{self._name(step)}.png")
        except OSError as fault:
            raise TaskError(
                f"picture of {exposure.label} after {step!r} cannot be shown: {fault.strerror}\n"
                "  correct debug.folder, or empty debug.steps"
            ) from fault

    def _bring_out(self, picture: Picture, name: str) -> None:
        """Into the folder, or onto the screen with the system's viewer."""
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            picture.write(self.folder / name)
            return
        from PIL import Image

        Image.fromarray(picture.to_rgb()).show(title=name)


def _stem(exposure: Exposure) -> str:
    """The file of the exposure without endings, and its detector."""
    file = stem(Path(Path(exposure.source).name.partition("[")[0] or "exposure"))
    detector = exposure.detector.name
    return file if file.endswith(f"_{detector}") else f"{file}_{detector}"
