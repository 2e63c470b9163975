"""Runs checks on every provider and tells of all failures at once."""

import sys
import traceback

from scripted import PROVIDERS


def on_every_provider(*checks):
    """Each check is called with the provider's name and what speaks its dialect."""
    failures = []
    for name, (_, wire) in PROVIDERS.items():
        for check in checks:
            try:
                check(name, wire)
            except Exception as error:
                line = traceback.extract_tb(error.__traceback__)[-1]
                failures.append(f"{check.__name__} on {name}: {type(error).__name__}: {error} ({line.name}:{line.lineno})")
    if failures:
        sys.exit("\n".join(failure[:1500] for failure in failures))
