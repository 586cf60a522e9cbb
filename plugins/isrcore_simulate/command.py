"""``isr simulate``: the subcommand."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from isrcore import Camera, ConfigError, Detector, Registry, check_writable, hookimpl, split_words
from isrcore_simulate.instrument import Instrument
from isrcore_simulate.night import FIRST_NUMBER, KINDS, Shot, Simulator, summary_of
from isrcore_simulate.scene import Scene

_ABOUT = """Write raw frames of a camera in the camera's own format, as they would come from the telescope:
a field of stars, some of which saturate and bleed, or a bias, dark or flat; through vignetting, dust, dark
current, bad pixels, photon noise, bias structure, pedestals that drift, read noise and a 16-bit converter.
Equal options give equal files. Frames of one seed share instrument and field, and have noise of their own."""

_EXAMPLE = """example:
  isr simulate --camera megacam --detectors 0,17 --type bias --number 5 night/
  isr simulate --camera megacam --detectors 0,17 --type flat --number 5 night/
  isr simulate --camera megacam --detectors 0,17 --exposure-time 300 --truth truth/ night/
  isr run night/*o.fits.fz --bias truth/masters --flat truth/masters --defects truth/defects -o reduced/

OUT is a folder, whose files are named by number and kind (1000001o.fits.fz; o science, b bias, d dark,
f flat), or for one frame a name in .fits or .fits.fz.

exit status:
  0    the files were written
  1    one could not be written; the message says why, those before it are complete
  2    nothing was done: wrong options
  130  interrupted
"""

_TIMES = {"science": 60.0, "bias": 0.0, "dark": 300.0, "flat": 5.0}
# Particles per million pixels and second: about two per square centimetre and minute, for 13.5 micron pixels.
_PARTICLE_RATE = 0.06


@hookimpl
def isr_commands(subcommands: Any) -> None:
    """Add ``simulate``."""
    parser = subcommands.add_parser(
        "simulate",
        help="write raw frames as a camera would",
        description=_ABOUT,
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("output", type=Path, metavar="OUT", help="folder or file to write")
    _add_frame_options(parser)
    _add_sky_options(parser.add_argument_group("sky", "What science frames see."))
    _add_instrument_options(parser.add_argument_group("instrument"))
    parser.set_defaults(function=simulate_frames)


def _add_frame_options(parser: argparse.ArgumentParser) -> None:
    """Which frames, and where to."""
    parser.add_argument(
        "--camera", required=True, help="camera ('isr cameras' lists them), in any case, or a camera file"
    )
    parser.add_argument("--detectors", metavar="A,B", help="names or numbers (default: all)")
    parser.add_argument(
        "--type", choices=tuple(KINDS), default="science", help="what to take (default: science)"
    )
    parser.add_argument("--number", type=_parse_count, default=1, metavar="N", help="how many (default: 1)")
    parser.add_argument(
        "--first", type=_parse_count, default=FIRST_NUMBER, metavar="N",
        help=f"number of the first exposure (default: {FIRST_NUMBER})",
    )  # fmt: skip
    parser.add_argument(
        "--seed", type=_parse_seed, default=1, help="of instrument, field and noise (default: 1)"
    )
    parser.add_argument(
        "--exposure-time", type=_parse_amount, metavar="S",
        help="seconds (default: 60, dark 300, flat 5; a bias has none)",
    )  # fmt: skip
    parser.add_argument(
        "--filter", default="r", help="filter, by any name the camera has for it (default: r)"
    )
    parser.add_argument("--truth", type=Path, metavar="FOLDER", help="write what is true there: "
                        "products without noise, perfect masters, tables of defects")  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there already")


def _add_sky_options(group: Any) -> None:
    """What science frames see."""
    scene = Scene()
    group.add_argument("--sky", type=_parse_amount, default=scene.sky_rate, metavar="RATE",
                       help=f"background, electron/s and pixel (default: {scene.sky_rate:g})")  # fmt: skip
    group.add_argument("--stars", type=_parse_amount, default=scene.star_density, metavar="DENSITY",
                       help=f"stars per million pixels (default: {scene.star_density:g})")  # fmt: skip
    group.add_argument("--no-stars", action="store_const", const=0.0, dest="stars", help="no stars")
    group.add_argument("--fwhm", type=_parse_amount, default=scene.fwhm, metavar="PIXELS",
                       help=f"width of star images (default: {scene.fwhm:g})")  # fmt: skip
    group.add_argument(
        "--ra", type=float, default=150.0, metavar="DEG", help="right ascension (default: 150)"
    )
    group.add_argument("--dec", type=float, default=2.0, metavar="DEG", help="declination (default: 2)")


def _add_instrument_options(group: Any) -> None:
    """What the instrument adds."""
    group.add_argument("--flat-level", type=_parse_amount, default=20_000.0, metavar="ELECTRONS",
                       help="mean of flats, electron per pixel (default: 20000)")  # fmt: skip
    group.add_argument("--dark-current", type=_parse_amount, default=0.001, metavar="RATE",
                       help="electron/s and pixel (default: 0.001)")  # fmt: skip
    group.add_argument("--cosmic-rays", action="store_const", const=_PARTICLE_RATE, default=0.0,
                       help=f"particles, {_PARTICLE_RATE:g} per million pixels and second")  # fmt: skip


def _parse_amount(text: str) -> float:
    """A number that is not negative."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no amount; give a number of 0 or more")
    return value


def _parse_count(text: str) -> int:
    """A positive whole number."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of frames; give 1 or more")
    return int(text)


def _parse_seed(text: str) -> int:
    """A whole number that is not negative."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no seed; give a whole number of 0 or more")
    return int(text)


def simulate_frames(arguments: argparse.Namespace) -> int:
    """Write the frames, and a line for each; nothing is written when one is there already."""
    camera = _find_camera(arguments.registry, arguments.camera)
    detectors = _find_detectors(camera, arguments.detectors)
    _check_known(camera, detectors)
    shots = list(_shots(arguments, camera))
    files = {_place(arguments, shot): shot for shot in shots}
    _check(arguments, files)
    simulator = _make_simulator(arguments, camera)
    if arguments.truth:
        simulator.write_instrument(arguments.truth, detectors)
    for path, shot in files.items():
        simulator.write(path, shot, detectors, arguments.truth, overwrite=arguments.overwrite)
        print(f"{path}  {summary_of(shot, detectors)}", flush=True)
    return 0


def _find_camera(registry: Registry, name: str) -> Camera:
    """The camera of that name in any case. Raises `RegistryError` as `Registry.camera` does."""
    fitting = [known for known in registry.cameras if known.lower() == name.lower()]
    return registry.camera(fitting[0] if len(fitting) == 1 else name)


def _check_known(camera: Camera, detectors: list[Detector]) -> None:
    """Raise ConfigError for detectors whose sections or levels only a raw file tells."""
    unknown = [
        f"{one.name}[{amp.name}]"
        for one in detectors
        for amp in one.amplifiers
        if not amp.box.area or math.isnan(amp.gain + amp.read_noise)
    ]
    if unknown:
        raise ConfigError(
            f"camera {camera.name!r}: only raw files tell sections or levels of {', '.join(unknown)}\n"
            "  give them nominal values: gain = { card = 'GAIN', nominal = 1.5 }"
        )


def _find_detectors(camera: Camera, text: str | None) -> list[Detector]:
    """The detectors named, all without a list. Raises ConfigError naming all that are not there."""
    if text is None:
        return list(camera.detectors)
    words = split_words(text)
    known = {str(key): one for one in camera.detectors for key in (one.id, one.name)}
    missing = [repr(word) for word in words if word not in known]
    if missing or not words:
        names = ", ".join(one.name for one in camera.detectors)
        raise ConfigError(
            f"--detectors: camera {camera.name!r} has no {', '.join(missing) or '...'}; it has {names}"
        )
    return list(dict.fromkeys(known[word] for word in words))


def _shots(arguments: argparse.Namespace, camera: Camera) -> Iterator[Shot]:
    """What to take."""
    glass = next((one.name for one in camera.filters if arguments.filter in one.names), arguments.filter)
    seconds = _TIMES[arguments.type] if arguments.exposure_time is None else arguments.exposure_time
    for number in range(arguments.first, arguments.first + arguments.number):
        yield Shot(
            arguments.type,
            number,
            seconds,
            glass,
            arguments.flat_level,
            arguments.ra,
            arguments.dec,
        )


def _place(arguments: argparse.Namespace, shot: Shot) -> Path:
    """The file of a shot."""
    out: Path = arguments.output
    return out if out.name.endswith((".fits", ".fits.fz")) else out / f"{shot.stem}.fits.fz"


def _check(arguments: argparse.Namespace, files: dict[Path, Shot]) -> None:
    """Refuse what cannot be written before any time is spent. Raises ConfigError and `FitsError`."""
    faults = []
    if len(files) < arguments.number:
        faults.append(
            f"{arguments.number} frames do not go into one file {str(arguments.output)!r}: name a folder"
        )
    if arguments.type == "bias" and arguments.exposure_time:
        faults.append("--exposure-time: a bias has none; leave it out, or take a dark")
    if arguments.output.suffix == ".gz":
        faults.append(f"{str(arguments.output)!r}: raw files are plain or tile-compressed, .fits or .fits.fz")
    if not abs(arguments.dec) <= 90:
        faults.append(f"--dec {arguments.dec:g}: a declination is between -90 and 90 degrees")
    if faults:
        raise ConfigError("\n  ".join(["cannot start", *faults]))
    for folder in {path.parent for path in files} | ({arguments.truth} if arguments.truth else set()):
        folder.mkdir(parents=True, exist_ok=True)
    for path in files:
        check_writable(path, overwrite=arguments.overwrite)


def _make_simulator(arguments: argparse.Namespace, camera: Camera) -> Simulator:
    """Instrument, field and noise as the options say."""
    seed = arguments.seed
    scene = Scene(
        sky_rate=arguments.sky,
        star_density=arguments.stars,
        fwhm=max(arguments.fwhm, 0.5),
        particle_rate=arguments.cosmic_rays,
        seed=seed,
    )
    instrument = Instrument(camera, seed, dark_rate=arguments.dark_current)
    return Simulator(instrument, scene, seed=seed, registry=arguments.registry)
