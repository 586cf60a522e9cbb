"""Which units are done already: their products are there, made of the same things in the same way."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from isrcore.fits import FitsError, read_provenance
from isrcore.origins import FINGERPRINT
from isrcore.plan import Plan
from isrcore.registry import Registry


def fingerprint(
    raw: str, detector: str, plan: Plan, inputs: Mapping[str, str], config: str, registry: Registry
) -> str:
    """What identifies all that a product is made of, as a SHA-256.

    ``raw`` is the digest of the raw file, ``inputs`` those of calibrations by kind, ``config`` the whole
    configuration as TOML. The versions of isrcore and of the plugins whose steps run count, too.
    """
    owners = {registry.plugin_of(type(planned.step)) for planned in plan.steps}
    content: Mapping[str, Any] = {
        "raw": raw,
        "detector": detector,
        "inputs": dict(inputs),
        "config": config,
        "steps": [planned.spec.name for planned in plan.steps],
        "versions": {info.name: info.version for info in owners},
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def is_finished(product: Path, identity: str) -> bool:
    """Whether a product is there, whole, and has this fingerprint."""
    try:
        return read_provenance(product).get(FINGERPRINT) == identity
    except FitsError:
        return False
