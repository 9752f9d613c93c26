"""What a command ends with: the same numbers for all of them."""

from __future__ import annotations

EXIT_COMPLETE = 0
EXIT_WRONG = 1
"""`verify`, `doctor`: something is not as it should be. `export`: no row fits."""
EXIT_USAGE = 2
EXIT_BUDGET = 3
EXIT_SOME_FAILED = 4
EXIT_STOPPED = 5
"""By the account, the platform, the disk or the ledger."""
EXIT_INTERRUPTED = 130
