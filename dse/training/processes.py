"""The processes of one trial: the task's own is number 0, and it starts and ends the others."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess

import torch
from torch import distributed
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from dse.runner.gpus import VISIBLE
from dse.runner.task import Died, first_line
from dse.training.ranks import ALONE, Ranks

HERE = "127.0.0.1"
BACKENDS = {"cpu": "gloo", "cuda": "nccl"}

NEVER = timedelta(days=365)
"""How long a process waits for the others: whether they hang is the driver's to decide."""

GRACE = 10.0
"""Seconds for which the first process may not notice that another one has ended."""


@dataclass(frozen=True, slots=True)
class Other:
    """A process that the first one has started, and the pipe that both have."""

    rank: int
    process: ForkProcess
    pipe: Connection


@contextmanager
def several(
    count: int,
    device: str,
    work: Callable[[Ranks], object],
    fail: Callable[[BaseException], object] = lambda error: None,
) -> Iterator[Ranks]:
    """Have `count` processes for a trial: this one, in which the context is the work, and others,
    which call `work`.

    They are forked, so nothing may have used a GPU yet; each sees one of this one's GPUs. They end
    with the context, and with this process. Where one raises an exception, that is raised here;
    where one is killed, `Died` is. Where this process waits for it in a call that does not return,
    as on a GPU, a thread calls `fail` with that exception, and kills this process.
    """
    if count == 1:
        yield ALONE
        return
    os.environ["GLOO_SOCKET_IFNAME"] = os.environ["NCCL_SOCKET_IFNAME"] = _loopback()
    fork, visible = multiprocessing.get_context("fork"), os.environ.get(VISIBLE, "").split(",")
    others: list[Other] = []
    ending = threading.Event()
    try:
        for rank in range(1, count):
            ours, theirs = fork.Pipe()
            arguments = Ranks(rank, count), device, visible, theirs, work
            process = fork.Process(target=_other, args=arguments)
            with theirs:
                process.start()
            others.append(Other(rank, process, ours))
        store = TCPStore(HERE, 0, count, is_master=True, timeout=NEVER, wait_for_workers=False)
        for other in others:
            other.pipe.send(store.port)
        threading.Thread(target=_watch, args=(others, ending, fail), daemon=True).start()
        _connect(Ranks(0, count), device, visible, store)
        yield Ranks(0, count)
    except (RuntimeError, OSError) as error:  # what torch raises where another process has gone
        raise _reason(others, count) or error from None
    finally:
        ending.set()
        if device == "cpu" and distributed.is_initialized():
            distributed.destroy_process_group()
        for other in others:
            other.process.kill()
            other.process.join()
            other.pipe.close()


def _loopback() -> str:
    return "lo0" if sys.platform == "darwin" else "lo"


def _connect(ranks: Ranks, device: str, visible: list[str], store: TCPStore) -> None:
    """Meet the other processes, with one GPU to see."""
    if device == "cuda":
        os.environ[VISIBLE] = visible[ranks.rank]
    distributed.init_process_group(
        BACKENDS[device], store=store, rank=ranks.rank, world_size=ranks.count, timeout=NEVER
    )


def _other(
    ranks: Ranks,
    device: str,
    visible: list[str],
    pipe: Connection,
    work: Callable[[Ranks], object],
) -> None:
    """In another process: work, and send what it raises."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.set_num_threads(1)
    code = 1
    try:
        port = pipe.recv()
        threading.Thread(target=_end_with, args=(pipe,), daemon=True).start()
        _connect(ranks, device, visible, TCPStore(HERE, port, ranks.count, False, NEVER))
        work(ranks)
        code = 0
    except BaseException as error:
        try:
            pipe.send(error)
        except Exception:  # it cannot be pickled, or the first process has gone
            with suppress(OSError):
                pipe.send(RuntimeError(first_line(error)))
    finally:
        os._exit(code)


def _end_with(pipe: Connection) -> None:
    """End this process when the first one ends."""
    with suppress(EOFError, OSError):
        pipe.recv()
    os._exit(1)


def _watch(
    others: list[Other], ending: threading.Event, fail: Callable[[BaseException], object]
) -> None:
    """Say why and kill this process where another one has failed and this one does not notice: it
    would wait for it on a GPU."""
    running = {other.process.sentinel: other for other in others}
    while running:
        for sentinel in wait(list(running)):
            process = running.pop(int(str(sentinel))).process
            failed = not ending.is_set() and process.exitcode != 0
            if failed and not ending.wait(GRACE):
                with suppress(Exception):
                    if reason := _reason(others, len(others) + 1):
                        fail(reason)
                os.kill(os.getpid(), signal.SIGKILL)


def _reason(others: list[Other], count: int) -> BaseException | None:
    """Why this process fails: what another one has raised, or that it was killed; None if none
    has failed."""
    raised: list[BaseException] = []
    deadline = time.monotonic() + 2.0
    for other in others:
        other.process.join(max(deadline - time.monotonic(), 0.0))
        if not (code := other.process.exitcode):
            continue
        try:
            if other.pipe.poll():
                raised.append(other.pipe.recv())
        except (EOFError, OSError):
            pass
        if code < 0:
            name = signal.Signals(-code).name
            return Died(f"process {other.rank + 1} of {count} of the trial was killed by {name}")
    # A connection that has ended is a consequence.
    return min(raised, key=lambda error: type(error) is RuntimeError, default=None)
