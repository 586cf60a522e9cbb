"""How long one exposure of all CCDs of MegaCam takes from raw file to products, with two processes.

The reference, with two processes in the same run: astropy decodes every CCD of the raw file, and writes
image, mask and variance of every product plainly, without checksums, history or waiting for the disk.

Run with ``python -m pytest tests/benchmarks/bench_exposure.py -o addopts="" -s``. The night is made first: it
needs about 14 GB of disk, and memory to keep as much, or disks will be measured instead. ISRCORE_BENCH_CCDS
makes a night of the first so many CCDs. With ISRCORE_BENCH_FOLDER the night is made there and kept, and
products are written beside it.
"""

import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from astropy.io import fits

from isrcore import Detector, Exposure, MaskedImage, VisitInfo, write_exposure
from isrcore_cfht import CAMERA

JOBS = 2
SETTLE_S = 5.0
ROUNDS = int(os.environ.get("ISRCORE_BENCH_ROUNDS", "3"))
DETECTORS = CAMERA.detectors[: int(os.environ.get("ISRCORE_BENCH_CCDS", len(CAMERA.detectors)))]
PRIMARY = {
    "INSTRUME": "MegaPrime", "DETECTOR": "MegaCam", "TELESCOP": "CFHT 3.6m", "EXPNUM": 1000001,
    "OBSTYPE": "OBJECT", "FILTER": "r.MP9601", "OBJECT": "field", "DATE-OBS": "2015-11-01",
    "UTC-OBS": "10:00:00.00", "EXPTIME": 60.0, "DARKTIME": 60.0, "RADECSYS": "FK5",
    "RA_DEG": 30.0, "DEC_DEG": -5.0, "AIRMASS": 1.2,
}  # fmt: skip
CARDS = {
    "SATURATE": 65535, "MAXLIN": 65535, "EXPTIME": 60.0, "DARKTIME": 60.0,
    "GAINA": 1.6, "GAINB": 1.6, "RDNOISEA": 5.0, "RDNOISEB": 5.0,
    "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 30.0, "CRVAL2": -5.0, "CRPIX1": 1000.0,
    "CRPIX2": 2000.0, "CD1_1": -5.2e-5, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 5.2e-5,
    # As many cards as the observatory writes.
    **{f"KEY{number:03}": number * 1.5 for number in range(150)},
}  # fmt: skip


@attrs.frozen
class Night:
    """A raw exposure and a folder of masters."""

    raw: Path
    masters: Path


def raw_frame(rng: np.random.Generator) -> Any:
    """Sky, overscan columns, and two hundred saturated stars."""
    ny, nx = CAMERA.detectors[0].raw_shape
    raw = rng.normal(3000, 40, (ny, nx)).astype(np.uint16)
    for columns in (slice(0, 32), slice(nx - 32, nx)):
        raw[:, columns] = rng.normal(1000, 3, (ny, 32))
    for y, x in zip(rng.integers(50, ny - 50, 200), rng.integers(100, nx - 100, 200), strict=True):
        raw[y : y + 6, x : x + 6] = 65535
    return raw


def masters_of(detector: Detector, noise: Any) -> Iterator[tuple[str, Exposure]]:
    """Bias and flat with variance, and a mask with a bad column and bad pixels."""
    mask = np.zeros(detector.shape, np.int32)
    mask[:, 77], mask[::97, ::89] = 1, 1
    variance = np.full(detector.shape, 0.01, np.float32)
    for kind, sigma, unit in (("bias", 0.5, "adu"), ("flat", 0.01, "")):
        pixels = MaskedImage.from_image(1 + np.float32(sigma) * noise, mask, variance)
        visit = VisitInfo(observation_type=kind, filter="r.MP9601")
        facts = frozenset({"assembled", "converted"})
        yield kind, Exposure(pixels, detector, CAMERA.name, visit, unit=unit, facts=facts)


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Night:
    """The raw file, Rice-compressed, and masters of all CCDs; kept in ISRCORE_BENCH_FOLDER, if given."""
    given = os.environ.get("ISRCORE_BENCH_FOLDER")
    folder = Path(given) if given else tmp_path_factory.mktemp("exposure")
    made = Night(folder / "1000001o.fits.fz", folder / "masters")
    if made.raw.exists():
        return made
    rng = np.random.default_rng(1)
    frame, noise = raw_frame(rng), rng.normal(0, 1, CAMERA.detectors[0].shape).astype(np.float32)
    made.masters.mkdir(parents=True)
    hdus = [fits.PrimaryHDU(header=fits.Header(list(PRIMARY.items())))]
    for number, detector in enumerate(DETECTORS):
        header = fits.Header([*CARDS.items(), ("EXTNAME", detector.name)])
        pixels = np.roll(frame, 97 * number, axis=0)
        hdus.append(fits.CompImageHDU(pixels, header, compression_type="RICE_1"))
        for kind, master in masters_of(detector, noise):
            write_exposure(master, made.masters / f"{kind}_{detector.name}.fits")
    fits.HDUList(hdus).writeto(made.raw)
    return made


