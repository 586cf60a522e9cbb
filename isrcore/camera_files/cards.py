"""What a camera file takes from headers: values of cards, and conditions on them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

import attrs
from astropy.io.fits import Header
from astropy.io.fits.card import Undefined

from isrcore.camera_files.tables import Table

#: Keys of a value that is taken from a card, for all kinds of values.
CARD, OPTIONAL = "card", "optional"


class HeaderFault(ValueError):
    """A card that is missing or of no use; the message names it."""


@attrs.frozen
class CardValue:
    """A value that the header of each file gives, in the first of ``cards`` that is there.

    ``nominal`` is what the camera has without a file. Of a number that ``is_inverse`` one over it is taken,
    then it is multiplied with ``scale``. Texts in ``ignore`` count as not being there. A value
    ``is_optional`` when it may be unknown.
    """

    cards: tuple[str, ...]
    nominal: Any = None
    scale: float = 1.0
    is_inverse: bool = False
    is_optional: bool = False
    ignore: tuple[str, ...] = ()

    def find(self, header: Header) -> Any:
        """What the header says, None for an optional value that is not there. Raises `HeaderFault`."""
        for card in self.cards:
            value = header.get(card)
            if value is None or isinstance(value, Undefined) or str(value).strip() == "":
                continue
            if _plain(value) not in {_plain(text) for text in self.ignore}:
                return value
        if self.is_optional or (self.ignore and any(card in header for card in self.cards)):
            return None
        raise HeaderFault(f"the header has no card {' or '.join(self.cards)}")

    def number(self, header: Header) -> float:
        """The number of the card, NaN for an optional one that is not there. Raises `HeaderFault`."""
        value = self.find(header)
        if value is None:
            return math.nan
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number) or (self.is_inverse and number == 0):
            raise HeaderFault(f"card {'/'.join(self.cards)} is {value!r}, no number that can be used")
        return (1 / number if self.is_inverse else number) * self.scale

    def text(self, header: Header) -> str:
        """The text of the card, empty for an optional one that is not there. Raises `HeaderFault`."""
        value = self.find(header)
        return "" if value is None else str(value).strip()


def parse_card(table: Table, *, numbers: bool = False, nominal: Any = ..., texts: bool = False) -> CardValue:
    """A card value from its table, which may have keys as the kind of value allows.

    ``nominal`` None lets it give a nominal value; ``...`` does not.
    """
    cards = table.texts(CARD)
    if not cards:
        table.complain(CARD, "names no card; write it like { card = 'GAIN' }")
    read = CardValue(
        tuple(card.upper() for card in cards),
        table.take_any("nominal") if nominal is None else None,
        table.take("scale", float, 1.0) if numbers else 1.0,
        table.take("inverse", bool, False) if numbers else False,
        table.take(OPTIONAL, bool, False) if nominal is ... else False,
        table.texts("ignore") if texts else (),
    )
    table.close()
    return read


def is_card(value: Any) -> bool:
    """Whether a value of the file is to be taken from a header."""
    return isinstance(value, Mapping) and CARD in value


@attrs.frozen
class Condition:
    """What one card must be: one of ``values``, like one of the patterns, between limits, or (not) there.

    Texts are compared without outer blanks and without regard to case; in patterns ``*`` is any text.
    """

    card: str
    values: tuple[Any, ...] = ()
    like: tuple[str, ...] = ()
    at_least: float = -math.inf
    at_most: float = math.inf
    is_present: bool | None = None

    def holds(self, header: Header) -> bool:
        """Whether the card of a header is so."""
        value = header.get(self.card)
        is_there = value is not None and not isinstance(value, Undefined)
        if self.is_present is not None:
            return is_there == self.is_present
        if not is_there:
            return False
        if self.values or self.like:
            return self._is_among(value)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return is_number and self.at_least <= value <= self.at_most

    def _is_among(self, value: Any) -> bool:
        """Whether a value is one of those, or like a pattern."""
        plain = _plain(value)
        return plain in {_plain(one) for one in self.values} or any(
            fnmatchcase(str(plain), pattern.casefold()) for pattern in self.like
        )

    def __str__(self) -> str:
        """The condition in words."""
        if self.is_present is not None:
            return f"{self.card} is {'there' if self.is_present else 'not there'}"
        if self.values or self.like:
            return f"{self.card} is {' or '.join(map(repr, (*self.values, *self.like)))}"
        return f"{self.card} is from {self.at_least:g} to {self.at_most:g}"

    def example(self) -> Any:
        """A value that fulfils the condition, None when the card had better not be there."""
        if self.values:
            return self.values[0]
        if self.like:
            return self.like[0].replace("*", "").replace("?", "x")
        if self.is_present is not None:
            return True if self.is_present else None
        return self.at_least if math.isfinite(self.at_least) else min(self.at_most, 0.0)


def _plain(value: Any) -> Any:
    """A value as it is compared: numbers and truths as they are, texts without case and outer blanks."""
    if isinstance(value, bool):
        return f"\0{value}"
    return value.strip().casefold() if isinstance(value, str) else value


def parse_conditions(table: Table) -> tuple[Condition, ...]:
    """The conditions of a table of cards."""
    return tuple(_conditions(table))


def _conditions(table: Table) -> Iterator[Condition]:
    for key in table.values:
        value, card = table.take_any(key), key.upper()
        if isinstance(value, Mapping):
            yield _condition(card, table.table(key))
        elif isinstance(value, list):
            yield Condition(card, tuple(value))
        else:
            yield Condition(card, (value,))


def _condition(card: str, table: Table) -> Condition:
    """A condition from a table of its own."""
    present = table.take("present", bool)
    read = Condition(
        card,
        like=table.texts("like"),
        at_least=table.take("at_least", float, -math.inf),
        at_most=table.take("at_most", float, math.inf),
        is_present=present,
    )
    if len(table.values) == 0 or (len(table.values) > 1 and (read.like or present is not None)):
        table.problems.append(f"{table.place}: give one of like, present, or at_least and at_most")
    table.close()
    return read


def failing(conditions: tuple[Condition, ...], header: Header) -> list[str]:
    """The conditions that do not hold, with what the header says instead."""
    return [
        f"{one.card} is {_shown(header, one.card)}, the camera file says: {one}"
        for one in conditions
        if not one.holds(header)
    ]


def _shown(header: Header, card: str) -> str:
    """The value of a card for a message."""
    return repr(header[card]) if card in header else "missing"
