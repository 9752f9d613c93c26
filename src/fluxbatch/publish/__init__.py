"""How does a dataset get to the Hugging Face Hub?

    publication_of(dataset, target, license)     what is to be there: files as they lie in the dataset, and the card
    publish(publication, private=…, tell=…)      what is not there yet is sent; then one commit shows all of it, or none

A file that was sent and not shown yet lies at the Hub, by its content: whatever breaks, the same command goes on there.
"""

from __future__ import annotations

from fluxbatch.publish.publication import File as File
from fluxbatch.publish.publication import Publication as Publication
from fluxbatch.publish.publication import publication_of as publication_of
from fluxbatch.publish.send import Published as Published
from fluxbatch.publish.send import publish as publish
from fluxbatch.publish.target import Target as Target
