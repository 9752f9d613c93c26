"""Which IP addresses are out on the open internet, and what is wrong with the others. Pure.

Python's `ipaddress` is asked as well, and not alone: in 3.11 it calls multicast, 6to4, NAT64, IPv4-compatible,
site-local, documentation (3fff::/20) and unallocated IPv6 addresses global, and knows nothing of a cloud's own.
From IANA's registries of special-purpose addresses (iana.org/assignments/iana-ipv4-special-registry and -ipv6-,
read November 2026); whatever stands there is refused, also what is reachable: no picture lies in it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

IPAddress = IPv4Address | IPv6Address

_REFUSED_V4: Mapping[str, str] = {
    "0.0.0.0/8": "this network (RFC 791)",
    "10.0.0.0/8": "a private network (RFC 1918)",
    "100.64.0.0/10": "a carrier's inner network (RFC 6598)",
    "127.0.0.0/8": "this machine itself",
    "168.63.129.16/32": "Azure's own server for its machines",
    "169.254.0.0/16": "link-local, where clouds keep the credentials of a machine",
    "172.16.0.0/12": "a private network (RFC 1918)",
    "192.0.0.0/24": "kept for protocols (RFC 6890)",
    "192.0.2.0/24": "kept for documentation",
    "192.31.196.0/24": "a sink for stray name look-ups (AS112)",
    "192.52.193.0/24": "kept for multicast tunnels (AMT)",
    "192.88.99.0/24": "a 6to4 relay",
    "192.168.0.0/16": "a private network (RFC 1918)",
    "192.175.48.0/24": "a sink for stray name look-ups (AS112)",
    "198.18.0.0/15": "kept for benchmarks",
    "198.51.100.0/24": "kept for documentation",
    "203.0.113.0/24": "kept for documentation",
    "224.0.0.0/4": "multicast",
    "240.0.0.0/4": "reserved, or broadcast",
}
_REFUSED_V6: Mapping[str, str] = {
    "::/128": "no address at all",
    "::1/128": "this machine itself",
    "::ffff:0:0/96": "an IPv4 address in disguise (IPv4-mapped)",
    "::ffff:0:0:0/96": "an IPv4 address in disguise (SIIT)",
    "::/96": "an IPv4 address in disguise (IPv4-compatible)",
    "64:ff9b::/96": "an IPv4 address in disguise (NAT64)",
    "64:ff9b:1::/48": "an IPv4 address in disguise (NAT64 of this network)",
    "100::/64": "a sink (discard-only)",
    "2001::/32": "an IPv4 address in disguise (Teredo)",
    "2001::/23": "kept for protocols",
    "2001:db8::/32": "kept for documentation",
    "2002::/16": "an IPv4 address in disguise (6to4)",
    "2620:4f:8000::/48": "a sink for stray name look-ups (AS112)",
    "3ffe::/16": "given back (6bone)",
    "3fff::/20": "kept for documentation",
    "5f00::/16": "kept for segment routing",
    "fc00::/7": "a private network (unique local), where clouds keep the credentials of a machine",
    "fe80::/10": "link-local",
    "fec0::/10": "a private network (site-local)",
    "ff00::/8": "multicast",
}
_V4 = tuple((IPv4Network(block), what) for block, what in _REFUSED_V4.items())
_V6 = tuple((IPv6Network(block), what) for block, what in _REFUSED_V6.items())
_GIVEN_OUT_V6 = IPv6Network("2000::/3")
_ISATAP = (0x00005EFE, 0x02005EFE)


def why_not_global(address: IPAddress) -> str | None:
    """What the address is instead of a host on the open internet; None when it is one."""
    blocks = _V4 if isinstance(address, IPv4Address) else _V6
    found = next((what for block, what in blocks if address in block), None)
    if found is None and isinstance(address, IPv6Address):
        found = _odd_v6(address)
    if found is None and (not address.is_global or address.is_multicast or address.is_reserved):
        found = "not global"
    return found


def _odd_v6(address: IPv6Address) -> str | None:
    if address.scope_id is not None:
        return "of one network interface only"
    if address not in _GIVEN_OUT_V6:
        return "not given out to anybody"
    if int(address) >> 32 & 0xFFFFFFFF in _ISATAP:
        return "an IPv4 address in disguise (ISATAP)"
    return None


def read_ip(text: str) -> IPAddress | None:
    """What a resolver gave, or None when it is no IP address."""
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
