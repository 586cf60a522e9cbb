"""The camera file that is proposed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import attrs

from isrcore import Box
from isrcore_inspect import visits
from isrcore_inspect.frames import Frame
from isrcore_inspect.geometry import CERTAIN, CHECK, AmplifierFound, Finding, ImageFound, section_of
from isrcore_inspect.levels import Level, Levels
from isrcore_inspect.visits import Line, quoted

_HEAD = """# A camera file proposed by 'isr inspect' from {files}.
# 'certain' is what pixels say beyond doubt, or pixels and header alike. Look at every 'check'.
"""


@attrs.frozen(eq=False)
class Group:
    """Frames of one HDU, what was found in them, and the levels of its amplifiers by name."""

    frames: Sequence[Frame]
    found: ImageFound
    levels: Mapping[str, Levels]
    findings: tuple[Finding, ...]

    @property
    def label(self) -> str:
        """How findings name the HDU."""
        return self.found.name or f"HDU {self.found.index}"

    @property
    def hdu(self) -> str:
        """The HDU as a camera file names it."""
        if self.found.name:
            return quoted(self.found.name)
        return str(self.found.index) if self.found.index else quoted("primary")


def write_proposal(groups: Sequence[Group]) -> str:
    """The text of the file."""
    frames = groups[0].frames
    headers = [frame.header for frame in frames]
    line = visits.recognised_by(headers)
    files = list(dict.fromkeys(frame.source.path.name for frame in frames))
    names = ", ".join(files[:3]) + (f" and {len(files) - 3} more" if len(files) > 3 else "")
    parts = [_HEAD.format(files=names), f"name = {quoted(_camera_name(line))}\n"]
    parts += [
        "\n[raw.recognise]\n",
        _text(Line(visits.toml_key(line.key), line.value, line.verdict, line.why)),
    ]
    detectors = list(_detectors(groups))
    parts += ["\n[raw.hdus]\n", *(_text(one) for one in _hdus(detectors))]
    told = list(visits.visit_lines(headers))
    if told:
        parts += ["\n[raw.visit]\n", *(_text(one) for one in told)]
    rules = {rule[:2]: rule for rule in reversed(list(visits.kind_rules(frames)))}
    for kind, when, verdict, why in reversed(rules.values()):
        parts.append(f'\n[[raw.observation_types]]\ntype = "{kind}"\nwhen = {when}  # {verdict}: {why}\n')
    parts += _config(groups)
    for number, (name, members) in enumerate(detectors):
        parts += _detector(name, number, members)
    return "".join(parts)


def _camera_name(line: Line) -> str:
    """A name for the camera from that of the instrument."""
    return re.sub(r"[^A-Za-z0-9]+", "-", line.value.strip('"')).strip("-").lower() or "mycam"


def _text(line: Line) -> str:
    return f"{line.key} = {line.value}  # {line.verdict}: {line.why}\n"


def _detectors(groups: Sequence[Group]) -> Iterator[tuple[str, list[Group]]]:
    """Detectors with their HDUs: images that DETSEC or CCDSEC places in one detector are its amplifiers."""
    if len(groups) > 1 and (places := _places(groups)):
        for key, members in places.items():
            yield key or "ccd1", members
        return
    for number, group in enumerate(groups, 1):
        yield re.sub(r"\W+", "_", group.found.name) or f"ccd{number}", [group]


def _places(groups: Sequence[Group]) -> dict[str, list[Group]]:
    """HDUs of one amplifier each, by their CCD's name; none when headers do not place them."""
    found: dict[str, list[Group]] = {}
    for group in groups:
        header = group.found.headers[0]
        if len(group.found.amplifiers) != 1 or "DETSEC" not in header:
            return {}
        name = str(header.get("CCDNAME", header.get("CCDID", "")))
        found.setdefault(re.sub(r"\W+", "_", name.strip()), []).append(group)
    return found


def _hdus(detectors: Sequence[tuple[str, list[Group]]]) -> Iterator[Line]:
    """Which HDU holds what."""
    for name, members in detectors:
        if len(members) == 1:
            yield Line(name, members[0].hdu, CERTAIN, "the image of that HDU")
        else:
            told = ", ".join(f"{_amplifier_name(one, i)} = {one.hdu}" for i, one in enumerate(members))
            yield Line(
                name, f"{{ {told} }}", CHECK, "one amplifier per HDU, of one CCD by CCDNAME and DETSEC"
            )


def _amplifier_name(group: Group, number: int) -> str:
    """A name for an amplifier that has an HDU of its own."""
    return re.sub(r"\W+", "_", group.found.name) or f"A{number + 1}"


