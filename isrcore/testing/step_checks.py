"""What every step must keep, whatever it corrects: checks on one drawn case each.

A check raises AssertionError, whose message says what the step does and what to change.
"""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import attrs
import numpy as np
from hypothesis import strategies as st

from isrcore.config import Config, ConfigError
from isrcore.exposure import Exposure
from isrcore.image import MaskedImage
from isrcore.kernels.ops import NotInvertible, Op
from isrcore.kernels.reference import execute
from isrcore.kernels.tiled import Tiled
from isrcore.step import AmpView, Measurement, PixelStep
from isrcore.testing.alike import breach_of_same, differences
from isrcore.testing.contracts import check_step
from isrcore.testing.step_cases import Case
from isrcore.testing.step_neighbour import Neighbour

#: How far image and variance may be from where they were after a step and its inverse, relative to the
#: largest number met: a few roundings to float32, of 6e-8 each.
ROUND_TRIP = 2e-6


def fail(case: Case, what: str, advice: str) -> NoReturn:
    """Say what the step does and what to do."""
    raise AssertionError(f"step '{case.spec.name}' {what}\n  {advice}")


def check_contract(case: Case, data: st.DataObject) -> None:
    """Facts, unit, history and mask planes become what the contract says, and no flag is cleared."""
    step = case.step()
    planned, after = case.planned(step), case.run(step)
    before = case.exposure.share()
    before.pixels = before.pixels.with_planes(after.planes)
    check_step(planned, before, after, case.inputs)
    spec = planned.spec
    if spec.unit_out in (None, before.unit) or case.is_moving:
        return
    gains = {amp.gain for amp in case.exposure.detector.amplifiers}
    if 1 not in gains and np.array_equal(before.image, after.image, equal_nan=True):
        fail(
            case,
            f"says that pixels are in {spec.unit_out!r} afterwards, but leaves their numbers as they were",
            f"convert them, or leave unit_out = {spec.unit_out!r} out of the contract",
        )


def check_pixels(case: Case, data: st.DataObject) -> None:
    """Pixels stay three planes of the right type and, unless the step moves them, of the same shape."""
    after = case.run().pixels
    if not case.is_moving and after.shape != case.exposure.shape:
        fail(
            case,
            f"makes {after.shape} pixels of {case.exposure.shape}",
            "only a GatherStep changes the geometry",
        )
    if case.subject.is_float and after.image.dtype != np.float32:
        fail(case, f"leaves {after.image.dtype} pixels", "pixels are float32")


def check_planning(case: Case, data: st.DataObject) -> None:
    """The contract for an exposure depends on what is known before pixels are read."""
    step = case.step()
    spec = case.planned(step).spec
    zeros = np.zeros_like(case.exposure.image)
    blind = attrs.evolve(case.exposure.share(), pixels=attrs.evolve(case.exposure.pixels, image=zeros))
    if step.contract(blind) != step.contract(case.exposure.share()):
        fail(
            case,
            "has another contract when pixels are zero",
            "planning reads no pixels: contract() may look at header, visit, detector and config only",
        )
    for name in ("name", "flag", "unit_in", "once"):
        said, is_now = getattr(case.spec, name), getattr(spec, name)
        if said != is_now:
            fail(
                case,
                f"is registered with {name} = {said!r}, but contract() says {is_now!r}",
                f"leave {name} as it is registered; contract() may change what is waited for and read",
            )
    if extra := sorted(spec.provides - case.spec.provides):
        fail(
            case,
            f"provides '{extra[0]}' in contract(), which its registered contract does not list",
            "list it in the provides of the StepSpec: others can wait for no other fact",
        )


def check_units(case: Case, data: st.DataObject) -> None:
    """A step that names no unit works in electron as well."""
    if case.spec.unit_in is not None or not case.subject.is_float:
        return
    facts = case.exposure.facts | {"gains-applied"}
    electrons = case.with_exposure(unit="electron", facts=facts)
    try:
        electrons.run()
    except AssertionError as fault:
        reason = str(fault).splitlines()[0].partition("accepts: ")[2]
        fail(
            case,
            f"has unit_in = None, so it must take electrons too, but it fails on them: {reason}",
            "name the unit it works in: unit_in = 'adu'",
        )


def check_reach(case: Case, data: st.DataObject) -> None:
    """A changed pixel changes none farther away than ``reach``."""
    reach = case.planned().spec.reach
    if reach is None or case.is_moving:
        return
    pixel, change = draw_pixel(case, data), data.draw(st.sampled_from(["brighter", "NaN", "flagged"]))
    changed = case.with_pixels(lambda pixels: _spoil(pixels, pixel, change))
    first, second = case.run().pixels, changed.run().pixels
    far = differ(first, second) & (_distance(first.shape, pixel) > reach)
    if far.any():
        where = tuple(int(i) for i in np.argwhere(far)[0])
        away = int(_distance(first.shape, pixel)[where])
        fail(
            case,
            f"has reach = {reach}, but with pixel {pixel} {change} pixel {where} changes, {away} away",
            f"set reach = {away} or more in the contract (None = the whole detector), or look less far",
        )


