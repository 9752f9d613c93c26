"""Why a picture was not fetched."""

from __future__ import annotations

from fluxbatch.manifest.values import Unusable


class Unfetched(Unusable):
    """An address that brought no picture.

    `again`: it may be otherwise in a moment, so it is tried again. `of_host`: it says something of the host and not of
    this one picture. `after_s`: the server's own wish, in seconds.
    """

    def __init__(
        self, problem: str, remedy: str, *, again: bool = False, of_host: bool = False, after_s: float = 0.0
    ) -> None:
        super().__init__(problem, remedy)
        self.again = again
        self.of_host = of_host
        self.after_s = after_s
