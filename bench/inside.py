"""Runs in the child: calls a function, then writes down what the process took.

`python -m bench.inside REPORT module:function [ARGUMENT…]`
"""

from __future__ import annotations

import json
import pkgutil
import resource
import sys
from pathlib import Path


def main() -> None:
    report, target, *arguments = sys.argv[1:]
    sys.argv = [target, *arguments]
    try:
        pkgutil.resolve_name(target)()
    finally:
        Path(report).write_text(json.dumps(took()), encoding="utf-8")


def took() -> dict[str, float]:
    """CPU seconds (user and system) of this process so far, and its peak resident bytes."""
    return {"cpu_s": cpu_s(resource.RUSAGE_SELF), "peak_bytes": peak_bytes()}


def peak_bytes() -> int:
    """The largest resident size so far."""
    try:
        # ru_maxrss begins with what the parent had when it forked; the kernel's own high-water mark does not.
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def cpu_s(who: int) -> float:
    """User and system seconds of this process, or of the children that it has waited for."""
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