def check_nans(case: Case, data: st.DataObject) -> None:
    """A NaN of the exposure or of a frame stays where it is, or within reach of that."""
    planned, plain = case.planned(), case.run().pixels
    frames = [kind for kind, value in case.inputs.items() if isinstance(value, Exposure)]
    whose = data.draw(st.sampled_from(["exposure", *sorted(frames)]))
    if whose == "exposure" and (case.exposure.pixels.is_raw or case.is_moving):
        return
    pixel = draw_pixel(case, data)
    spoiled = case.with_pixels(lambda p: _spoil(p, pixel, "NaN")) if whose == "exposure" else None
    spoiled = spoiled or attrs.evolve(
        case, inputs={**case.inputs, whose: _with_nan(case.inputs[whose], pixel)}
    )
    new = np.isnan(spoiled.run().pixels.image) & ~np.isnan(plain.image)
    if not _is_spread(case, new, pixel, planned.spec.reach):
        return
    fail(
        case,
        f"spreads NaN: one in the {whose} at {pixel} makes {int(new.sum())} of {new.size} pixels NaN",
        "leave NaN out of sums, means and medians (np.nanmedian, isrcore.statistics); a pixel without a"
        " number must not take others with it",
    )


def _is_spread(case: Case, new: Any, pixel: tuple[int, int], reach: int | None) -> bool:
    """Whether pixels became NaN beyond reach; without one, whether most of an amplifier did."""
    if reach is not None:
        return bool((new & (_distance(new.shape, pixel) > reach)).any())
    return any(float(new[box.slices].mean()) > 0.5 for box in boxes_of(case) if box.area > 1)


def check_repetition(case: Case, data: st.DataObject) -> None:
    """Equal exposures give equal results, to the bit, whoever asks and however often."""
    first, second = case.run(), case.run()
    if breach := breach_of_same(first.pixels, second.pixels, exactly=True) or _other_records(first, second):
        fail(
            case,
            f"gives two results for one exposure: {breach}",
            "draw no unseeded random numbers, and look at no clock; a seed belongs in the config",
        )


def check_memory(case: Case, data: st.DataObject) -> None:
    """One instance corrects many exposures: what it saw before changes nothing, and nothing it gave."""
    step, other = case.step(), case.with_pixels(lambda p: _spoil(p, (0, 0), "brighter"))
    before = case.run(step)
    copy, measured = before.clone(), pickle.dumps(before.measured)
    other.run(step)
    if breach_of_same(before.pixels, copy.pixels, exactly=True) or pickle.dumps(before.measured) != measured:
        fail(
            case,
            "changes a product it has finished when it runs again",
            "give every exposure arrays of its own; keep none of them on self",
        )
    again = case.run(step)
    if breach := breach_of_same(again.pixels, copy.pixels, exactly=True):
        fail(
            case,
            f"remembers an earlier exposure: the second time the same one gives another result, {breach}",
            "keep nothing on self between runs; return a Measurement instead",
        )


def check_inputs_are_kept(case: Case, data: st.DataObject) -> None:
    """Calibrations are as they were: the next exposure needs them too."""
    copies = pickle.loads(pickle.dumps(dict(case.inputs)))
    case.run()
    for kind, value in case.inputs.items():
        if found := differences(copies[kind], value):
            fail(
                case,
                f"changes its calibration '{kind}': {found}",
                "write into no array of a calibration; a PixelStep yields operations, others work on copies",
            )


def check_tiles(case: Case, data: st.DataObject) -> None:
    """Bands of any height, on any number of threads, give what the whole frame at once gives."""
    tiled = Tiled(data.draw(st.integers(1, 7)), data.draw(st.integers(1, 3)))
    first, second = case.run(case.step(execute)), case.run(case.step(tiled))
    if breach := breach_of_same(first.pixels, second.pixels, exactly=True):
        fail(
            case,
            f"gives another result in bands of {tiled.rows} rows on {tiled.threads} threads: {breach}",
            "what is done to a row must not depend on the rows it is done with",
        )


