"""Which cards tell time, filter, kind and so on; and by which a file is recognised."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import attrs
from astropy.io.fits import Header

from isrcore_inspect.frames import KIND_CARDS, TIME_CARDS, Frame, kind_of, words
from isrcore_inspect.geometry import CERTAIN, CHECK

_RECOGNISE = (
    "INSTRUME",
    "INSTRUM",
    "INSTRID",
    "CAMERA",
    "VERSION",
    "DETECTOR",
    "DETNAM",
    "PROGRAM",
    "TELESCOP",
)


@attrs.frozen
class Line:
    """One line of the proposal: key, value as TOML, how sure it is and why."""

    key: str
    value: str
    verdict: str
    why: str


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


# Cards that tell a field of a visit, the usual one first: that needs no line.
_FIELDS: dict[str, tuple[Callable[[Any], bool], tuple[str, ...]]] = {
    "exposure_id": (_is_number, ("EXPNUM", "OBSNUM", "FRAMENO", "RUN", "ESO DET EXP NO", "IMGNUM")),
    "exposure_s": (_is_number, TIME_CARDS),
    "dark_s": (_is_number, ("DARKTIME", "ESO DET WIN1 DKTM")),
    "filter": (
        lambda value: _is_text(value) or _is_number(value),
        ("FILTER", "FILTERS", "FILTNAM", "FILTER1", "ESO INS FILT1 NAME", "INSFILTE", "BLFILT_N"),
    ),
    "object_name": (_is_text, ("OBJECT", "TARGET", "OBJNAME")),
    "airmass": (_is_number, ("AIRMASS", "SECZ", "ESO TEL AIRM START")),
    "ra_deg": (lambda value: _is_number(value) or _is_text(value), ("RA_OBS", "RA", "TELRA")),
    "dec_deg": (lambda value: _is_number(value) or _is_text(value), ("DEC_OBS", "DEC", "TELDEC")),
}
_MUST_BE_KNOWN = ("exposure_s",)


def recognised_by(headers: Sequence[Header]) -> Line:
    """The card that tells the instrument, of those that all files have with one value."""
    for card in _RECOGNISE:
        values = {str(header.get(card, "")).strip() for header in headers}
        if len(values) == 1 and (value := values.pop()):
            verdict = CERTAIN if card == "INSTRUME" else CHECK
            why = (
                "in all files" if card == "INSTRUME" else "in all files, but does it say no other instrument?"
            )
            return Line(card, quoted(value), verdict, why)
    return Line(
        "INSTRUME", quoted("?"), CHECK, "no card names the instrument: find one that only this camera has"
    )


def visit_lines(headers: Sequence[Header]) -> Iterator[Line]:
    """Cards of the visit; those that are read without a line have none."""
    for field, (fits, cards) in _FIELDS.items():
        for card in cards:
            there = [fits(header.get(card)) for header in headers]
            if not any(there):
                continue
            optional = "" if all(there) else ", optional = true"
            value = next(header[card] for header, ok in zip(headers, there, strict=True) if ok)
            if card == cards[0] and field not in ("ra_deg", "dec_deg"):
                break
            verdict = CERTAIN if field in ("exposure_s", "object_name") else CHECK
            yield Line(field, f"{{ card = {quoted(card)}{optional} }}", verdict, f"{card} {value!r}")
            break
        else:
            if field in _MUST_BE_KNOWN:
                yield Line(f"# {field}", '{ card = "?" }', CHECK, "no card looks like it")


def kind_card(headers: Sequence[Header]) -> str:
    """The card that tells the kind of exposure, empty for none."""
    return next((card for card in KIND_CARDS if any(words(header.get(card)) for header in headers)), "")


def kind_rules(frames: Sequence[Frame]) -> Iterator[tuple[str, str, str, str]]:
    """Rules for kinds of exposures: kind, conditions as TOML, how sure, why. The first that holds counts."""
    headers = [frame.header for frame in frames]
    card = kind_card(headers)
    for frame in frames:
        word, target = str(frame.header.get(card, "")).strip(), words(frame.header.get("OBJECT"))
        time = next((c for c in TIME_CARDS if frame.header.get(c) == 0), "")
        if frame.kind == "bias" and kind_of(word.lower()) != "bias" and time:
            said = f"{toml_key(card)} = {quoted(word)}, " if word else ""
            yield (
                "bias",
                f"{{ {said}{time} = 0 }}",
                CHECK,
                f"frames of 0 s are biases in {frame.source.path.name}",
            )
        elif frame.kind and frame.kind != (kind_of(word.lower()) or frame.kind) and target:
            text = next(w for w in target.split() if kind_of(w) == frame.kind)
            yield (
                frame.kind,
                f'{{ OBJECT = {{ like = "*{text}*" }} }}',
                CHECK,
                f"{card} {word!r}, OBJECT {target!r}",
            )
    for word in dict.fromkeys(str(header.get(card, "")).strip() for header in headers if card):
        if kind := kind_of(word.lower()):
            yield kind, f"{{ {toml_key(card)} = {quoted(word)} }}", CERTAIN, f"{card} in these files"
        elif word:
            yield "science", f"{{ {toml_key(card)} = {quoted(word)} }}", CHECK, f"what is {word!r}?"


def toml_key(card: str) -> str:
    """A keyword as a TOML key."""
    return card if card.replace("-", "").replace("_", "").isalnum() else quoted(card)


def quoted(text: str) -> str:
    """A text as TOML."""
    kept = "".join(c if c.isprintable() else "?" for c in text)
    return '"' + kept.replace("\\", "\\\\").replace('"', '\\"') + '"'
