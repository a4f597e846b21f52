"""What the server that forks processes for calls imports, and nobody else.

When its driver has ended it ends at once: to take down what it has imported, torch for instance,
would keep the driver waiting for more than a second.
"""

from __future__ import annotations

import atexit
import os
import sys

if any("multiprocessing.forkserver" in word for word in sys.orig_argv):
    atexit.register(os._exit, 0)