def check_operations(case: Case, data: st.DataObject) -> None:
    """Operations are said twice alike, are float32, and leave the measurement as it was."""
    step = case.step()
    if not isinstance(step, PixelStep):
        return
    said, problems = step.ops, []

    def watched(view: AmpView) -> Iterator[Op]:
        before = pickle.dumps(view.measurement)
        first = list(said(view))
        if pickle.dumps(view.measurement) != before:
            problems.append("writes into its measurement in ops(view)")
        second = list(said(view))
        if [type(op) for op in first] != [type(op) for op in second] or any(
            differences(one, other) for one, other in zip(first, second, strict=True)
        ):
            problems.append("yields other operations when asked a second time")
        problems.extend(found for op in first for found in _wide_operands(op))
        yield from first

    step.ops = watched  # type: ignore[method-assign]
    case.run(step)
    if problems:
        fail(case, problems[0], "operations are frozen float32 data: make new arrays with dtype=np.float32")


def _wide_operands(op: Op) -> Iterator[str]:
    """Operands that would make a step compute in float64."""
    for name in op.operands:
        value = getattr(op, name)
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, np.ndarray) and one.dtype == np.float64:
                yield f"makes float64: operand '{name}' of {type(op).__name__} is a {one.dtype} array"


def check_inverse(case: Case, data: st.DataObject) -> None:
    """Where every operation has an inverse, undoing the step returns image, variance, unit and facts."""
    step = case.step()
    if not isinstance(step, PixelStep) or step.reads_pixels() or case.exposure.pixels.is_raw:
        return
    after, ops = _run_with_operations(case, step)
    if not all(op.is_invertible for op in ops):
        return
    undone, task = after.clone(), step._parent
    try:
        task._undo(step, undone, **case.inputs)  # type: ignore[union-attr]
    except NotInvertible:
        return
    for name in ("image", "variance"):
        was, became, found = (getattr(e, name).astype(np.float64) for e in (case.exposure, after, undone))
        largest = max(np.nanmax(abs(was)), np.nanmax(abs(became)))
        wrong = ~(abs(found - was) <= ROUND_TRIP * largest) & np.isfinite(became) & np.isfinite(was)
        if wrong.any():
            where = tuple(int(i) for i in np.argwhere(wrong)[0])
            fail(
                case,
                f"claims an inverse that is none: {name} at {where} is {was[where]:g},"
                f" {became[where]:g} after the step and {found[where]:g} after undoing it",
                "do not measure what you change (reads_pixels() says that you do), and give operations of"
                " your own an inverse() that returns what was there",
            )
    if (undone.facts, undone.unit) != (case.exposure.facts - case.spec.provides, case.exposure.unit):
        fail(case, "leaves facts or unit behind when it is undone", "change neither facts nor unit yourself")


def _run_with_operations(case: Case, step: PixelStep) -> tuple[Exposure, list[Op]]:
    """The result, and the operations that made it."""
    said, ops = step.ops, list[Op]()

    def watched(view: AmpView) -> Iterator[Op]:
        for op in said(view):
            ops.append(op)
            yield op

    step.ops = watched  # type: ignore[method-assign]
    return case.run(step), ops


def check_records(case: Case, data: st.DataObject) -> None:
    """Catalogs have exactly the columns that are promised, and a row for all that was measured."""
    step = case.step()
    schemas, after = step.getSchemaCatalogs(), case.run(step)
    try:
        found = step.catalogs(after)
    except AttributeError as fault:
        fail(
            case,
            f"declares a quantity that it does not produce: {fault}",
            "give the measurement an attribute of that name, or leave the Quantity out",
        )
    measured = after.measured.get(case.spec.name, {})
    if step.quantities and not measured:
        names = ", ".join(quantity.name for quantity in step.quantities)
        fail(case, f"declares {names} but measures nothing", "return a Measurement, or leave quantities out")
    _check_columns(case, schemas, found)
    declared = {quantity.name for quantity in step.quantities}
    for result in measured.values():
        if extra := sorted(_numbers(result) - declared):
            fail(
                case,
                f"measures '{extra[0]}', an undeclared quantity: its table has {sorted(declared)}",
                f"add Quantity({extra[0]!r}, '...') to quantities, so that users find it",
            )


def _check_columns(case: Case, schemas: dict[str, Any], found: dict[str, Any]) -> None:
    for name in sorted(schemas.keys() | found.keys()):
        if name not in schemas or name not in found:
            which = "fills" if name in found else "promises"
            fail(case, f"only {which} catalog '{name}'", "catalogs() and getSchemaCatalogs() must agree")
        promised, filled = (
            [(column.name, column.dtype.kind, column.unit) for column in table[name].columns.values()]
            for table in (schemas, found)
        )
        if promised != filled:
            fail(
                case,
                f"fills catalog '{name}' with columns {filled} but promises {promised}",
                "catalogs() and getSchemaCatalogs() must have the same columns",
            )


def _numbers(result: Any) -> set[str]:
    """Plain numbers that were measured: what a table can hold."""
    fields = attrs.fields(type(result)) if isinstance(result, Measurement) else ()
    values = {field.name: getattr(result, field.name) for field in fields}
    return {name for name, value in values.items() if isinstance(value, float)}


