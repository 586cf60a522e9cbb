"""Garbage is looked for rarely while a command starts, and as usual while it works."""

from __future__ import annotations

import gc
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from isrcore import Registry, hookimpl
from isrcore.cli.collecting import rare_collections
from isrcore.cli.main import main


def test_garbage_is_looked_for_rarely_inside_alone() -> None:
    before = gc.get_threshold()
    with rare_collections(), rare_collections():
        assert gc.get_threshold()[0] > 10 * before[0]
        assert gc.get_threshold()[1:] == before[1:]
    assert gc.get_threshold() == before
    with pytest.raises(ZeroDivisionError), rare_collections():
        _ = 1 / 0
    assert gc.get_threshold() == before


def test_who_looks_for_none_keeps_to_that() -> None:
    before = gc.get_threshold()
    gc.set_threshold(0)
    try:
        with rare_collections():
            assert gc.get_threshold()[0] == 0
    finally:
        gc.set_threshold(*before)


@pytest.mark.parametrize(("words", "status"), [(["count"], 0), (["count", "--what"], 2), (["nothing"], 2)])
def test_commands_start_with_rare_collections_and_work_with_usual_ones(words: list[str], status: int) -> None:
    seen, before = dict[str, tuple[int, ...]](), gc.get_threshold()

    def work(_: Any) -> int:
        seen["work"] = gc.get_threshold()
        return 0

    @hookimpl(specname="isr_commands")
    def commands(subcommands: Any) -> None:
        seen["start"] = gc.get_threshold()
        subcommands.add_parser("count").set_defaults(function=work)

    assert main(words, Registry({"counter": SimpleNamespace(isr_commands=commands)})) == status
    assert seen["start"][0] > before[0]
    assert seen.get("work", before) == gc.get_threshold() == before


@pytest.mark.parametrize(("argv", "leaves"), [("", True), ("['--version']", False)])
def test_only_a_process_of_its_own_leaves_garbage_at_exit(argv: str, leaves: bool) -> None:
    # What is registered first is called last.
    script = (
        "import atexit, gc, sys; atexit.register(lambda: print(gc.get_freeze_count() > 0)); "
        f"from isrcore.cli.main import main; sys.argv = ['isr', '--version']; main({argv})"
    )
    told = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    assert told.splitlines()[-1] == str(leaves)
