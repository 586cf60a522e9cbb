"""What filters are called: headers, people and older tables name the same piece of glass differently."""

from __future__ import annotations

from collections.abc import Collection

from isrcore.camera import Camera


def filter_names(name: str, camera: Camera | None = None) -> tuple[str, ...]:
    """Everything the filter ``name`` is called, each once: ``name`` itself first, then as the camera has it.

    The camera's order is name, short name, aliases. Nothing for an exposure without a filter; only the name
    itself without a camera, or for a filter the camera does not know.
    """
    given = name.strip()
    if not given:
        return ()
    try:
        known = camera.filter(given) if camera else None
    except KeyError:
        known = None
    more = (known.name, known.short_name, *sorted(known.aliases)) if known else ()
    return tuple(dict.fromkeys(filter(None, (given, *more))))


def why_unlisted(name: str, listed: Collection[str], camera: Camera | None = None) -> str:
    """Why a list of filters does not hold the filter ``name``, as the start of a sentence; empty if it does.

    Any of its names in the list is enough.
    """
    names = filter_names(name, camera)
    if not names:
        return "the exposure names no filter, so that it cannot be"
    return "" if set(names) & {one.strip() for one in listed} else f"filter {names[0]!r} is not"
