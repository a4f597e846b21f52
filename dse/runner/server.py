"""What the server that forks processes for calls imports, and nobody else.

When its driver has ended it ends at once: to take down what it has imported, torch for instance,
would keep the driver waiting for more than a second. What else asks processes to end is not for it:
SLURM sends its signals to all of a job's processes.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys

if any("multiprocessing.forkserver" in word for word in sys.orig_argv):
    atexit.register(os._exit, 0)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # the others are blocked in it
