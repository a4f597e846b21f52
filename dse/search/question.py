"""What a study asks, and the trials of its points."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from dse.search.space import Space, sample
from dse.sweep.no_effect import off
from dse.trial.compression import Settings
from dse.trial.protocol import check_held_out
from dse.trial.question import Trial, trial_from


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """What a study asks: it cannot change while the study goes on.

    `base` has a value for every key of a trial; those of a point replace them, and the seeds, each
    of which is trained. `given` are the keys on the command line. `objectives` are `val_top1`, or a
    cost and `val_top1`. `compression` says how networks are compressed where the cost is the length
    of a compressed file, else it is None.
    """

    space: Space
    base: Mapping[str, Any]
    seeds: tuple[int, ...]
    given: frozenset[str]
    objectives: tuple[str, ...]
    limits: Mapping[str, int]
    sampler: str
    study_seed: int
    stopping: str
    compression: Settings | None

    def trials(self, point: Mapping[str, Any]) -> list[Trial]:
        """The trials of a point, one for each seed; raises `ValueError` where its values do not fit
        together."""
        return [self.trial({**point, "seed": seed}) for seed in self.seeds]

    def trial(self, point: Mapping[str, Any]) -> Trial:
        """The trial of a point with the first seed, unless the point has one."""
        trial = trial_from(off({**self.base, "seed": self.seeds[0], **point}, self.given))
        check_held_out(trial.protocol)
        return trial

    def trial_with(self, values: Mapping[str, Any]) -> Trial:
        """A trial with these values, and with others of the space that fit together with them.

        Raises `ValueError` where none is found, with the reason for the first values.
        """
        try:
            return self.trial(values)
        except ValueError:
            for point in sample(self.space):
                with suppress(ValueError):
                    return self.trial({**point, **values})
            raise
