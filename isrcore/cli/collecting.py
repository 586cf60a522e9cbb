"""When Python looks for garbage."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

# Objects made before all new ones are looked through; Python's own number is some hundreds.
_MANY = 100_000


@contextmanager
def rare_collections() -> Iterator[None]:
    """Inside, garbage is looked for rarely. Also a decorator.

    Starting and planning make objects by the hundred thousand that stay: looking through them again and again
    took a tenth of the time, and found next to nothing. No pixels may be held inside.
    """
    before = gc.get_threshold()
    gc.set_threshold(max(_MANY, before[0]) if before[0] else 0, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
