"""What `--cfg` prints: the whole configuration, as a page of one's own."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from reading import BASE, composed_once, lines, own, read

from dse.search.__main__ import main as search
from dse.sweep import yaml_pages
from dse.sweep.__main__ import main as sweep
from dse.sweep.messages import as_lines
from dse.trial.question import QUESTION

__all__ = ["composed_once", "own"]


@pytest.mark.parametrize(
    ("arguments", "more"),
    [
        ("--cfg protocol=cifar10 recipe=paper sr=0.1,0.25 weight_decay=1e-05", []),
        ("-c job layout=px8,zynqnet,late image_size=64 runner.workers=2 runner.patience=5", []),
        ("--cfg -cn mine network=alexnet,squeezenet name=010 budget=1.5h", []),
        ("--cfg=job -cn mine ladder=none data=cifar10", ['data.root=DIR/a "b"\u2028\U0001f600{\'']),
        ("momentum=0 seed=range(0,3) --cfg job", []),
    ],
)
def test_the_printed_configuration_is_a_page_of_the_same_trials(
    own: Callable[..., tuple[str, ...]], tmp_path: Path, arguments: str, more: list[str]
) -> None:
    """In every detail but the name of the page, which names the folder of the results."""
    late = "# @package _global_\ndefaults: [px16, _self_]\npool_after: 3-6\n"
    base = f"{BASE}bypass: [none, simple]\nrunner: {{retries: 1}}\n"
    own({"mine.yaml": base, "layout/late.yaml": late})
    (tmp_path / 'a "b"\u2028\U0001f600{\'').mkdir()
    words = [*arguments.split(), "-cd", str(tmp_path)]
    asked = read(*words, *(text.replace("DIR", str(tmp_path)) for text in more))
    printed = asked.configuration.split("\n---\n")
    again = []
    for text in printed:
        own({"again.yaml": as_lines([text])})
        again.append(read("-cd", str(tmp_path), "-cn", "again"))
    assert [t.trial_id for r in again for t in r.trials] == [t.trial_id for t in asked.trials]
    assert len(printed) == (3 if "layout" in arguments else 1)
    names = {"010"} if "010" in arguments else {"again"}
    for request in again:
        assert request.folder.name in names
        assert replace(
            request, trials=asked.trials, folder=asked.folder, remarks=asked.remarks,
            configuration=asked.configuration,
        ) == asked  # fmt: skip
    first = again[0].trials[0].question
    shown = yaml_pages.values(printed[0], "printed")
    fixed = [key for key in QUESTION if not isinstance(shown.get(key, []), list)]
    assert len(fixed) > 30
    if not {"network", "momentum"} & set(re.split("[ =]", arguments)):  # all keys are read
        assert {key: shown[key] for key in fixed} == {key: first[key] for key in fixed}


def test_the_configuration_is_printed_without_data_and_only_if_it_is_right(
    own: Callable[..., tuple[str, ...]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*own({"mine.yaml": BASE}), "protocol=imagenet"]
    assert sweep([*arguments, "-c", "job"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"# python -m dse.sweep -cd {tmp_path} -cn mine protocol=imagenet\n")
    assert "\nlr: 0.04\n" in printed
    assert "\nmanifest: none\n" in printed
    assert "runner" not in printed
    assert "submitit" not in printed
    (tmp_path / "whole.yaml").write_text(printed)
    assert lines("-cd", str(tmp_path), "-cn", "whole", "recipe=paper,robust") == [
        "page `whole` has no recipe in its `defaults`: begin it with `defaults: [squeezenet, "
        "_self_]` and remove its keys of a recipe, or give these keys instead of recipe="
    ]
    assert sweep([*arguments, "--cfg", "sr=2"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "`sr` must be in (0, 1], got 2\n"
    assert sweep([*arguments, "-c", "sr=0.25,0.5", "--cfg"]) == 0
    assert "\nsr: [0.25, 0.5]\n" in capsys.readouterr().out
    assert search(["--cfg", "job"]) == 2
    assert "only dse.sweep has --cfg" in capsys.readouterr().err
