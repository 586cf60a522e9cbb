"""Cameras that break one promise each."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import attrs

from isrcore import (
    Amplifier,
    Box,
    Camera,
    Config,
    Detector,
    Exposure,
    MaskedImage,
    RawError,
    Step,
    Subtract,
    VisitInfo,
    field,
    read_sections,
    stepspecs,
    visit_from_header,
    write_sections,
)
from isrcore.testing.camera_case import CameraCase
from isrcore.testing.focal_plane_checks import check_field, check_focal_plane, check_mosaic
from isrcore.testing.geometry_checks import check_boxes, check_flips, check_sections, check_tiling
from isrcore.testing.header_checks import check_headers, check_silent_defaults
from isrcore.testing.import_checks import check_import, check_optional
from isrcore.testing.override_checks import (
    check_config_toml,
    check_override_fields,
    check_override_others,
    check_override_repeated,
)
from isrcore.testing.pixel_checks import (
    check_landing,
    check_planning,
    check_steps,
    check_tiles,
    check_undoing,
)
from isrcore.testing.raw_checks import check_overscans, check_raw, check_raw_headers
from isrcore.testing.reader_checks import (
    check_foreign_files,
    check_levels_read,
    check_one_detector,
    check_requests,
    check_round_trip,
    check_shapes,
)
from isrcore.testing.storage_checks import check_camera_toml, check_pickling
from isrcore.testing.value_checks import check_detectors, check_filters, check_levels
from isrcore_standard import Assembly, Bias
from tests.mutants.mutant import Caught, Mutant
from tests.mutants.mycam import (
    CAMERA,
    HeaderLevels,
    cards,
    case_of,
    is_mine,
    levels_of,
    module_case,
    real_frame,
    write,
)


def with_detector(**changes: Any) -> Camera:
    """The camera with its first detector changed."""
    first, *others = CAMERA.detectors
    return attrs.evolve(CAMERA, detectors=(attrs.evolve(first, **changes), *others))


def with_amp(name: str = "B", **changes: Any) -> Camera:
    """The camera with an amplifier of its first detector changed."""
    first, *others = CAMERA.detectors
    return attrs.evolve(CAMERA, detectors=(first.with_amplifiers(**{name: changes}), *others))


def shifted(box: Box) -> Box:
    return box.shift(0, -1)


def off_by_one() -> CameraCase:
    """The data of A begin a column early, and so does the overscan: its first column sees light."""
    amp = CAMERA.detectors[0]["A"]
    changes = {name: shifted(getattr(amp, name)) for name in ("raw_data_box", "serial_overscan_box")}
    changes["prescan_box"] = attrs.evolve(amp.prescan_box, x1=amp.prescan_box.x1 - 1)
    changes["parallel_overscan_box"] = shifted(amp.parallel_overscan_box)
    return case_of(with_amp("A", **changes), [real_frame()])


def cut_to(detector: Detector) -> Camera:
    """The camera with a first detector whose amplifier A is a column too narrow."""
    amp = detector["A"]
    changes = {"box": attrs.evolve(amp.box, x1=amp.box.x1 - 1)}
    changes["raw_data_box"] = attrs.evolve(amp.raw_data_box, x1=amp.raw_data_box.x1 - 1)
    return with_amp("A", **changes)


def swallows(camera: Camera, source: Any, detectors: Any) -> Iterator[Exposure] | None:
    if not is_mine(source):
        return None
    try:
        return read_sections(camera, source, detectors)
    except RawError:
        return iter(())


def reader_with(visit: Any) -> Any:
    """A reader that makes its visits in another way."""
    return lambda camera, source, detectors: (
        read_sections(camera, source, detectors, visit=visit) if is_mine(source) else None
    )


def with_default(header: Any) -> VisitInfo:
    visit = visit_from_header(header)
    return attrs.evolve(visit, exposure_s=1.0) if math.isnan(visit.exposure_s) else visit


def with_index(header: Any) -> VisitInfo:
    return attrs.evolve(visit_from_header(header), airmass=header["AIRMASS"])


def from_the_network(header: Any) -> VisitInfo:
    import socket

    if "OBJECT" not in header:
        socket.getaddrinfo("simbad.example", 80)
    return visit_from_header(header)


def reads_all(camera: Camera, source: Any, detectors: Any) -> Iterator[Exposure] | None:
    if not is_mine(source):
        return None
    everything = list(read_sections(camera, source))
    wanted = detectors or camera_names(camera)
    return iter([one for one in everything if {one.detector.name, one.detector.id} & set(wanted)])


def camera_names(camera: Camera) -> list[str]:
    return [detector.name for detector in camera.detectors]


def turns_rows(camera: Camera, source: Any, detectors: Any) -> Iterator[Exposure] | None:
    if not is_mine(source):
        return None
    found = read_sections(camera, source, detectors)
    return (attrs.evolve(one, pixels=MaskedImage.from_raw(one.image[::-1].copy())) for one in found)


def indexes_instrument(camera: Camera, source: Any, detectors: Any) -> Iterator[Exposure] | None:
    return read_sections(camera, source, detectors) if source.header["INSTRUME"] == "MYCAM" else None


def claims_all(camera: Camera, source: Any, detectors: Any) -> Iterator[Exposure] | None:
    return read_sections(camera, source, detectors)


def takes_any_shape(camera: Camera, source: Any, detectors: Any) -> Iterator[Exposure] | None:
    if not is_mine(source):
        return None
    shapes = {detector.name: detector.raw_shape for detector in camera.detectors}
    fitted = tuple(
        attrs.evolve(item, shape=shapes.get(item.name.lower(), item.shape)) for item in source.extensions
    )
    return read_sections(camera, attrs.evolve(source, extensions=fitted), detectors)


def loses_levels(path: Path, exposures: Any) -> None:
    """The levels of the table instead of those of the exposure."""

    def of_the_table(one: Exposure) -> dict[str, float]:
        return levels_of(attrs.evolve(one, detector=CAMERA[one.detector.name]))

    write_sections(path, exposures, primary=cards, extension=of_the_table)


def loses_dark_time(path: Path, exposures: Any) -> None:
    def without(one: Exposure) -> dict[str, Any]:
        return {key: value for key, value in cards(one).items() if key != "DARKTIME"}

    write_sections(path, exposures, primary=without, extension=levels_of)


def sets_all(config: Any, camera: Camera) -> None:
    config.doDefect = False


def counts_up(config: Any, camera: Camera) -> None:
    if camera.name == "mycam":
        config.overscan.order += 1


def sets_unknown(config: Any, camera: Camera) -> None:
    if camera.name == "mycam":
        config.doDarkness = False


def lists_unknown(config: Any, camera: Camera) -> None:
    if camera.name == "mycam":
        config.fringe.filters = ["i"]


class Unturned(Assembly):
    """Assembly that forgets to flip."""

    camera = "mycam"

    def gathers(self, detector: Any) -> Any:
        return tuple(attrs.evolve(move, flip_y=False, flip_x=False) for move in detector.gathers())


class FlagsMore(Step):
    """NaN flags that say of every pixel that it is saturated."""

    spec, camera = stepspecs.STANDARD["nanFlags"], "mycam"

    def run(self, exposure: Any, calibrations: Any) -> None:
        exposure.mask[...] |= exposure.planes.value("SAT")


class GrowingBias(Bias):
    """A bias that subtracts more every time."""

    camera = "mycam"
    times: ClassVar = itertools.count(1)

    def ops(self, view: Any) -> Any:
        yield Subtract(view.calibration("bias"), scale=float(next(self.times)))


@attrs.frozen
class OwnAmplifier(Amplifier):
    """An amplifier with more to say than tables hold."""

    temperature: float = 0.0


class WantsRows(HeaderLevels):
    """Levels that only a whole frame has; no mutant."""

    def problems(self, exposure: Any, calibrations: Any) -> Iterator[str]:
        if exposure.image.shape[0] < FIRST.raw_shape[0]:
            yield "there are too few rows"


class ForgetfulConfig(Config):
    """Leaves a setting out of files."""

    floor: float = field(1.0, "The least gain that is believed.", minimum=0.0)

    def _toml_parts(self, path: tuple[str, ...]) -> Iterator[str]:
        return (part for part in super()._toml_parts(path) if "floor" not in part)


class ForgetfulLevels(HeaderLevels):
    """Levels whose config is not whole in files."""

    ConfigClass = ForgetfulConfig


def sets_floor(config: Any, camera: Camera) -> None:
    if camera.name == "mycam":
        config.levels.floor = 2.0


def leaves_apart(config: Any, camera: Camera) -> None:
    if camera.name == "mycam":
        config.doAssembleCcd = False


@attrs.frozen
class TrustingDetector(Detector):
    """A detector that does not look at its boxes."""

    def __attrs_post_init__(self) -> None:
        pass


def trusting_detector() -> CameraCase:
    amplifiers = A, attrs.evolve(B, box=shifted(B.box))
    detector = TrustingDetector(**attrs.asdict(FIRST, recurse=False) | {"amplifiers": amplifiers})
    return case_of(attrs.evolve(CAMERA, detectors=(detector, *CAMERA.detectors[1:])))


def in_floats(box: Box) -> Box:
    return Box(*(float(edge) for edge in attrs.astuple(box)))  # type: ignore[arg-type]


def own_amplifier() -> CameraCase:
    amplifiers = tuple(OwnAmplifier(**attrs.asdict(amp, recurse=False)) for amp in FIRST.amplifiers)
    return case_of(with_detector(amplifiers=amplifiers))


def unpicklable() -> CameraCase:
    class Lazy(str):
        """A text that is looked up when somebody asks."""

    return case_of(attrs.evolve(CAMERA, description=Lazy("a camera")))


def with_alias(alias: str) -> Camera:
    first, second = CAMERA.filters
    return attrs.evolve(CAMERA, filters=(first, attrs.evolve(second, aliases=(alias,))))


FIRST = CAMERA.detectors[0]
A, B = FIRST["A"], FIRST["B"]

MUTANTS = (
    Mutant("overlapping amplifiers", "B's box begins a column inside A's", None, "amplifiers overlap",
           lambda: with_amp(box=shifted(B.box))),
    Mutant("amplifier outside the frame", "B's raw section ends a column behind the raw frame", None,
           "leaves the raw frame", lambda: with_amp(raw_box=attrs.evolve(B.raw_box, x1=B.raw_box.x1 + 1))),
    Mutant("swapped axes", "shape given as [columns, rows]", None, "leaves the detector",
           lambda: with_detector(shape=FIRST.shape[::-1])),
    Mutant("overscan over the data", "A's overscan begins in the last data column", None, "overlap",
           lambda: with_amp("A", serial_overscan_box=shifted(A.serial_overscan_box))),
    Mutant("duplicate alias", "two filters are called 'red'", None, "two filters of one name: red",
           lambda: with_alias("red")),
    Mutant("overlap in a detector of its own class", "its detectors do not look at their boxes", check_boxes,
           "'A' and 'B' .* overlap", trusting_detector),
    Mutant("sections of floats", "B's raw section is made of floats", check_sections,
           "raw_box is not what its section says", lambda: case_of(with_amp(raw_box=in_floats(B.raw_box)))),
    Mutant("gap in the tiling", "A is a column too narrow", check_tiling, "a gap: .* no amplifier",
           lambda: case_of(cut_to(FIRST))),
    Mutant("shared raw pixels", "A's raw section reaches into B's prescan", None,
           "raw sections of amplifiers overlap",
           lambda: case_of(with_amp("A", raw_box=attrs.evolve(A.raw_box, x1=A.raw_box.x1 + 1)))),
    Mutant("overscan off by one", "data and overscan begin a column early", check_overscans,
           "first column of serial_overscan_box holds light", off_by_one),
    Mutant("wrong flip", "B is not flipped, but its prescan says that it has to be", check_flips,
           "flipped the wrong way", lambda: case_of(with_amp(flip_x=False))),
    Mutant("wrong readout corner", "B is flipped in y and read from below", check_flips,
           "not lie in the file the same way round",
           lambda: case_of(with_amp(flip_y=True))),
    Mutant("gain of zero", "A has gain 0", check_levels, "gain 0.0 electron/adu",
           lambda: case_of(with_amp("A", gain=0.0))),
    Mutant("NaN noise", "A has read noise NaN", check_levels, "read_noise nan electron",
           lambda: case_of(with_amp("A", read_noise=math.nan))),
    Mutant("negative saturation", "A is saturated at -1 adu", check_levels, "saturation -1.0 adu",
           lambda: case_of(with_amp("A", saturation=-1.0))),
    Mutant("suspect above saturation", "B is suspect at 61000 and saturated at 60000", check_levels,
           "suspect level above saturation", lambda: case_of(with_amp(suspect_level=61000.0))),
    Mutant("a slash in a name", "the first detector is called 'ccd/0'", check_detectors,
           "a name that files and options cannot have", lambda: case_of(with_detector(name="ccd/0"))),
    Mutant("non-invertible field", "field_to_mm falls from 0.3 radian on", check_field, "cannot be inverted",
           lambda: case_of(attrs.evolve(CAMERA, field_to_mm=(5.0, 0.0, -20.0)))),
    Mutant("place not finite", "the first detector's offset is NaN", check_focal_plane,
           "does not come back from the focal plane",
           lambda: case_of(with_detector(offset_mm=(math.nan, 0.0)))),
    Mutant("detectors on top of each other", "both have one offset", check_mosaic, "on top of each other",
           lambda: case_of(with_detector(offset_mm=CAMERA.detectors[1].offset_mm))),
    Mutant("missing filter", "a real frame has a filter that the camera lacks", check_raw,
           "missing filter: .*'red'",
           lambda: case_of(attrs.evolve(CAMERA, filters=CAMERA.filters[1:]), [real_frame()])),
    Mutant("override lists an unknown filter", "fringes are for filter 'i'", check_override_fields,
           "a missing filter", lambda: case_of(overrides=lists_unknown)),
    Mutant("override of an unknown field", "config.doDarkness = False", check_override_fields,
           "unknown field",
           lambda: case_of(overrides=sets_unknown)),
    Mutant("overrides touch another camera", "no look at camera.name", check_override_others,
           "touches the config of another camera", lambda: case_of(overrides=sets_all)),
    Mutant("overrides add up", "config.overscan.order += 1", check_override_repeated, "not idempotent",
           lambda: case_of(overrides=counts_up)),
    Mutant("config that files lose", "its levels have a setting that is not in files", check_config_toml,
           "does not come back from a TOML file",
           lambda: case_of(overrides=sets_floor, steps=(ForgetfulLevels,))),
    Mutant("overrides that fit together with nothing", "config.doAssembleCcd = False", check_planning,
           "cannot be corrected with the config that it has", lambda: case_of(overrides=leaves_apart)),
    Mutant("reader swallows errors", "RawError becomes an empty list", check_requests, "swallows an error",
           lambda: case_of(reader=swallows)),
    Mutant("silent exposure time", "a missing EXPTIME becomes 1 s", check_silent_defaults,
           "silent default: exposure_s becomes 1.0", lambda: case_of(reader=reader_with(with_default))),
    Mutant("KeyError on a missing card", "header['AIRMASS']", check_headers, "crashes with KeyError",
           lambda: case_of(reader=reader_with(with_index))),
    Mutant("reader asks the network", "a missing OBJECT is looked up", check_headers, "asks the network",
           lambda: case_of(reader=reader_with(from_the_network))),
    Mutant("reads everything for one detector", "all are read, then chosen from", check_one_detector,
           "reads the pixels of other detectors", lambda: case_of(reader=reads_all)),
    Mutant("reader turns the rows", "the frame upside down", check_round_trip, "the reader changes pixels",
           lambda: case_of(reader=turns_rows)),
    Mutant("crash on files of others", "header['INSTRUME']", check_foreign_files, "crashes with KeyError",
           lambda: case_of(reader=indexes_instrument)),
    Mutant("claims files of others", "no look at the header", check_foreign_files,
           "file of another instrument|instead of a clear error", lambda: case_of(reader=claims_all)),
    Mutant("takes any shape", "the detector is made to fit the frame", check_shapes,
           "a row less is not refused",
           lambda: case_of(reader=takes_any_shape)),
    Mutant("writer loses levels", "the table's gains are written", check_levels_read,
           "loses its levels: gain",
           lambda: case_of(writer=loses_levels)),
    Mutant("writer loses the dark time", "no DARKTIME is written", check_round_trip,
           "dark_s is not what was written", lambda: case_of(writer=loses_dark_time)),
    Mutant("assembly without flips", "the camera's own assembly", check_landing, "not where its box says",
           lambda: case_of(steps=(HeaderLevels, Unturned))),
    Mutant("a step sets another plane", "the camera's own nanFlags set SAT", check_steps,
           "it sets plane 'SAT'",
           lambda: case_of(steps=(HeaderLevels, FlagsMore))),
    Mutant("a bias that never rests", "it subtracts more in every run", check_tiles, "image differs",
           lambda: case_of(steps=(HeaderLevels, GrowingBias))),
    Mutant("a bias that cannot be undone", "it subtracts more every time", check_undoing,
           "'bias' does not undo what it does", lambda: case_of(steps=(HeaderLevels, GrowingBias))),
    Mutant("blanks around a filter's name", "a filter is called ' z'", check_filters, "blanks around",
           lambda: case_of(with_alias(" z"))),
    Mutant("KeyError on a real header", "header['AIRMASS'], found with a real frame", check_raw_headers,
           "crashes with KeyError", lambda: case_of(CAMERA, [real_frame()], reader=reader_with(with_index))),
    Mutant("an amplifier of its own class", "amplifiers with a temperature", check_camera_toml,
           "does not come back from its own table", own_amplifier),
    Mutant("unpicklable camera", "its description is of a local class", check_pickling, "cannot be pickled",
           unpicklable),
    Mutant("prints at import", "print('welcome')", check_import, "prints while it is imported",
           lambda: module_case("mutant_prints", "print('welcome')")),
    Mutant("opens a file at import", "open(..., 'w')", check_import, "opens a file for writing",
           lambda: module_case("mutant_opens", "open(__file__ + '.log', 'w').close()")),
    Mutant("heavy import", "import hypothesis", check_import, "imports hypothesis, which is heavy",
           lambda: module_case("mutant_heavy", "import hypothesis")),
    Mutant("changes the environment at import", "os.environ['TZ'] = 'UTC'", check_import,
           "changes the environment of the whole process",
           lambda: module_case("mutant_sets", "import os; os.environ['ISR_MUTANT'] = 'set'")),
    Mutant("starts a thread at import", "threading.Timer(...).start()", check_import, "starts a thread",
           lambda: module_case("mutant_waits", "import threading; threading.Timer(0.5, int).start()")),
    Mutant("needs an optional dependency", "import astroscrappy at the top", check_optional,
           "needs an optional dependency", lambda: module_case("mutant_needs", "import astroscrappy")),
)  # fmt: skip


def caught() -> list[Caught]:
    """What notices each mutant, and what it says."""
    return [mutant.caught() for mutant in MUTANTS]


__all__ = ["MUTANTS", "caught", "write"]
