"""Where a connection may lead: a name is looked up once, every address of it judged, and the peer looked at again."""

from __future__ import annotations

import socket
from ipaddress import ip_address

import pytest

from fluxbatch.manifest.address import Address
from fluxbatch.manifest.connect import Wire, connect, look_up
from fluxbatch.manifest.fetch import fetch
from fluxbatch.manifest.netblocks import why_not_global
from fluxbatch.manifest.trouble import Unfetched
from tests.manifest.fetch_kit import (
    HOST,
    PUBLIC,
    PUBLIC_2,
    PUBLIC_6,
    Clock,
    Names,
    Roads,
    good_tls,
    picture_host,
    said,
    wire,
)
from tests.manifest.manifest_kit import picture

AT = Address(HOST, 443, "/a.png")
PNG = picture(8, 8)

# By hand from IANA's special-purpose registries, the clouds' documentation and the RFCs of each tunnel; not from the
# table in the code. The first and the last address of a block, and what lies in it that is known for harm.
_NOT_GLOBAL = """
    0.0.0.0 0.0.0.1 0.255.255.255
    10.0.0.0 10.0.0.1 10.255.255.255
    100.64.0.0 100.100.100.200 100.127.255.255
    127.0.0.0 127.0.0.1 127.0.1.1 127.255.255.255
    168.63.129.16
    169.254.0.0 169.254.169.254 169.254.170.2 169.254.169.123 169.254.255.255
    172.16.0.0 172.17.0.1 172.31.255.255
    192.0.0.0 192.0.0.8 192.0.0.9 192.0.0.10 192.0.0.170 192.0.0.192 192.0.0.255
    192.0.2.0 192.0.2.255
    192.31.196.1 192.52.193.1 192.88.99.1 192.88.99.2 192.175.48.1
    192.168.0.0 192.168.1.1 192.168.255.255
    198.18.0.0 198.19.255.255
    198.51.100.0 198.51.100.255
    203.0.113.0 203.0.113.255
    224.0.0.0 224.0.0.1 224.0.0.251 233.252.0.1 239.255.255.250 239.255.255.255
    240.0.0.0 255.255.255.254 255.255.255.255
    :: ::1 ::2
    ::127.0.0.1 ::10.0.0.1 ::8.8.8.8
    ::ffff:127.0.0.1 ::ffff:169.254.169.254 ::ffff:8.8.8.8 ::ffff:7f00:1
    ::ffff:0:127.0.0.1 ::ffff:0:8.8.8.8
    64:ff9b::127.0.0.1 64:ff9b::a9fe:a9fe 64:ff9b::8.8.8.8
    64:ff9b:1::1 64:ff9b:1:ffff:ffff:ffff:10.0.0.1
    100::1 100:0:0:1::1
    2001::1 2001:0:4136:e378:8000:63bf:80ff:fffe
    2001:1::1 2001:1::2 2001:2::1 2001:3::1 2001:4:112::1 2001:10::1 2001:20::1 2001:30::1 2001:1ff:ffff::
    2001:db8::1 2001:db8:ffff:ffff:ffff:ffff:ffff:ffff
    2002:7f00:1:: 2002:a9fe:a9fe::1 2002:808:808::1
    2606:4700::5efe:10.0.0.1 2606:4700::200:5efe:127.0.0.1
    2620:4f:8000::1 3ffe::1 3fff::1 3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff
    4000::1 5f00::1 8000::1 f000::1
    fc00::1 fd00::1 fd00:ec2::254 fd00:ec2::23 fd20:ce::254 fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff
    fe80::1 fe80::a9fe:a9fe fe80::1%1 febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff
    fec0::1 feff::1
    ff01::1 ff02::1 ff02::fb ff05::2 ff0e::1
    2606:4700::1111%1
"""

_GLOBAL = """
    1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 93.184.215.14 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0
    168.63.129.15 168.63.129.17 169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 191.255.255.255 192.0.1.0
    192.0.3.0 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 198.51.99.255 198.51.101.0 203.0.112.255
    203.0.114.0 223.255.255.255
    2606:4700:4700::1111 2001:4860:4860::8888 2001:200::1 2a00:1450:4001:81b::200e 2400:cb00:2048:1::c629:d7a2
    2003::1 2001:db7:ffff::1 2001:db9::1 3ffd::1
"""
NOT_GLOBAL, GLOBAL = _NOT_GLOBAL.split(), _GLOBAL.split()


def of_names(*answers: list[str]) -> Names:
    return Names({HOST: list(answers)})


@pytest.mark.parametrize("text", NOT_GLOBAL)
def test_a_name_that_leads_anywhere_but_out_is_not_connected_to(text: str):
    names, roads = of_names([text]), Roads()
    with pytest.raises(Unfetched, match=r"leads to .*, which is \w+") as failure:
        fetch(AT, wire(roads, names))
    assert roads.asked == []
    assert names.asked == [HOST]
    assert not failure.value.again


@pytest.mark.parametrize("text", NOT_GLOBAL)
@pytest.mark.parametrize("before", [True, False])
def test_one_bad_address_among_good_ones_is_enough(text: str, before: bool):
    roads = Roads()
    good = [PUBLIC, PUBLIC_2]
    with pytest.raises(Unfetched, match="which is"):
        fetch(AT, wire(roads, of_names([text, *good] if before else [*good, text])))
    assert roads.asked == []


