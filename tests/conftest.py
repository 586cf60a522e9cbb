"""Hypothesis profiles, by HYPOTHESIS_PROFILE: "ci", "slow" (many examples) and "unshrunk" (fails soon)."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, Phase, settings

from isrcore import Registry
from isrcore.cli.main import main

# Cameras of whoever runs the tests are not ours.
os.environ["ISRCORE_CAMERAS"] = ""

# Where it is set every command that a test starts compiles all modules anew: a second each.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

settings.register_profile(
    "ci",
    max_examples=20,
    deadline=None,
    derandomize="CI" in os.environ,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.register_profile("slow", settings.get_profile("ci"), max_examples=2000, derandomize=False)
# Where whole exposures are drawn, finding the smallest failure takes minutes.
settings.register_profile("unshrunk", settings.get_profile("ci"), phases=set(Phase) - {Phase.shrink})
collect_ignore = ["foreign"]  # Packages with tests of their own, run where they are installed.

settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_configure(config: pytest.Config) -> None:
    """Let a failing law print its exposures however long they are: the warning would hide the failure."""
    config.addinivalue_line("filterwarnings", "ignore:Generating overly large repr")


@pytest.fixture
def isr(
    capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> Callable[..., tuple[int, str, str]]:
    """Run the command: (exit status, stdout, stderr); with the REGISTRY of the module, if any."""
    default: Registry | None = getattr(request.module, "REGISTRY", None)

    def run(*words: object, registry: Registry | None = default) -> tuple[int, str, str]:
        status = main([str(word) for word in words], registry)
        told = capsys.readouterr()
        return status, told.out, told.err

    return run
