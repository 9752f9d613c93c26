"""A command whose reader is gone: a pager that was closed, `| head`. It goes on, and says the rest to nobody.

Whoever closes a pager wants to read no more; that is no wish for fewer pictures. And to end in the middle, as Python
and rich would have it, loses what is in flight, which is paid. Ctrl-C and SIGTERM stop a run; what was not heard of it
stands in its report.
"""

from __future__ import annotations

import os
from typing import TextIO


def fall_silent(file: TextIO) -> None:
    """From now on, and with what it has still to write, this file writes to nobody."""
    nobody = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nobody, file.fileno())
    os.close(nobody)


def say(text: str, file: TextIO) -> None:
    """A line for whoever reads this file, at once; if nobody does any more, for nobody."""
    try:
        print(text, file=file, flush=True)
    except BrokenPipeError:
        fall_silent(file)
