"""The conformance kit notices cameras that break a promise, by the right check, and passes a good one."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from isrcore.testing.camera_contract import CameraContract
from isrcore.testing.faults import NotApplicable
from isrcore.testing.pixel_checks import check_planning
from tests.mutants import table
from tests.mutants.cameras import MUTANTS, WantsRows
from tests.mutants.mutant import Mutant
from tests.mutants.mycam import case_of, module_case, real_frame


class Kept(CameraContract):
    """Where the contract's tests leave their checks."""

    found: list[Callable[[Any], None]]

    @classmethod
    def keeps(cls, check: Callable[[Any], None]) -> None:
        cls.found.append(check)


def all_checks() -> list[Callable[[Any], None]]:
    """Every check behind `CameraContract`."""
    Kept.found = []
    for name in dir(Kept):
        if name.startswith("test_"):
            getattr(Kept(), name)()
    return Kept.found


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_is_noticed_by_the_right_check(mutant: Mutant) -> None:
    message = mutant.message()
    assert re.search(mutant.words, message), message or "nobody noticed"
    if mutant.check is not None:
        assert mutant.check in all_checks()
        assert "\n      example: " in message
        assert "\n      change:  " in message


@pytest.fixture(scope="module")
def kept() -> Any:
    """The camera that all mutants come from."""
    return case_of(raw=[real_frame()])


@pytest.mark.parametrize("check", all_checks(), ids=lambda check: check.__name__)
def test_the_camera_that_the_mutants_come_from_keeps_every_promise(kept: Any, check: Any) -> None:
    is_import = check.__name__ in ("check_import", "check_optional")
    try:
        check(module_case("mutant_of_nothing", "") if is_import else kept)
    except NotApplicable as reason:
        pytest.fail(f"nothing was looked at: {reason}")


def test_what_a_shortened_frame_cannot_have_is_tried_with_a_whole_one() -> None:
    check_planning(case_of(steps=(WantsRows,)))


def test_every_check_notices_something() -> None:
    noticing = {mutant.check.__name__ for mutant in MUTANTS if mutant.check}
    assert {check.__name__ for check in all_checks()} == noticing


def test_the_table_of_mutants_is_up_to_date() -> None:
    text = table.PAGE.read_text()
    assert table.page_with(text, table.tables()) == text
    with pytest.raises(ValueError, match="0 places for mutants of cameras"):
        table.page_with("no place", {"cameras": ""})
