"""When Python looks for garbage."""

from __future__ import annotations

import atexit
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


def leave_garbage_at_exit() -> None:
    """Have this process not look for garbage when it ends: all its memory is given back at once anyway.

    After a run of forty CCDs that would take half a second.
    """
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)
