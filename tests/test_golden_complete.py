"""No golden pair is left out: every one is the parameter of a test."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.golden import ROOT, all_cases

TESTS = Path(__file__).parent


@pytest.mark.skipif(not ROOT.exists(), reason=f"no golden pairs at {ROOT}; set ISRCORE_TEST_DATA")
def test_every_golden_pair_is_tested():
    files = [str(path) for path in sorted(TESTS.glob("test_*.py")) if "golden_cases(" in path.read_text()]
    told = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *files],
        capture_output=True,
        text=True,
        check=False,
        cwd=TESTS.parent,
    ).stdout
    tested = set(re.findall(r"[\[-]([\w.]+/\d+)\b", told))
    assert all_cases() - tested == set()
    assert len(all_cases()) == 395
