"""What does a picture say of where it comes from? A mark within the file, that no pixel knows of.

    marked(content, Provenance.of(model, prompt, key, created_at))     the same picture, marked
    read(content)                                                      the mark, or None

The mark is an XMP packet (`packet.py`): IPTC's digital source type `trainedAlgorithmicMedia`, the model, the prompt's
hash, the picture's key and the time. JPEG, PNG and WebP (`jpeg.py`, `png.py`, `webp.py`) get it without being encoded
again: all other bytes stay what they are, but for those that a container needs to say that the packet is there.
"""

from __future__ import annotations

from fluxbatch.provenance.facts import Provenance as Provenance
from fluxbatch.provenance.mark import Marked as Marked
from fluxbatch.provenance.mark import mark as mark
from fluxbatch.provenance.mark import marked as marked
from fluxbatch.provenance.mark import read as read