def reference_part(raw: Path, out: Path, numbers: list[int], begin: Barrier, results: Any) -> None:
    """Decode some CCDs and write as many products, when the others are ready too; sends the durations.

    The third is that of forcing the products to disk, as isrcore does before it calls them finished.
    """
    shape = CAMERA.detectors[0].shape
    planes = [np.ones(shape, kind) for kind in (np.float32, np.int32, np.float32)]
    begin.wait(timeout=60)
    started = time.perf_counter()
    with fits.open(raw, memmap=False) as hdus:
        for number in numbers:
            hdus[number].data.sum()
    decoded = time.perf_counter()
    for number in numbers:
        hdus = fits.HDUList([fits.PrimaryHDU(), *(fits.ImageHDU(plane) for plane in planes)])
        hdus.writeto(out / f"{number}.fits")
    written = time.perf_counter()
    for number in numbers:
        with (out / f"{number}.fits").open("rb") as stream:
            os.fsync(stream.fileno())
    results.put((decoded - started, written - decoded, time.perf_counter() - written))


def time_reference(night: Night, out: Path) -> tuple[float, float, float]:
    """Seconds of the slower process, for decoding, for writing and for forcing to disk."""
    context = multiprocessing.get_context("spawn")
    begin, results = context.Barrier(JOBS), context.SimpleQueue()
    numbers = range(1, len(DETECTORS) + 1)
    processes = [
        context.Process(target=reference_part, args=(night.raw, out, list(numbers[k::JOBS]), begin, results))
        for k in range(JOBS)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    found = [results.get() for _ in processes]
    decode_s, write_s, sync_s = (max(part) for part in zip(*found, strict=True))
    return decode_s, write_s, sync_s


@attrs.frozen
class Run:
    """What one run of the command took: seconds in all, those of each part summed over units, peak memory.

    The part of interpolation is not in that of pixels.
    """

    seconds: float
    parts: dict[str, float]
    memory_mb: float


def time_command(night: Night, out: Path, has_masters: bool) -> Run:
    """Run the command in processes of its own."""
    given = ["--bias", str(night.masters), "--flat", str(night.masters)]
    words = ["run", str(night.raw), *(given if has_masters else ["-c", "doBias=false", "doFlat=false"])]
    words += ["-o", str(out), "--jobs", str(JOBS), "-c", "doDark=false"]
    started = time.perf_counter()
    running = subprocess.Popen(
        [sys.executable, "-m", "isrcore", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    peak = 0.0
    while running.poll() is None:
        peak = max(peak, peak_memory(running.pid))
        # Looking often would take time from the processes. The most that they ever had is remembered.
        with suppress(subprocess.TimeoutExpired):
            running.wait(0.5)
    seconds = time.perf_counter() - started
    assert running.returncode == 0
    units = json.loads((out / "isr_report.json").read_text())["units"]
    parts = {name: sum(unit["parts"][name] for unit in units) for name in ("read", "pixels", "write")}
    segments = [segment for unit in units for segment in unit["segments"]]
    parts["interpolation"] = sum(part["seconds"] for part in segments if "interpolation" in part["steps"])
    parts["pixels"] -= parts["interpolation"]
    return Run(seconds, parts, peak)


def peak_memory(session: int) -> float:
    """The most memory (MB) that a process of a session has used so far."""
    found = [0.0]
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if int((folder / "stat").read_text().rpartition(")")[2].split()[3]) == session:
                lines = (folder / "status").read_text().splitlines()
                found += [int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")]
        except (OSError, IndexError):
            continue
    return max(found)


@pytest.mark.parametrize("has_masters", [True, False], ids=["bias and flat", "no masters"])
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="memory is read from /proc")
def test_all_ccds_of_an_exposure(night: Night, capsys: pytest.CaptureFixture[str], has_masters: bool) -> None:
    count, folder = len(DETECTORS), night.raw.parent / "products"
    folder.mkdir(exist_ok=True)
    for _ in range(ROUNDS):
        discard(folder)
        decode_s, write_s, sync_s = time_reference(night, folder)
        discard(folder)
        run = time_command(night, folder, has_masters)
        plain, durable = decode_s + write_s, decode_s + write_s + sync_s
        parts = ", ".join(f"{name} {seconds / count:.3f}" for name, seconds in run.parts.items())
        with capsys.disabled():
            print(
                f"\n{count} CCDs, {JOBS} processes: {run.seconds:.2f} s; per CCD and process: {parts}; "
                f"peak {run.memory_mb:.0f} MB\n"
                f"reference: decoding {decode_s:.2f} s + writing {write_s:.2f} s (to disk {sync_s:.2f} s); "
                f"ratio {run.seconds / plain:.2f} ({run.seconds / durable:.2f})"
            )
        assert run.memory_mb < 1000
    shutil.rmtree(folder)


def discard(folder: Path) -> None:
    """Remove products, and have nothing of them left to be written while the next candidate is timed."""
    shutil.rmtree(folder)
    folder.mkdir()
    os.sync()
    # A disk is busy for a while with what it has just been told to forget.
    time.sleep(SETTLE_S)
