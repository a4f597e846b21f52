"""How each trained network is compressed where compressed bytes are sought."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any

from dse.search.keys import CHEAP, COMPRESS, COMPRESSED_BYTES
from dse.trial.compression import Settings, effective, too_many_rounds, used
from dse.trial.names import written

FUNCTION = "dse.compress.after_training:run"
"""What trains a trial and compresses its network in a worker."""


def read_compression(
    settings: Mapping[str, Any],
    given: Collection[str],
    objectives: Collection[str],
    errors: list[str],
) -> Settings | None:
    """The settings of the compression; None where compressed bytes are not sought.

    `settings` has all keys of a search, of which `given` are on the page or the command line: one
    that has no effect is a mistake.
    """
    own = [key for key in settings if key.startswith(COMPRESS)]
    sought = COMPRESSED_BYTES in objectives
    chosen = Settings(**{key.removeprefix(COMPRESS): settings[key] for key in own})
    read = {COMPRESS + name for name in used(chosen)}
    for key in [key for key in own if key in given]:
        if not sought:
            rule = f"must be left out where `objective` has no {COMPRESSED_BYTES}"
            errors.append(f"`{key}` {rule}, got {written(settings[key])}")
        elif key not in read:
            where = f"with {described(chosen)}"
            errors.append(f"`{key}` has no effect {where}, got {written(settings[key])}")
    if not sought:
        return None
    errors += too_many_rounds(chosen, COMPRESS)
    return effective(chosen)


def described(settings: Settings) -> str:
    """Settings as on the command line of `dse.compress` or of a search, without those at the
    defaults of both.

    >>> described(Settings(density=0.33, bits=8, rounds=2, retrain_epochs=4))
    'method=deep_compression bits=8 density=0.33 rounds=2 retrain_epochs=4'
    """
    usual = {item.name: item.default for item in fields(settings)}
    values = {name: getattr(settings, name) for name in used(settings)}
    shown = {n: v for n, v in values.items() if n in CHEAP or v != usual[n]}
    return " ".join(f"{name}={written(value)}" for name, value in shown.items())
