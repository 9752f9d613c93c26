"""Scorers: what else can be said about a picture, as columns. One's own is a class like `Scorer`.

class Redness:
    name = "redness"
    columns = {"redness": float}
    identity = "mean red, version 1"

    def score(self, pictures):
        return {"redness": [float(picture.pixels[..., 0].mean()) for picture in pictures]}

fluxbatch check cats --scorer mypackage.module:Redness
"""

from fluxbatch.scores.protocol import Scored as Scored
from fluxbatch.scores.protocol import Scorer as Scorer
