"""How a network is trained: `Recipe`, and what each restart of a dead run changes.

The defaults are those of `sweeps/squeezenet.yaml`; named recipes are pages of `sweeps/`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from dse.space.rules import check, flag, integer, knob, one_of, real, words

INITS = ("he", "xavier", "lsuv")
RUNGS = ("rate", "warmup", "he", "lsuv")
"""What a restart changes: a quarter of the learning rate; twice the warm-up, at least an epoch; or
the initialisation."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """One way to train any network.

    The learning rate rises linearly over `warmup` epochs to `lr` and then follows `schedule`
    down to 0, which it would reach one step after the last (`step`: a tenth after each third of
    the steps). `clip` bounds the norm of the whole gradient; 0 means no bound.

    Raises `ValueError` for a value outside its rule, for `nesterov` without `momentum`, and for a
    `ladder` without `dead_after`.
    """

    epochs: int = knob(20, integer(1, 10_000), "passes over the training part")
    batch_size: int = knob(96, integer(2, 65_536), "pictures per step")
    lr: float = knob(0.15, real(0, 1e6, above=True), "peak learning rate")
    schedule: str = knob(
        "linear", one_of("linear", "cosine", "step", "constant"), "learning rate after warm-up"
    )
    warmup: float = knob(2.0, real(0, 1000), "epochs of rising learning rate")
    momentum: float = knob(0.9, real(0, 1, below=True), "momentum of SGD")
    nesterov: bool = knob(True, flag(), "Nesterov momentum")
    weight_decay: float = knob(5e-4, real(0, 1), "L2 penalty on all weights except those of norms")
    clip: float = knob(1.0, real(0, 1e6), "gradient norm to clip to (0: no clipping)")
    init: str = knob("he", one_of(*INITS), "initial weights")
    precision: str = knob("fp32", one_of("fp32", "bf16"), "arithmetic of the convolutions")
    dead_after: int = knob(
        30,
        integer(0, 1_000_000),
        "lifeless steps in a row after warm-up that end a run (0: never)",
    )
    ladder: str = knob(
        "rate-warmup-lsuv", words(*RUNGS, most=8), "what each restart of a dead run changes"
    )

    def __post_init__(self) -> None:
        check(self)
        if self.nesterov and not self.momentum:
            raise ValueError("`nesterov` must be false where `momentum` is 0, got true")
        if self.ladder != "none" and not self.dead_after:
            raise ValueError(f"`ladder` must be none where `dead_after` is 0, got {self.ladder}")

    @property
    def restarts(self) -> int:
        """How often a dead run may be restarted: once for each rung of the ladder."""
        return 0 if self.ladder == "none" else len(self.ladder.split("-"))

    def restarted(self, restarts: int) -> Recipe:
        """The recipe after that many restarts, each of which takes the next rung of the ladder.

        >>> again = Recipe(lr=0.4, warmup=2, dead_after=9, ladder="rate-lsuv").restarted(2)
        >>> again.lr, again.warmup, again.init
        (0.1, 2.0, 'lsuv')
        """
        recipe = self
        for rung in self.ladder.split("-")[: min(restarts, self.restarts)]:
            if rung == "rate":
                recipe = replace(recipe, lr=recipe.lr / 4)
            elif rung == "warmup":
                recipe = replace(recipe, warmup=min(max(2 * recipe.warmup, 1.0), 1000.0))
            else:
                recipe = replace(recipe, init=rung)
        return recipe
