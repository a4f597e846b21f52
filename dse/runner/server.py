"""What only the fork server imports: the process from which tasks are forked.

It ends at once when its driver has ended: cleaning up what it has imported, torch for instance,
would keep the driver waiting for more than a second. It ignores the signals that ask processes to
stop, because SLURM sends its signals to all processes of a job.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys

if any("multiprocessing.forkserver" in argument for argument in sys.orig_argv):
    atexit.register(os._exit, 0)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # the others are blocked in it
