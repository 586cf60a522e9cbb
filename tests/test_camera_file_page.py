"""The reference of camera files names every key that a camera file may have."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from isrcore import CameraFile, load_camera_file
from isrcore.camera_files.tables import Table

PAGE = (Path(__file__).parents[1] / "docs" / "reference" / "camera-files.md").read_text()


def undocumented(keys: set[str], text: str) -> list[str]:
    """Keys that neither the example nor a table of the page has."""
    return sorted(
        key for key in keys if not re.search(rf"(^|[`\[{{., ]){key}([`\]=., }}]| =)", text, re.MULTILINE)
    )


def keys_of(text: str, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """All keys that reading a file asks for, also those that it has not."""
    asked: set[str] = set()
    close = Table.close

    def closing(table: Table) -> None:
        asked.update(table._asked)
        close(table)

    monkeypatch.setattr(Table, "close", closing)
    load_camera_file(CameraFile(Path("everything.toml"), text))
    return asked


def test_every_key_is_documented(monkeypatch):
    (example,) = re.findall(r"^```toml\n# file: everything.toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    keys = keys_of(example, monkeypatch)
    assert {"recognise", "serial_overscan_box", "nominal", "optional", "moment", "aliases", "mjd"} <= keys
    assert undocumented(keys, PAGE) == []
    assert undocumented({"mjd"}, PAGE.replace("mjd", "")) == ["mjd"]
