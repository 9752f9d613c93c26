"""A command whose reader is gone: a pager that was closed, `| head`. It goes on, and says the rest to nobody.

Whoever closes a pager wants to read no more; that is no wish for fewer pictures. And to end in the middle, as Python
and rich would have it, loses what is in flight, which is paid. Ctrl-C and SIGTERM stop a run; what was not heard of it
stands in its report.
"""

from __future__ import annotations

import os
import stat
import sys
from typing import TextIO


def fall_silent(file: TextIO) -> None:
    """From now on, and with what it has still to write, this file writes to nobody."""
    nobody = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nobody, file.fileno())
    os.close(nobody)


def leave_the_terminal() -> None:
    """The terminal is gone: what would be written to it fails, so it goes to nobody. Files and pipes are left alone."""
    for file in (sys.stdout, sys.stderr):
        if stat.S_ISCHR(os.fstat(file.fileno()).st_mode):
            fall_silent(file)


def say(text: str, file: TextIO) -> None:
    """A line for whoever reads this file, at once; if nobody does any more, for nobody."""
    try:
        print(text, file=file, flush=True)
    except BrokenPipeError:
        fall_silent(file)
