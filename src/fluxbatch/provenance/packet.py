"""The XMP packet: the facts as RDF in XML, alone or within what somebody else wrote; and back. Pure.

Packet and RDF: XMP Specification Part 1 (ISO 16684-1), 7.3 and 7.4. The digital source type, and the property for the
system that made a picture: IPTC Photo Metadata Standard 2025.1, Extension schema
(https://www.iptc.org/std/photometadata/specification/IPTC-PhotoMetadata). `xmp:CreateDate`, `xmp:CreatorTool`: Part 1,
8.4. What has no property there (the prompt's hash, the key) has a namespace of our own.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from xml.parsers.expat import ExpatError, ParserCreate
from xml.sax.saxutils import escape

from fluxbatch.provenance.facts import Provenance, Unmarkable

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
TOOL = "fluxbatch"
PACKET_BYTES_MAX = 1_000_000
"""No packet beyond this is looked into."""

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_XMP = "http://ns.adobe.com/xap/1.0/"
_OWN = "urn:fluxbatch:provenance:1/"
_DESCRIPTION = f"{_RDF}Description"

_SOURCE, _SYSTEM = f"{_IPTC}DigitalSourceType", f"{_IPTC}AISystemUsed"
_DATE, _TOOL = f"{_XMP}CreateDate", f"{_XMP}CreatorTool"
_MODEL, _PROMPT, _KEY = f"{_OWN}Model", f"{_OWN}PromptSHA256", f"{_OWN}Key"
_OURS = frozenset({_SOURCE, _SYSTEM, _DATE, _TOOL, _MODEL, _PROMPT, _KEY})

_PACKET = """\
<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
{block}
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="r"?>"""  # read-only: nobody may change it in its place, where a checksum or a length stands beside it
_BLOCK = f"""\
  <rdf:Description rdf:about="" xmlns:rdf="{_RDF}"
    xmlns:Iptc4xmpExt="{_IPTC}"
    xmlns:xmp="{_XMP}"
    xmlns:fluxbatch="{_OWN}">
   <Iptc4xmpExt:DigitalSourceType>{SOURCE_TYPE}</Iptc4xmpExt:DigitalSourceType>
   <Iptc4xmpExt:AISystemUsed>{{model}}</Iptc4xmpExt:AISystemUsed>
   <xmp:CreateDate>{{date}}</xmp:CreateDate>
   <xmp:CreatorTool>{TOOL}</xmp:CreatorTool>
   <fluxbatch:Model>{{model}}</fluxbatch:Model>
   <fluxbatch:PromptSHA256>{{prompt}}</fluxbatch:PromptSHA256>
   <fluxbatch:Key>{{key}}</fluxbatch:Key>
  </rdf:Description>"""
_END = b"</rdf:RDF>"


def with_mark(packet: bytes | None, facts: Provenance) -> bytes:
    """The packet that a file is to have in the place of this one. Unmarkable when there is no right one."""
    block = _block(facts)
    if packet is None:
        return _PACKET.format(block=block.decode()).encode()
    earlier = read_packet(packet)
    if earlier is not None and packet.count(_block(earlier)) == 1:
        changed = packet.replace(_block(earlier), block)
    else:
        before, end, behind = packet.rpartition(_END)
        changed = before + block + b"\n " + end + behind
    # Whatever stands around it, in whatever encoding: the packet is right when it says what it has to say.
    if read_packet(changed) != facts:
        raise Unmarkable("has an XMP packet that says something else already, or that cannot be read")
    return changed


def read_packet(packet: bytes) -> Provenance | None:
    """The facts of our mark in a packet; None when it says none of them, or one of them twice."""
    found = _properties(packet)
    if found is None or set(found) != _OURS or found[_SOURCE] != SOURCE_TYPE or found[_SYSTEM] != found[_MODEL]:
        return None
    try:
        made = datetime.fromisoformat(found[_DATE])
    except ValueError:
        return None
    return None if made.tzinfo is None else Provenance(found[_MODEL], found[_PROMPT], found[_KEY], made)


def _block(facts: Provenance) -> bytes:
    model, prompt, key = (escape(text, {"\r": "&#13;"}) for text in (facts.model, facts.prompt_sha256, facts.key))
    date = facts.created_at.isoformat().replace("+00:00", "Z")
    return _BLOCK.format(model=model, prompt=prompt, key=key, date=date).encode()


def _properties(packet: bytes) -> dict[str, str] | None:
    """Those of our properties that a packet has, each once. None when it is no XML, or has one of them twice."""
    if len(packet) > PACKET_BYTES_MAX:
        return None
    reader = _Reader()
    try:
        reader.read(packet)
    except (ExpatError, _NotXmp, ValueError, LookupError):  # the last two: an encoding that Python does not know
        return None
    return None if any(count > 1 for count in reader.counts.values()) else reader.found


class _NotXmp(Exception):
    """A document type: no packet has one, and its entities could grow without end."""


class _Reader:
    """Our properties of a packet: children of an rdf:Description, or its attributes."""

    def __init__(self) -> None:
        self.found: dict[str, str] = {}
        self.counts: Counter[str] = Counter()
        self._path: list[str] = []

    def read(self, packet: bytes) -> None:
        parser = ParserCreate(namespace_separator="")
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = self._doctype
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.Parse(packet.strip(b"\0"), True)

    def _doctype(self, *_: object) -> None:
        raise _NotXmp

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if name in _OURS and self._path[-1:] == [_DESCRIPTION]:
            self.counts[name] += 1
            self.found[name] = ""
        if name == _DESCRIPTION:
            for attribute in _OURS & set(attributes):
                self.counts[attribute] += 1
                self.found[attribute] = attributes[attribute]
        self._path.append(name)

    def _end(self, name: str) -> None:
        self._path.pop()

    def _text(self, text: str) -> None:
        if self._path and self._path[-1] in _OURS and self._path[-2:-1] == [_DESCRIPTION]:
            self.found[self._path[-1]] += text
