"""Looking for an example that refutes a law, with Hypothesis, inside of a check."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

try:
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import strategies as st
except ImportError as fault:
    raise ImportError(
        "the conformance kit of isrcore needs Hypothesis; install it with: pip install 'isrcore[kit]'"
    ) from fault

T = TypeVar("T")


def search(
    examples: st.SearchStrategy[T], max_examples: int = 25, is_shrunk: bool = True
) -> Callable[[Callable[[T], None]], Callable[[], None]]:
    """Make a search for a counterexample of a law: it raises what the law raises for the smallest one.

    Where whole frames are drawn, looking for the smallest takes minutes and helps nobody: without
    ``is_shrunk`` it is the first one. The same examples are tried every time, so that a plugin's tests do not
    fail at random, and nothing is stored.
    """

    def decorate(law: Callable[[T], None]) -> Callable[[], None]:
        def tried(example: T) -> None:
            law(example)

        sought = settings(
            max_examples=max_examples,
            deadline=None,
            derandomize=True,
            database=None,
            report_multiple_bugs=False,
            phases=set(Phase) - (set() if is_shrunk else {Phase.shrink, Phase.explain}),
            suppress_health_check=list(HealthCheck),
        )
        found: Callable[[], None] = sought(given(examples)(tried))
        return found

    return decorate
