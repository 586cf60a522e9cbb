"""Finding plugins and refusing those that contradict each other. The only user of the plugin manager."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
import pluggy

from isrcore import hookspecs
from isrcore.camera import Camera, CameraError
from isrcore.camera_files import CameraFile, FileCamera, find_camera_files, is_camera_file, load_camera_file
from isrcore.contradictions import contradictions
from isrcore.exposure import Exposure
from isrcore.fits import check_writable
from isrcore.raw import RawSource
from isrcore.raw_listing import RawListing, list_source
from isrcore.raw_writing import RawWriter, default_writer
from isrcore.step import Step
from isrcore.stepspecs import StepSpec

_FACT_CARD = re.compile(r"ISRF\d{3}")


class RegistryError(RuntimeError):
    """Plugins that contradict each other, or something asked for that no plugin provides."""


@attrs.frozen
class PluginInfo:
    """One plugin: name, distribution version, hooks it implements, and why it failed to load, if it did.

    The version of a camera file is its SHA-256, shortened; ``shadow`` says what is used instead of one that
    is set aside.
    """

    name: str
    version: str = ""
    hooks: tuple[str, ...] = ()
    failure: str = ""
    shadow: str = ""

    @property
    def is_loaded(self) -> bool:
        """Whether the plugin is at work."""
        return not (self.failure or self.shadow)


class Registry:
    """The plugins of one process or test, and everything they offer, in order of names.

    Nothing depends on the order in which plugins were found. Raises `RegistryError`, listing every
    contradiction: two cameras, or two steps with different contracts, of one name; a fact nobody provides.
    """

    def __init__(
        self,
        plugins: Mapping[str, Any],
        versions: Mapping[str, str] | None = None,
        failures: Mapping[str, str] | None = None,
        shadows: Mapping[str, str] | None = None,
        chosen: str = "",
    ) -> None:
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        for name in sorted(plugins):
            self._manager.register(plugins[name], name)
        self._manager.check_pending()
        self._versions = dict(versions or {})
        self._failures = dict(failures or {})
        self._shadows = dict(shadows or {})
        self._plugins, self._chosen = dict(plugins), chosen
        self._curated: dict[str, dict[str, Any]] = {}
        problems = sorted(contradictions(self._results("isr_cameras"), self.steps))
        if problems:
            raise RegistryError("plugins contradict each other\n  " + "\n  ".join(problems))

    @classmethod
    def discover(cls, found: Iterable[EntryPoint] | None = None, folder: Path | None = None) -> Registry:
        """All installed plugins (entry-point group ``isrcore``), and cameras of files in the user's folder.

        A plugin or file that fails to load is set aside. Files are looked for in ``folder``, by default, if
        entry points are not given either, in `camera_folder`.
        """
        plugins, versions, failures = {}, {}, {}
        for point in entry_points(group=hookspecs.PROJECT) if found is None else found:
            versions[point.name] = point.dist.version if point.dist else ""
            try:
                plugins[point.name] = point.load()
            except Exception as fault:
                failures[point.name] = f"{type(fault).__name__}: {fault}"
        installed = cls(plugins, versions, failures)
        return installed.with_camera_folder(folder) if folder is not None or found is None else installed

    def with_camera_folder(self, folder: Path | None = None) -> Registry:
        """These plugins and the camera files of a folder (default: `camera_folder`) that can be used.

        Others are set aside, and told of by `plugins`: those that are wrong, that have the camera of a
        package, and all that describe the same one.
        """
        paths = find_camera_files(folder)
        read, failures, shadows = [], dict(self._failures), dict(self._shadows)
        for path in paths:
            try:
                read.append(load_camera_file(path))
            except CameraError as fault:
                failures[f"file:{path.name}"] = str(fault)
        names = [one.camera.name for one in read]
        for one in read:
            name = one.camera.name
            if name in self.cameras:
                shadows[one.file.plugin] = f"camera {name!r} comes from plugin {self.camera_owners[name]!r}"
            elif names.count(name) > 1:
                failures[one.file.plugin] = f"another file of the folder describes camera {name!r} too"
        good = [one for one in read if one.file.plugin not in failures and one.file.plugin not in shadows]
        return self._with_files(good, failures, shadows) if read or failures != self._failures else self

    def _with_files(
        self,
        files: Iterable[FileCamera],
        failures: Mapping[str, str],
        shadows: Mapping[str, str],
        chosen: str = "",
    ) -> Registry:
        """These plugins, those of files, and none of those that are set aside."""
        added = {one.file.plugin: one for one in files}
        told = {name: one.file.version for name, one in added.items()}
        aside = failures.keys() | shadows.keys()
        plugins = {**{k: v for k, v in self._plugins.items() if k not in aside}, **added}
        return Registry(plugins, {**self._versions, **told}, failures, shadows, chosen or self._chosen)

    def with_camera_file(self, file: str | Path | CameraFile) -> Registry:
        """These plugins and the camera of a file, which alone reads raw files.

        It takes the place of a file of the user's folder that has its name or its camera's. Raises
        `CameraError` for a file that cannot be used, `RegistryError` when a package describes its camera.
        """
        added = load_camera_file(file)
        name, camera, path = added.file.plugin, added.camera.name, added.file.path
        owner = self.camera_owners.get(camera, name)
        if not isinstance(self._plugins.get(owner), FileCamera | None):
            raise RegistryError(
                f"camera file {str(path)!r} describes camera {camera!r}, as plugin {owner!r} does; "
                "give the camera of the file another name"
            )
        failures = {key: why for key, why in self._failures.items() if key != name}
        shadows = {key: why for key, why in self._shadows.items() if key != name}
        if owner != name:
            shadows[owner] = f"camera {camera!r} comes from {str(path)!r}"
        return self._with_files([added], failures, shadows, name)

    def with_camera(self, text: str) -> Registry:
        """These plugins, of which one reads raw files: that of a camera, or of a camera file (``*.toml``).

        Raises `RegistryError` for a name that no plugin knows, and as `with_camera_file`.
        """
        if is_camera_file(text):
            return self.with_camera_file(text)
        return self.choosing(self.camera_owners[self.camera(text).name])

    @property
    def choice(self) -> CameraFile | str:
        """What raw files are read as: a camera file or the plugin of a camera; empty when none is chosen."""
        plugin = self._plugins.get(self._chosen)
        return plugin.file if isinstance(plugin, FileCamera) else self._chosen

    def choosing(self, choice: CameraFile | str) -> Registry:
        """These plugins with the choice of others, see `choice`."""
        if isinstance(choice, CameraFile):
            return self.with_camera_file(choice)
        return Registry(self._plugins, self._versions, self._failures, self._shadows, choice)

    def file_of(self, camera: str) -> CameraFile | None:
        """The file that describes a camera; None for a camera of a package."""
        plugin = self.file_camera(camera)
        return plugin.file if plugin else None

    def file_camera(self, camera: str) -> FileCamera | None:
        """The plugin of a camera that a file describes; None for a camera of a package."""
        plugin = self._plugins.get(self.camera_owners.get(camera, ""))
        return plugin if isinstance(plugin, FileCamera) else None

    def with_plugin(self, name: str, plugin: Any) -> Registry:
        """These plugins and one more, in a registry of their own. Raises as the class does."""
        return self._with_plugins({**self._plugins, name: plugin})

    def without_steps(self, steps: Collection[type[Step]]) -> Registry:
        """These plugins without some of their steps, in a registry of their own."""
        return self._with_plugins({name: _without(one, steps) for name, one in self._plugins.items()})

    def _with_plugins(self, plugins: Mapping[str, Any]) -> Registry:
        """A registry of other plugins, about which the same is known."""
        return Registry(plugins, self._versions, self._failures, self._shadows, self._chosen)

    def _results(self, hook: str, only: str = "", /, **arguments: Any) -> Iterator[tuple[str, Any]]:
        """What each plugin answers, or ``only`` one, with its name, in order of names."""
        caller = getattr(self._manager.hook, hook)
        for implementation in sorted(caller.get_hookimpls(), key=lambda found: str(found.plugin_name)):
            if only not in ("", implementation.plugin_name):
                continue
            wanted = {name: arguments[name] for name in implementation.argnames}
            result = implementation.function(**wanted)
            if result is not None:
                yield implementation.plugin_name, result

    @cached_property
    def plugins(self) -> tuple[PluginInfo, ...]:
        """Every plugin that was found, loaded or not."""
        infos = [
            PluginInfo(name, self._versions.get(name, ""), failure=why)
            for name, why in self._failures.items()
        ]
        infos += [PluginInfo(name, shadow=why) for name, why in self._shadows.items()]
        for name, plugin in self._manager.list_name_plugin():
            callers = self._manager.get_hookcallers(plugin) or []
            hooks = tuple(sorted(caller.name for caller in callers))
            infos.append(PluginInfo(name, self._versions.get(name, ""), hooks))
        return tuple(sorted(infos, key=lambda info: info.name))

    def plugin(self, name: str) -> Any:
        """The plugin of that name itself: a module, or whatever a registry was made of. Raises KeyError."""
        found = self._manager.get_plugin(name)
        if found is None:
            raise KeyError(f"no plugin {name!r} is loaded; there is {', '.join(self._loaded) or 'none'}")
        return found

    @property
    def _loaded(self) -> tuple[str, ...]:
        return tuple(info.name for info in self.plugins if info.is_loaded)

    @cached_property
    def cameras(self) -> dict[str, Camera]:
        """Cameras by name."""
        found = [camera for _, cameras in self._results("isr_cameras") for camera in cameras]
        return {camera.name: camera for camera in sorted(found, key=lambda camera: camera.name)}

    @cached_property
    def camera_owners(self) -> dict[str, str]:
        """The plugin that each camera comes from, by the camera's name."""
        return {camera.name: plugin for plugin, found in self._results("isr_cameras") for camera in found}

    @cached_property
    def steps(self) -> tuple[tuple[str, type[Step]], ...]:
        """(plugin, step class) of every implementation, in order of step and class name."""
        found = [(plugin, step) for plugin, steps in self._results("isr_steps") for step in steps]
        return tuple(
            sorted(found, key=lambda pair: (pair[1].spec.name, pair[1].camera, pair[1].__qualname__))
        )

    @cached_property
    def specs(self) -> dict[str, StepSpec]:
        """Contracts by step name."""
        return {step.spec.name: step.spec for _, step in self.steps}

    @cached_property
    def readers(self) -> dict[str, Callable[[Path, str], Any]]:
        """How calibrations that are no frames are read, by kind: functions of path and detector name."""
        return {kind: reader for _, step in self.steps for kind, reader in step.readers.items()}

    @cached_property
    def several(self) -> frozenset[str]:
        """Kinds of calibrations of which there may be several frames at once."""
        return frozenset[str]().union(*(spec.several for spec in self.specs.values()))

    def datasets(self, kind: str) -> frozenset[str]:
        """What files with calibrations of a kind may say they are."""
        named = (step.dataset_names.get(kind, ()) for _, step in self.steps)
        return frozenset({kind}).union(*named)

    def camera(self, name: str) -> Camera:
        """The camera of that name. Raises `RegistryError` naming those there are and plugins that failed."""
        if name not in self.cameras:
            known = ", ".join(self.cameras) or "none"
            raise RegistryError(
                f"no plugin describes camera {name!r}; known cameras: {known}{self._failed()}"
            )
        return self.cameras[name]

    def candidates(self, spec_name: str) -> tuple[type[Step], ...]:
        """Every implementation of a step."""
        return tuple(step for _, step in self.steps if step.spec.name == spec_name)

    def implementation(self, spec_name: str, camera: str = "") -> type[Step]:
        """The implementation bound to the camera, else the only unbound one.

        Raises `RegistryError` naming both when two unbound ones leave the choice to the config, or when
        there is none.
        """
        found = self.candidates(spec_name)
        fitting = [step for step in found if camera and step.camera == camera]
        fitting = fitting or [step for step in found if not step.camera]
        if len(fitting) != 1:
            names = " and ".join(f"{step.__module__}.{step.__qualname__}" for step in fitting) or "nobody"
            advice = (
                f"choose one: config.{spec_name}.retarget(...)" if fitting else f"install one{self._failed()}"
            )
            raise RegistryError(f"step '{spec_name}' is implemented by {names}; {advice}")
        return fitting[0]

    def plugin_of(self, step: type[Step]) -> PluginInfo:
        """The plugin that brought a step class."""
        owner = next(plugin for plugin, candidate in self.steps if candidate is step)
        return next(info for info in self.plugins if info.name == owner)

    def read_raw(self, path: str | Path, detectors: list[str] | None = None) -> Iterator[Exposure]:
        """Raw exposures of a file, by the one plugin that knows it.

        Raises `RegistryError` when no plugin, or more than one, claims the file or it is a product of
        isrcore, and RawError for a file that cannot be read.
        """
        return self.read_source(RawSource.open(path), detectors)

    def survey_raw(self, path: str | Path, detectors: list[str] | None = None) -> Iterator[Exposure]:
        """As `read_raw` from the headers alone, with zeros for pixels: all that planning needs."""
        return self.read_source(RawSource.open(path).without_pixels(), detectors)

    def list_raw(self, path: str | Path) -> RawListing:
        """Camera, visit and detectors of a raw file, by its headers, read once and not kept.

        The visit is that of the first detector. Raises as `read_raw`.
        """
        source = list_source(Path(path))
        found = list(self.read_source(source))
        return RawListing(
            source.path, found[0].camera, found[0].visit, tuple(one.detector.name for one in found)
        )

    def read_calibration(self, source: RawSource, kind: str, detector: str) -> Any | None:
        """A calibration from a camera's own kind of file; None when no plugin knows the file.

        Raises `RegistryError` when more than one does, and RawError for a file that cannot be used so.
        """
        arguments = {"source": source, "kind": kind, "detector": detector}
        claims = list(self._results("isr_read_calibration", **arguments))
        self._refuse_rivals(source.path, claims)
        return claims[0][1] if claims else None

    def _refuse_rivals(self, path: Path, claims: list[tuple[str, Any]]) -> None:
        """Raise `RegistryError` when two plugins claim one file."""
        if len(claims) > 1:
            names = " and ".join(repr(name) for name, _ in claims)
            raise RegistryError(
                f"{path}: plugins {names} both claim this file; uninstall one or fix its reader"
            )

    def read_source(self, source: RawSource, detectors: list[str] | None = None) -> Iterator[Exposure]:
        """Let the one plugin that claims a file read it; raises as `read_raw`, but for opening the file."""
        path = source.path
        facts = [str(value) for key, value in source.header.items() if _FACT_CARD.fullmatch(key)]
        if facts:
            raise RegistryError(
                f"{path}: this is a product of isrcore, it is {', '.join(facts)} already; give the raw frame"
            )
        claims = list(self._results("isr_read_raw", self._chosen, source=source, detectors=detectors))
        self._refuse_rivals(path, claims)
        if not claims:
            raise RegistryError(f"{path}: {self._stranger(source)}")
        exposures: Iterator[Exposure] = claims[0][1]
        return exposures

    def _stranger(self, source: RawSource) -> str:
        """What to say of a file that no plugin claims."""
        plugin = self._plugins.get(self._chosen)
        if isinstance(plugin, FileCamera):
            lines = "\n  ".join(plugin.unlike(source))
            return f"camera file {str(plugin.file.path)!r} does not recognise this file\n  {lines}"
        if self._chosen:
            return f"plugin {self._chosen!r} does not know this file{self._hint(source)}"
        hint = self._hint(source) + self._failed()
        return (
            f"no installed camera knows this file{hint}\n  'isr inspect' proposes a file that describes one"
        )

    def write_raw(
        self,
        path: str | Path,
        camera: Camera,
        exposures: Iterable[Exposure],
        *,
        overwrite: bool = False,
    ) -> None:
        """Write raw exposures of a camera as its own files are; each is taken when the one before is written.

        Raises `RegistryError` when more than one plugin writes for the camera, and `FitsError` for a file
        that cannot be written; nothing is left behind then.
        """
        claims: list[tuple[str, RawWriter]] = list(self._results("isr_raw_writer", camera=camera))
        if len(claims) > 1:
            names = " and ".join(repr(name) for name, _ in claims)
            raise RegistryError(
                f"plugins {names} both write raw files of camera {camera.name!r}; uninstall one"
            )
        write = claims[0][1] if claims else default_writer(camera.name)
        check_writable(path, overwrite=overwrite)
        write(Path(path), exposures)

    def _hint(self, source: RawSource) -> str:
        """What the header says of its instrument, and which cameras there are."""
        instrument = source.header.get("INSTRUME", "no INSTRUME card")
        return f"\n  its header says: {instrument}; known cameras: {', '.join(self.cameras) or 'none'}"

    def _failed(self) -> str:
        """Plugins that failed to load, as a line for errors that may be their fault."""
        return "".join(
            f"\n  plugin {name!r} failed to load: {why}" for name, why in sorted(self._failures.items())
        )

    def apply_overrides(self, config: Any, camera: Camera) -> None:
        """Let every plugin set config values for the camera, each under its own name."""
        hook = self._manager.hook.applyOverrides
        for implementation in sorted(hook.get_hookimpls(), key=lambda found: str(found.plugin_name)):
            arguments = {"config": config, "camera": camera}
            with config.layer("camera", implementation.plugin_name):
                implementation.function(**{name: arguments[name] for name in implementation.argnames})

    def curated_calibrations(self, camera: Camera) -> dict[str, Any]:
        """Calibrations that ship with a camera: kind -> detector name -> value. Read once, they are kept."""
        if camera.name not in self._curated:
            found: dict[str, Any] = {}
            for _, calibrations in self._results("isr_curated_calibrations", camera=camera):
                found.update(calibrations)
            self._curated[camera.name] = found
        return self._curated[camera.name]

    def open_repository(self, uri: str) -> Any | None:
        """The repository that one plugin opens; None when ``uri`` is none that any plugin knows.

        Raises `RegistryError` when more than one plugin claims it.
        """
        claims = list(self._results("isr_open_repository", uri=uri, registry=self))
        self._refuse_rivals(Path(uri), claims)
        return claims[0][1] if claims else None

    def add_commands(self, subcommands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
        """Let plugins add subcommands."""
        list(self._results("isr_commands", subcommands=subcommands))

    @cached_property
    def has_observers(self) -> bool:
        """Whether any plugin wants to look at exposures after steps."""
        return bool(self._manager.hook.isr_after_step.get_hookimpls())

    def after_step(self, step: str, exposure: Exposure) -> None:
        """Show observers a read-only view of the exposure."""
        seen = exposure.share()
        seen.pixels = exposure.pixels.read_only()
        list(self._results("isr_after_step", step=step, exposure=seen))


def _without(plugin: Any, steps: Collection[type[Step]]) -> Any:
    """A plugin that answers every hook as another does, but for some steps."""

    def kept() -> list[type[Step]]:
        return [step for step in answers["isr_steps"]() if step not in steps]

    marker = f"{hookspecs.PROJECT}_impl"
    marked = {name: getattr(plugin, name) for name in dir(plugin) if hasattr(getattr(plugin, name), marker)}
    answers = {getattr(each, marker)["specname"] or name: each for name, each in marked.items()}
    if "isr_steps" not in answers or not set(answers["isr_steps"]()) & set(steps):
        return plugin
    return SimpleNamespace(**{**answers, "isr_steps": hookspecs.hookimpl(kept, specname="isr_steps")})
