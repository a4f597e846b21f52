"""A trial: one configuration trained once, and its identity.

A `Trial` is a question. Its `trial_id` is a hash of the whole question in canonical form, so
that it decides what is skipped, what is resumed, and which records of two machines are one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from dse.space.alexnet import SMALL_PIXELS, AlexNet, small_alexnet
from dse.space.architecture import (
    LAYOUTS,
    Architecture,
    Layout,
    Metaparameters,
    conflicts,
    field_names,
    generate,
    map_sizes,
)
from dse.space.rules import check, expect, integer, knob, one_of
from dse.trial.protocol import Protocol
from dse.trial.recipe import Recipe
from dse.trial.unread import NETWORKS, misplaced

SEMANTICS = 3
"""The version of what training means. A change that may alter an answer raises it, which makes
every trial a new one; a test watches the syntax trees of the modules that decide it."""

SINCE: Mapping[str, Any] = {
    "manifest": "none",
    "normalise": "dataset",
    "dead_after": 0,
    "ladder": "none",
    "dead_step": -1,
    "restarts": 0,
    "peak_memory_bytes": 0,
    "network": "squeezenet",
    "dsd_density": 1.0,
    "dsd_sparse": 0,
    "dsd_final": 0,
    "iter_size": 1,
}
"""Fields added after a release, with the neutral value that a record without them has. In a
question that value keeps the field out of the identity, so old results stay valid."""

ID_DIGITS = 20


class Missing(ValueError):
    """Fields that a row lacks: another version of this code wrote it."""

    def __init__(self, names: Iterable[str]) -> None:
        super().__init__("\n".join(f"`{name}` is missing" for name in names))


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One configuration, trained from scratch once.

    Raises `ValueError`, with a line for each mistake, where the parts do not fit together: a
    image too small for the network, or a field that the network does not read.
    """

    network: str = knob("squeezenet", one_of(*NETWORKS), "kind of network")
    metaparameters: Metaparameters = field(default_factory=Metaparameters)
    layout: Layout
    protocol: Protocol
    seed: int = knob(0, integer(0, 2**31 - 1), "seed of every random stream")
    semantics: int = knob(SEMANTICS, integer(1, SEMANTICS), "version of what training means")

    def __post_init__(self) -> None:
        expect("metaparameters", self.metaparameters, Metaparameters)
        expect("layout", self.layout, Layout)
        expect("protocol", self.protocol, Protocol)
        check(self)
        lines = misplaced(self.question) or conflicts(self.metaparameters, self.layout)
        try:
            self._check_images()
        except ValueError as error:
            lines.append(str(error))
        if lines:
            raise ValueError("\n".join(lines))

    def _check_images(self) -> None:
        size, (least, most) = self.protocol.image_size, SMALL_PIXELS
        if self.network == "squeezenet":
            map_sizes(self.layout, size)
        elif not least <= size <= most:
            raise ValueError(
                f"`image_size` must be in {least} .. {most} where `network` is {self.network}, "
                f"got {size}"
            )

    @property
    def architecture(self) -> Architecture | AlexNet:
        """The network that this trial trains."""
        facts, layout = self.protocol.facts, self.layout
        if self.network == "alexnet":
            return small_alexnet(
                norm=layout.norm,
                dropout=layout.dropout,
                num_classes=facts.num_classes,
                in_channels=facts.channels,
            )
        return generate(
            self.metaparameters,
            layout,
            num_classes=facts.num_classes,
            in_channels=facts.channels,
        )

    @property
    def question(self) -> dict[str, Any]:
        """The question as a flat row; a column is a field and a key on the command line."""
        parts = (self.metaparameters, self.layout, self.protocol, self.protocol.recipe)
        row = {n: getattr(part, n) for part in parts for n in field_names(type(part))}
        del row["recipe"]
        return {"network": self.network, **row, "seed": self.seed, "semantics": self.semantics}

    @property
    def trial_id(self) -> str:
        """20 hexadecimal digits (80 bits) of the SHA-256 of the canonical question."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()[:ID_DIGITS]

    def canonical(self) -> str:
        """The question as JSON: names sorted, numbers in one form (1 and 1.0 are equal).

        It includes the facts about the data set that training depends on.
        """
        facts = self.protocol.facts
        contents = {n: v for n, v in self.question.items() if n not in SINCE or v != SINCE[n]}
        for name in ("digest", "train", "test", "mean", "std"):
            contents[f"data_{name}"] = getattr(facts, name)
        texts = {name: _canonical(value) for name, value in contents.items()}
        return json.dumps(texts, sort_keys=True, separators=(",", ":"))


def trial_from(question: Mapping[str, Any]) -> Trial:
    """The trial of a flat question: `trial_from(trial.question) == trial`.

    A missing field of `SINCE` has its neutral value, a missing `semantics` the current version;
    other keys are ignored. Raises `ValueError` for a missing key, a value outside its rule, or
    values that do not fit together.
    """
    whole = {**SINCE, "semantics": SEMANTICS, **question}

    def part(kind: type[Any]) -> dict[str, Any]:
        return {name: whole[name] for name in field_names(kind) if name != "recipe"}

    missing = [name for name in QUESTION if name not in whole]
    if missing:
        raise Missing(missing)
    return Trial(
        network=whole["network"],
        metaparameters=Metaparameters(**part(Metaparameters)),
        layout=Layout(**part(Layout)),
        protocol=Protocol(**part(Protocol), recipe=Recipe(**part(Recipe))),
        seed=whole["seed"],
        semantics=whole["semantics"],
    )


def _canonical(value: Any) -> str:
    """A value as text, in one form.

    >>> [_canonical(value) for value in (1, 1.0, 1e-3, True, "none", (0.5, 10))]
    ['1', '1', '0.001', 'true', 'none', '0.5-10']
    """
    if isinstance(value, (bool, str)):
        return str(value).lower() if isinstance(value, bool) else value
    if isinstance(value, tuple):
        return "-".join(_canonical(item) for item in value)
    return format(Decimal(repr(value)).normalize(), "f")


QUESTION = tuple(Trial(layout=LAYOUTS["px8"], protocol=Protocol()).question)
"""The names of the question's fields, in order."""
