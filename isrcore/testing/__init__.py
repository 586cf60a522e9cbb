"""The conformance kit: input strategies and contract checks for tests of steps and cameras.

`isrcore.testing.strategies` needs Hypothesis (extra ``test``); `isrcore.testing.contracts` does not. Nothing
is imported here, so the core never depends on either.
"""
