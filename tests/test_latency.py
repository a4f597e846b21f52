"""How long networks take for a batch: what is measured, and what is left as it was."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import dse


class Waiting(nn.Module):
    """A network that takes some seconds, and sees how it is called."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds
        self.seen: set[tuple[bool, bool, int]] = set()

    def forward(self, images: Tensor) -> Tensor:
        self.seen.add((self.training, torch.is_inference_mode_enabled(), torch.get_num_threads()))
        time.sleep(self.seconds)
        return images


def test_networks_are_timed_in_turns_and_left_as_they_were() -> None:
    threads = torch.get_num_threads()
    short, long = Waiting(0.002), Waiting(0.02).eval()
    table = dse.latency([short, long], torch.zeros(2, 1, 8, 8), threads=2, rounds=5)
    assert list(table) == ["latency_ms", "latency_low_ms", "latency_high_ms"]
    assert 2 <= table["latency_low_ms"][0] <= table["latency_ms"][0] <= table["latency_high_ms"][0]
    assert table["latency_ms"][1] >= 20
    assert short.seen == long.seen == {(False, True, 2)}
    assert (short.training, long.training) == (True, False)
    assert torch.get_num_threads() == threads
    assert len(dse.latency(short, torch.zeros(1), rounds=1)) == 1
    frozen = nn.Sequential(Waiting(0), Waiting(0).eval())
    dse.latency((one for one in [frozen]), torch.zeros(1), rounds=1)
    assert [part.training for part in frozen.modules()] == [True, True, False]
    assert dse.latency([], torch.zeros(1)).empty


@pytest.mark.parametrize(("name", "value"), [("threads", 0), ("rounds", -1), ("rounds", 1.5)])
def test_what_is_not_a_number_of_them_is_refused(name: str, value: Any) -> None:
    with pytest.raises(
        ValueError, match=f"`{name}` must be a whole number in 1 .. .*, got {value}"
    ):
        dse.latency(Waiting(0), torch.zeros(1), **{name: value})


@pytest.mark.parametrize(
    ("networks", "inputs", "line"),
    [
        (["8bc374a2"], torch.zeros(1), "`networks` must be .* or a list of them, got str"),
        ({"a": Waiting(0)}, torch.zeros(1), "`networks` must be .* or a list of them, got str"),
        (5, torch.zeros(1), "`networks` must be .* or a list of them, got int"),
        (Waiting(0), np.zeros((8, 8)), "`inputs` must be a torch.Tensor, .*, got ndarray"),
    ],
)
def test_a_wrong_type_is_one_line(networks: Any, inputs: Any, line: str) -> None:
    with pytest.raises(TypeError, match=line):
        dse.latency(networks, inputs)
