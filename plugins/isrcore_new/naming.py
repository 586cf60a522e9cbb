"""What everything in a new package is called, from one name."""

from __future__ import annotations

import importlib.util
import keyword
import re
from collections.abc import Iterator

import attrs

from isrcore import Registry, Step, TaskError

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]{0,19}")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


class NamingError(TaskError):
    """A name that a package, camera or step cannot have; the message lists every reason."""


@attrs.frozen
class Naming:
    """Every name in a new package of a ``kind``, "camera" or "step", called ``name`` ("ledGlow")."""

    kind: str
    name: str

    @property
    def parts(self) -> list[str]:
        """The words of the name, in small letters: led, glow."""
        return [part.lower() for part in _HUMP.split(self.name)]

    @property
    def folder(self) -> str:
        """The folder of the package, and what pip calls it."""
        return f"isrcore-{self.name}"

    @property
    def package(self) -> str:
        """What Python imports: isrcore_led_glow."""
        return f"isrcore_{'_'.join(self.parts)}"

    @property
    def values(self) -> dict[str, str]:
        """What stands for each word of a template."""
        joined, words = "".join(map(str.title, self.parts)), " ".join(self.parts)
        about = f"The camera {self.name}" if self.kind == "camera" else f"Subtract a template of {words}"
        return {
            "name": self.name,
            "distribution": self.folder.lower(),
            "package": self.package,
            "module": "_".join(self.parts),
            "Class": joined,
            "CONSTANT": "_".join(self.parts).upper(),
            "words": words,
            "fact": f"{'-'.join(self.parts)}-subtracted",
            "option": "-".join(self.parts),
            "description": f"{about}, for isrcore.",
            "about": f"{about[0].lower()}{about[1:]}.",
        }

    def check(self, registry: Registry) -> None:
        """Raise `NamingError` for a name that does not do here."""
        problems = list(self._problems(registry))
        if problems:
            raise NamingError(f"{self.kind} {self.name!r} cannot be made: {'; '.join(problems)}")

    def _problems(self, registry: Registry) -> Iterator[str]:
        if not _NAME.fullmatch(self.name):
            yield "a name is a letter and up to 19 more letters and digits, as in myCam or ledGlow"
            return
        if self.kind == "step" and not self.name[0].islower():
            yield f"a step is a noun that begins small: {self.name[0].lower()}{self.name[1:]}"
        if keyword.iskeyword(self.name):
            yield "Python keeps this word for itself"
        if self.kind == "step" and hasattr(Step, self.name):
            yield "a task has a method of this name"
        yield from self._taken(registry)

    def _taken(self, registry: Registry) -> Iterator[str]:
        """What has the name already."""
        known = registry.cameras if self.kind == "camera" else registry.specs
        taken = sorted(one for one in known if one.lower() == self.name.lower())
        if taken:
            yield f"there is a {self.kind} {taken[0]!r} already: 'isr plugins' says whose"
        if importlib.util.find_spec(self.package):
            yield f"there is a package {self.package!r} already"