def check_config(case: Case, data: st.DataObject) -> None:
    """A config written to a file and read again is the same."""
    config, fresh = case.subject.config(case.settings), case.subject.config({})
    _vary(config, f"{case.spec.name}.")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.toml"
        path.write_text(config.to_toml())
        try:
            fresh.load(path)
            lost = fresh.compare(config)
        except ConfigError as fault:
            lost = [str(fault)]
    if lost:
        fail(
            case,
            f"has a config that a file does not give back: {lost[0]}",
            "products keep their config as TOML: declare every setting with field(), of types TOML has",
        )


def _vary(config: Config, section: str) -> None:
    """Change every number and switch of a section, where its constraints let it be changed."""
    for name in config.names():
        value = config.get(name)
        if name.startswith(section) and isinstance(value, bool | int | float):
            with suppress(ConfigError):
                config.set(name, not value if isinstance(value, bool) else value + 1)


def check_pickles(case: Case, data: st.DataObject) -> None:
    """Step and measurements survive the way to another process."""
    step = case.step()
    after = case.run(step)
    try:
        pickle.loads(pickle.dumps((type(step), after.measured, dict(after.header), step.metadata)))
        alone = pickle.loads(pickle.dumps(type(step)(config=step.config, name=case.spec.name)))
    except Exception as fault:
        fail(
            case,
            f"cannot be sent to another process: {type(fault).__name__}: {fault}",
            "define classes at the top of a module, and measure numbers and arrays, no functions or files",
        )
    if alone.config != step.config:
        fail(case, "loses its config on the way to another process", "do not override __reduce__")


def check_segments(case: Case, data: st.DataObject) -> None:
    """A step in one pass with the step before it does what it does after it."""
    step = case.step()
    if not isinstance(step, PixelStep) or case.exposure.pixels.is_raw:
        return
    together = case.run(step, before=_nudge(step))
    nudge = _nudge(step)
    apart = case.with_exposure(pixels=_alone(case, nudge)).run()
    if breach := breach_of_same(together.pixels, apart.pixels, exactly=True):
        fail(
            case,
            f"gives another result in one pass with the step before it: {breach}",
            "read the exposure's pixels with view.pixels(box) only, and let reads_pixels() return True",
        )


def _nudge(step: Any) -> Any:
    """A step that comes first and changes every pixel."""
    nudge = Neighbour()
    nudge._parent = step._parent
    return nudge


def _alone(case: Case, nudge: Any) -> MaskedImage:
    """The pixels after the neighbour."""
    exposure = case.exposure.clone()
    nudge._parent._apply([nudge], exposure)
    return exposure.pixels


def draw_pixel(case: Case, data: st.DataObject) -> tuple[int, int]:
    """Row and column of some pixel."""
    ny, nx = case.exposure.shape
    return data.draw(st.integers(0, ny - 1)), data.draw(st.integers(0, nx - 1))


def _spoil(pixels: MaskedImage, pixel: tuple[int, int], how: str) -> None:
    """Change one pixel in place."""
    if how == "brighter":
        pixels.image[pixel] = pixels.image[pixel] + 1000 if pixels.image[pixel] < 60000 else 100
    elif how == "flagged":
        pixels.mask[pixel] |= np.int32(pixels.planes.value(*pixels.planes))
    elif not pixels.is_raw:
        pixels.image[pixel] = np.nan


def _with_nan(frame: Exposure, pixel: tuple[int, int]) -> Exposure:
    """The frame with a NaN at a pixel."""
    other = frame.clone()
    other.image[pixel[0] % frame.shape[0], pixel[1] % frame.shape[1]] = np.nan
    return other


def _distance(shape: tuple[int, int], pixel: tuple[int, int]) -> Any:
    """How far pixels are from one: the larger of the distances in rows and in columns."""
    y, x = np.indices(shape)
    return np.maximum(abs(y - pixel[0]), abs(x - pixel[1]))


def differ(first: MaskedImage, second: MaskedImage) -> Any:
    """Pixels in which two images differ; NaN is NaN."""
    pairs = [(getattr(first, name), getattr(second, name)) for name in ("image", "variance", "mask")]
    return np.any([(a != b) & ~((a != a) & (b != b)) for a, b in pairs], axis=0)


def boxes_of(case: Case) -> list[Any]:
    """Where amplifiers are in the geometry that the step finds."""
    assembled = case.subject.is_assembled
    return [amp.box if assembled else amp.raw_box for amp in case.exposure.detector.amplifiers]


def _other_records(first: Exposure, second: Exposure) -> str:
    """Whether header or measurements differ."""
    if first.header != second.header:
        return "its header cards differ"
    found = differences(dict(first.measured), dict(second.measured))
    return f"measurements differ: {found}" if found else ""
