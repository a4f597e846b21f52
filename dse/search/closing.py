"""What a search leaves: what its study found, and the tables, figures and report of its trials."""

from __future__ import annotations

import itertools
import math
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from statistics import fmean
from typing import Any

import optuna
import pandas as pd
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState

from dse.analysis.rendering import columns, counted
from dse.analysis.studies import front_rows, guessing, refusals
from dse.analysis.summary import summary
from dse.results import compressed, studies
from dse.search.answers import Answers
from dse.search.compression import described
from dse.search.keys import ACCURACY
from dse.search.ledger import state_of
from dse.search.limits import costs_of
from dse.search.request import Request
from dse.search.space import Choice, named
from dse.search.study import KNOWN, Study
from dse.sweep import closing
from dse.sweep.launch import LISTED
from dse.sweep.messages import ANOTHER, resume_command, say
from dse.sweep.streams import print_lines
from dse.trial.compression import compressed_id
from dse.trial.names import written
from dse.trial.protocol import chance

DECODED = ("file_bytes", "status", "top1", "top5", "val_top1", "classes_predicted")
"""What a network decoded from its file has in place of its trial's, unless its training diverged,
which its status says."""

FEW, MANY = 20, 50
"""Trained points below which nothing is said about which keys matter, and below which there are no
shares: they are estimated from the best tenth, which should be five points at least."""


def close(request: Request, study: Study, command: str) -> int:
    """Write the tables, figures and report of a study's trials; print a summary.

    Returns how many of its trials have no record, or none of the compressed network that is sought.
    """
    answers = Answers(request.folder, request.question.compression)
    entries = [entry for entry in study.own if entry.state != TrialState.PRUNED]
    asked = {e.number: request.question.trials(e.user_attrs["point"]) for e in entries}
    trials = list(itertools.chain.from_iterable(asked.values()))
    left = {trial.trial_id for trial in answers.left(trials)}
    missing = [e for e in entries if any(one.trial_id in left for one in asked[e.number])]
    found = outcome(request, study)
    studies.save(request.folder, request.study, found)
    sampled = [one.trial_id for one in trials] if request.question.sampler != studies.GRID else []
    text = partial(summarised, request)
    keys = [axis.name for axis in request.question.space.axes]
    states = Counter(point["state"] for point in found["points"])
    pruned = [e.user_attrs["point"] for e in study.own if e.state == TrialState.PRUNED]
    early = [trial for point in pruned for trial in request.question.trials(point)]
    closing.close(
        trials,
        request.folder,
        command,
        summarise=text,
        sampled=sampled,
        searched=keys,
        stopped=len(answers.left(early)),
    )
    if len(request.question.objectives) > 1:
        print_lines(*front(found))
    words = {"failed": "failed", "stopped": "stopped early"}
    more = "".join(f"; {states[one]:,} {word}" for one, word in words.items() if states[one])
    say(f"study {request.study}: {study.ended}{more}", *refusals(study.refused), *guessing(found))
    say(*_missing(missing, len(entries)))
    return len(left)


def summarised(request: Request, table: pd.DataFrame, asked: int) -> str:
    """The summary of a search's trials; where compressed bytes are sought, of the networks decoded
    from their files."""
    keys = [axis.name for axis in request.question.space.axes]
    settings = request.question.compression
    if not settings:
        return summary(table, asked, keys)
    own = {compressed_id(one, settings): one for one in table["trial_id"]}
    rows = compressed.load(request.folder, table).set_index("compressed_id")
    rows = rows.loc[[one for one in own if one in rows.index], ["trial_id", *DECODED]]
    diverged = rows["trial_id"].isin(table.loc[table["status"] == "diverged", "trial_id"])
    rows["status"] = rows["status"].mask(diverged, "diverged")
    table = table.drop(columns=[name for name in DECODED if name in table])
    table = table.merge(rows.reset_index(), on="trial_id")
    return summary(table, asked, keys, described(settings))


def _missing(entries: Sequence[FrozenTrial], count: int) -> Iterator[str]:
    """Lines on the points that have no record, of a `count` of all."""
    if entries:
        names = [named(entry.user_attrs["point"]) for entry in entries[:LISTED]]
        more = ", ..." if len(entries) > LISTED else ""
        some = f"{len(entries):,} of {counted(count, 'point')}"
        have = "has" if len(entries) == 1 else "have"
        yield f"{some} {have} no record: {', '.join(names)}{more}"
        if any(ANOTHER not in entry.user_attrs.get("failed", "") for entry in entries):
            yield f"retry with: {resume_command()}"
        else:
            yield f"their trials have no weights to compress: {ANOTHER}"