@pytest.mark.parametrize("text", GLOBAL)
def test_the_open_internet_is_connected_to(text: str):
    """The neighbours of every block: the table is not wider than it says."""
    roads = Roads()
    with pytest.raises(Unfetched, match="cannot be reached"):
        fetch(AT, wire(roads, of_names([text])))
    assert set(roads.asked) == {(text, 443)}


def test_pythons_own_table_alone_would_let_many_through():
    """Why there is a table: should Python's ever be enough, this says so."""
    let_through = [text for text in NOT_GLOBAL if ip_address(text).is_global]
    assert {"224.0.0.1", "::127.0.0.1", "64:ff9b::a9fe:a9fe", "168.63.129.16", "fec0::1"} <= set(let_through)


def test_whatever_python_calls_private_is_refused_as_well():
    for block in range(256):
        for low in (0, 1, 128, 255):
            address = ip_address(bytes([block, low, low, low]))
            assert (why_not_global(address) is None) <= address.is_global


@pytest.mark.parametrize(
    "text", ["", "localhost", "127.1", "0x7f.1", "2130706433", "127.0.0.1\n", "1.2.3.4/32", "010.0.0.1"]
)
def test_a_resolver_that_gives_no_ip_address_leads_nowhere(text: str):
    roads = Roads()
    with pytest.raises(Unfetched, match="no IP address"):
        fetch(AT, wire(roads, of_names([text])))
    assert roads.asked == []


def test_a_name_without_any_address_leads_nowhere():
    roads = Roads()
    with pytest.raises(Unfetched, match="no IP address"):
        fetch(AT, wire(roads, of_names([])))
    assert roads.asked == []


def test_a_resolver_that_rebinds_is_asked_once_and_changes_nothing():
    """Global at the first look, this machine at every later one: the connection is to what was judged."""
    names = of_names([PUBLIC], ["127.0.0.1"])
    with picture_host({"/a.png": said(PNG)}, good_tls()) as host:
        roads = Roads(host.port)
        assert fetch(AT, wire(roads, names)) == PNG
    assert names.asked == [HOST]
    assert roads.asked == [(PUBLIC, 443)]


@pytest.mark.parametrize("second", ["127.0.0.1", "169.254.169.254", "::1", "fd00:ec2::254", "::ffff:10.0.0.1"])
def test_a_resolver_that_rebinds_between_two_tries_is_caught_at_the_second(second: str):
    names, clock = of_names([PUBLIC], [second]), Clock()
    with picture_host({"/a.png": said(b"", "503 Busy")}, good_tls()) as host:
        roads = Roads(host.port)
        with pytest.raises(Unfetched, match="which is"):
            fetch(AT, wire(roads, names, clock))
    assert roads.asked == [(PUBLIC, 443)]
    assert clock.waited_s == [1.0]


@pytest.mark.parametrize("peer", ["127.0.0.1", "10.0.0.1", PUBLIC_2, "::ffff:93.184.215.14", "fe80::1%1"])
def test_a_peer_that_is_not_what_was_pinned_hears_nothing(peer: str):
    with picture_host({"/a.png": said(PNG)}, good_tls()) as host:
        roads = Roads(host.port, peer)
        with pytest.raises(Unfetched, match="was to be reached at"):
            fetch(AT, wire(roads))
        assert host.heard == []
    assert len(roads.asked) == 1


def test_an_ipv6_peer_is_the_same_however_it_is_written():
    with picture_host({"/a.png": said(PNG)}, good_tls()) as host:
        long = str(ip_address(PUBLIC_6).exploded)
        assert fetch(AT, wire(Roads(host.port, long), of_names([PUBLIC_6]))) == PNG


def test_the_way_out_that_a_run_has_refuses_loopback_though_somebody_listens():
    """The real resolver and the real connector; nothing is put in their place."""
    with picture_host({"/a.png": said(PNG)}, good_tls()) as host:
        for name in ("localhost", "127.0.0.1"):
            with pytest.raises(Unfetched, match="this machine itself"):
                fetch(Address(name, host.port, "/a.png"), Wire(wait=Clock().wait))
        assert host.heard == []


def test_the_real_connector_connects_to_exactly_the_address_it_is_given():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        with connect(ip_address("127.0.0.1"), port, 5.0) as opened:
            assert opened.getpeername() == ("127.0.0.1", port)
            assert opened.gettimeout() == 5.0
        listening.close()
        with pytest.raises(OSError, match="refused"):
            connect(ip_address("127.0.0.1"), port, 5.0)


def test_the_real_resolver_gives_plain_addresses():
    assert set(look_up("localhost", 443)) <= {"127.0.0.1", "::1"}
    assert look_up("localhost", 443)


def test_a_name_that_is_not_there_is_not_tried_again_and_one_that_cannot_be_asked_for_is():
    roads, clock = Roads(), Clock()
    with pytest.raises(Unfetched, match="is not found"):
        fetch(AT, wire(roads, Names({}), clock))
    assert clock.waited_s == []

    def busy(host: str, port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    with pytest.raises(Unfetched, match="is not found"):
        fetch(AT, Wire(busy, roads, wait=clock.wait))
    assert clock.waited_s == [1.0, 4.0]
    assert roads.asked == []