def _config(groups: Sequence[Group]) -> Iterator[str]:
    """Settings that follow from what was found."""
    amps = [amp for group in groups for amp in group.found.amplifiers]
    has_serial, has_parallel = any(amp.serial for amp in amps), any(amp.parallel for amp in amps)
    if not has_serial and not has_parallel:
        yield "\n[config]\ndoOverscan = false  # check: no overscan was seen\n"
    elif not has_serial:
        yield '\n[config.overscan]\nregion = "parallel"  # certain: no column is clean enough\n'


def _detector(name: str, number: int, members: list[Group]) -> Iterator[str]:
    """The tables of a detector and its amplifiers."""
    yield f"\n[[detectors]]\nname = {quoted(name)}\nid = {number}\n"
    is_joined = len(members) > 1
    if not is_joined and not _has_cards(members[0]):
        ny, nx = members[0].found.shape
        yield f"raw_shape = [{ny}, {nx}]  # certain: the shape of the image\n"
    for i, group in enumerate(members):
        boxes = _boxes(group.found.amplifiers)
        for amp in group.found.amplifiers:
            own = _amplifier_name(group, i) if is_joined else amp.name
            yield f"\n[detectors.amplifiers.{own}]\n"
            yield from _sections(group, amp, None if is_joined else boxes[amp.name])
            yield from _levels(group.levels[amp.name])


def _has_cards(group: Group) -> bool:
    """Whether each file tells where its data are: then it may be a window."""
    return len(group.found.amplifiers) == 1 and "raw_data_box" in group.found.cards


def _boxes(amps: Sequence[AmplifierFound]) -> Mapping[str, Box]:
    """Where the data of amplifiers go: as in the raw frame, without what lies between them."""
    x = _packed({(amp.data.x0, amp.data.x1) for amp in amps})
    y = _packed({(amp.data.y0, amp.data.y1) for amp in amps})
    return {amp.name: Box(*y[amp.data.y0, amp.data.y1], *x[amp.data.x0, amp.data.x1]) for amp in amps}


def _packed(ranges: set[tuple[int, int]]) -> dict[tuple[int, int], tuple[int, int]]:
    """Ranges moved together."""
    found, start = {}, 0
    for a, b in sorted(ranges):
        found[a, b] = start, start + b - a
        start += b - a
    return found


def _sections(group: Group, amp: AmplifierFound, box: Box | None) -> Iterator[str]:
    """Where things are."""
    cards, shape = group.found.cards, group.found.shape
    is_seen = bool(group.found.light)
    verdict = CERTAIN if is_seen else CHECK
    if box is None:
        yield '\nbox = { card = "DETSEC" }  # check: data of all amplifiers make one image\n'.lstrip("\n")
    else:
        yield f'box = "{box.to_section()}"  # {verdict}: its place among the data\n'
    is_alone = len(group.found.amplifiers) == 1
    told = {
        "raw_data_box": amp.data,
        "serial_overscan_box": amp.serial,
        "parallel_overscan_box": amp.parallel,
    }
    for key, found in told.items():
        if key in cards and is_alone:
            named = section_of(group.found.headers[0], [cards[key]], shape)
            nominal = named[1].to_section() if named else ""
            if key == "serial_overscan_box" and named and "raw_data_box" not in cards:
                trimmed = Box(amp.data.y0, amp.data.y1, named[1].x0, named[1].x1)
                yield f'{key} = "{trimmed.to_section()}"  # {verdict}: {cards[key]}, the rows with data\n'
                continue
            value = f'{{ card = "{cards[key]}", nominal = "{nominal}" }}'
            yield f"{key} = {value}  # {verdict}: pixels and header agree\n"
        elif found is not None:
            sure = CHECK if key != "raw_data_box" and not is_alone else verdict
            yield f'{key} = "{found.to_section()}"  # {sure}: {_WHY[key]}\n'
    if amp.prescan is not None:
        yield f'prescan_box = "{amp.prescan.to_section()}"  # check: no light, not used\n'


_WHY = {
    "raw_data_box": "what gets light",
    "serial_overscan_box": "no light, one level, as quiet as any",
    "parallel_overscan_box": "no light, one level, farthest from the light",
}


def _levels(found: Levels) -> Iterator[str]:
    """Gain, read noise, saturation."""
    yield _level("gain", found.gain)
    yield _level("read_noise", found.read_noise)
    if found.saturation:
        yield _level("saturation", found.saturation)


def _level(key: str, level: Level) -> str:
    """A level as a line."""
    inverse = ", inverse = true" if level.is_inverse else ""
    value = f"{level.value!r}"
    if level.card:
        value = f"{{ card = {quoted(level.card)}{inverse}, nominal = {level.value!r} }}"
    return f"{key} = {value}  # {level.verdict}: {level.why}\n"
