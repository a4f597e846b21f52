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

    A batch is computed in `iter_size` parts, as in Caffe: the gradient is that of the whole batch's
    mean loss, while norms see a part at a time.

    With a `dsd_density` below 1 the training is dense-sparse-dense (arXiv:1607.04381): the last
    `dsd_sparse` + `dsd_final` of the `epochs` are a phase in which each layer but the first keeps
    that share of its weights, the largest, and a phase in which the others, from 0, learn again.
    Each of them follows `schedule` from a tenth of `lr`, without warm-up and momentum at first.

    Raises `ValueError` for a value outside its rule, for `nesterov` without `momentum`, for a
    `ladder` without `dead_after`, for parts that are not equal or have one image, and for phases
    that do not fit in the epochs.
    """

    epochs: int = knob(20, integer(1, 10_000), "passes over the training set")
    batch_size: int = knob(96, integer(2, 65_536), "images per step")
    iter_size: int = knob(1, integer(1, 65_536), "gradient accumulation: parts of each batch")
    lr: float = knob(0.15, real(0, 1e6, above=True), "peak learning rate")
    schedule: str = knob(
        "linear", one_of("linear", "cosine", "step", "constant"), "learning rate after warm-up"
    )
    warmup: float = knob(2.0, real(0, 1000), "epochs of linear warm-up")
    momentum: float = knob(0.9, real(0, 1, below=True), "momentum of SGD")
    nesterov: bool = knob(True, flag(), "Nesterov momentum")
    weight_decay: float = knob(5e-4, real(0, 1), "L2 penalty on all weights except those of norms")
    clip: float = knob(1.0, real(0, 1e6), "gradient norm to clip to (0: no clipping)")
    init: str = knob("he", one_of(*INITS), "initial weights")
    precision: str = knob("fp32", one_of("fp32", "bf16"), "arithmetic of the convolutions")
    dead_after: int = knob(
        30,
        integer(0, 1_000_000),
        "stop a run after this many dead steps in a row, past warm-up (0: never)",
    )
    ladder: str = knob(
        "rate-warmup-lsuv", words(*RUNGS, most=8), "what each restart of a dead run changes"
    )
    dsd_density: float = knob(
        1.0, real(0, 1, above=True), "share of weights kept in the sparse phase (1: no such phase)"
    )
    dsd_sparse: int = knob(0, integer(0, 10_000), "epochs of the sparse phase, among `epochs`")
    dsd_final: int = knob(0, integer(0, 10_000), "epochs after it, dense again, among `epochs`")

    def __post_init__(self) -> None:
        check(self)
        if self.nesterov and not self.momentum:
            raise ValueError("`nesterov` must be false where `momentum` is 0, got true")
        if self.ladder != "none" and not self.dead_after:
            raise ValueError(f"`ladder` must be none where `dead_after` is 0, got {self.ladder}")
        if self.iter_size > 1 and (
            self.batch_size % self.iter_size or self.batch_size == self.iter_size
        ):
            raise ValueError(
                f"`iter_size` must divide `batch_size`, {self.batch_size}, into equal parts of at "
                f"least 2 images, got {self.iter_size}"
            )
        self._check_phases()

    def _check_phases(self) -> None:
        sparse = self.dsd_density < 1
        for name in ("dsd_sparse", "dsd_final"):
            value = getattr(self, name)
            if bool(value) != sparse:
                raise ValueError(
                    f"`{name}` must be {'at least 1' if sparse else 0} where `dsd_density` is "
                    f"{self.dsd_density:g}, got {value}"
                )
        if self.dense_epochs < 1:
            raise ValueError(
                f"`epochs` must be more than `dsd_sparse` and `dsd_final` together, "
                f"{self.dsd_sparse + self.dsd_final}, got {self.epochs}"
            )

    @property
    def dense_epochs(self) -> int:
        """Epochs before the sparse phase; all where there is none."""
        return self.epochs - self.dsd_sparse - self.dsd_final

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