def front(study: Mapping[str, Any]) -> list[str]:
    """The networks on a study's front, the cheapest first."""
    rows = front_rows(study)
    if rows.empty:
        return []
    rows["val_top1"] = rows["val_top1"].map("{:.1f}".format)
    cost = study["objectives"][0]
    rows[cost] = rows[cost].map("{:,.0f}".format)
    cells = [[written(value) for value in row] for row in rows.to_numpy().tolist()]
    sides = [">" if name in study["objectives"] else "<" for name in rows]
    way = study["compression"]
    of = f" of the networks decoded from their files ({way})" if way else ""
    return [f"the front, by validation accuracy{of}:", *columns([[*rows], *cells], sides)]


def outcome(request: Request, study: Study) -> dict[str, Any]:
    """What a study found."""
    question = request.question
    protocol = question.trial_with({}).protocol
    guess = chance(protocol.validation_images, protocol.facts.num_classes)
    points = points_of(request, study)
    return {
        "sampler": question.sampler,
        "objectives": list(question.objectives),
        "limits": dict(question.limits),
        "n_trials": request.n_trials,
        "warm_start": any(KNOWN in entry.user_attrs for entry in study.entries),
        "seeds": list(question.seeds),
        "chance": guess,
        "compression": described(question.compression) if question.compression else "",
        "ended": study.ended,
        "refused": dict(sorted(study.refused.items())),
        "effects": effects(request, study.memory, points, guess),
        "points": points,
    }


def points_of(request: Request, study: Study) -> list[dict[str, Any]]:
    """What became of each point, in order."""
    found, way = [], request.question.compression
    for entry in study.entries:
        attributes, state = entry.user_attrs, entry.state
        trials = request.question.trials(attributes["point"])
        epochs, curve = trials[0].protocol.recipe.epochs, attributes.get("curve", [])
        if state != TrialState.COMPLETE:
            epochs = len(curve)
        found.append(
            {
                "number": entry.number,
                "state": state_of(entry),
                "point": attributes["point"],
                "values": entry.values if state == TrialState.COMPLETE else None,
                "epochs": 0 if attributes.get("stored", False) else len(trials) * epochs,
                "trials": (ids := [trial.trial_id for trial in trials]),
                "networks": [compressed_id(one, way) for one in ids] if way else ids,
                "costs": costs_of(trials[0]),
                **({"last": curve[-1]} if state == TrialState.PRUNED else {}),
            }
        )
    return found


def effects(
    request: Request, memory: optuna.Study, points: Sequence[Mapping[str, Any]], guess: float
) -> dict[str, dict[str, Any]]:
    """For each key how much it matters for reaching a high validation accuracy, and its direction,
    from the points that were trained to the end, once each.

    `importance` is PED-ANOVA's (Watanabe, Bansal and Hutter 2023), a share of all keys', None below
    `MANY` trained points. `rank` is Spearman's correlation of an ordered key with the accuracy, NaN
    as None; `best` is the value with the highest mean accuracy. Empty below `FEW` trained points,
    and where half of them or more are at chance, which is an accuracy up to `guess`, percent.
    """
    done = [point for point in points if point["state"] in ("trained", "stored")]
    place = request.question.objectives.index(ACCURACY)
    accuracies = [point["values"][place] for point in done]
    if len(done) < FEW or 2 * sum(one <= guess for one in accuracies) >= len(done):
        return {}
    shares = _shares(memory, [point["number"] for point in done], place)
    found = {}
    for axis in request.question.space.axes:
        values = [point["point"][axis.name] for point in done]
        ordered = not isinstance(axis, Choice) or axis.ordered
        found[axis.name] = {
            "importance": shares.get(axis.name),
            "rank": _rank(values, accuracies) if ordered else None,
            "best": _best(values, accuracies) if isinstance(axis, Choice) else None,
        }
    return found


def _shares(memory: optuna.Study, numbers: Sequence[int], place: int) -> dict[str, float]:
    """The importance of each key for the objective at a place, from some trials of a study."""
    if len(numbers) < MANY:
        return {}
    seen = memory.get_trials(deepcopy=False)
    known = optuna.create_study(directions=memory.directions)
    known.add_trials([seen[number] for number in numbers])
    with suppress(ValueError, RuntimeError), warnings.catch_warnings():  # all may be equal
        warnings.simplefilter("ignore")
        return get_param_importances(
            known,
            evaluator=PedAnovaImportanceEvaluator(),
            target=lambda trial: -trial.values[place],  # it looks for what leads to low values
        )
    return {}


def _rank(values: Sequence[float], accuracies: Sequence[float]) -> float | None:
    if len(set(values)) < 2 or len(set(accuracies)) < 2:
        return None
    from scipy.stats import spearmanr

    correlation = float(spearmanr(values, accuracies).statistic)
    return correlation if math.isfinite(correlation) else None


def _best(values: Sequence[Any], accuracies: Sequence[float]) -> Any:
    """The value with the highest mean accuracy."""
    groups: dict[Any, list[float]] = {}
    for value, accuracy in zip(values, accuracies, strict=True):
        groups.setdefault(value, []).append(accuracy)
    return max(groups, key=lambda value: fmean(groups[value]))
