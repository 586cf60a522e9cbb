"""Lists with commas, as people write them on a command line."""

from __future__ import annotations


def split_words(text: str) -> list[str]:
    """The words between commas, without blanks around them; empty ones are left out."""
    return [word.strip() for word in text.split(",") if word.strip()]


def detector_keys(text: str) -> list[str | int]:
    """Detectors from a list with commas: names, and ids as numbers."""
    return [int(word) if word.isdecimal() else word for word in split_words(text)]
