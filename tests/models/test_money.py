from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxbatch.models.money import (
    CENTINEURONS_MAX,
    ZERO,
    Money,
    charge,
    charge_of_header,
    decimal_neurons,
    decimal_usd,
    exact,
    parse_usd,
)

amounts = st.integers(-(10**17), 10**17)
moneys = st.builds(Money, amounts, amounts)


@pytest.mark.parametrize(
    ("text", "nano_usd"),
    [
        ("20", 20_000_000_000),
        ("0.50", 500_000_000),
        ("$0.50", 500_000_000),
        (" 1 ", 1_000_000_000),
        ("1_000", 1_000_000_000_000),
        ("0", 0),
        ("-0", 0),
        ("0.000000001", 1),
        ("1.10000000000000", 1_100_000_000),
        ("1e2", 100_000_000_000),
        ("1000000000", 10**18),
    ],
)
def test_dollars_are_read_exactly(text: str, nano_usd: int):
    assert parse_usd(text) == nano_usd


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not an amount in US dollars"),
        ("$", "not an amount in US dollars"),
        ("twenty", "not an amount in US dollars"),
        ("1,50", "not an amount in US dollars"),
        ("$$5", "not an amount in US dollars"),
        ("5 USD", "not an amount in US dollars"),
        ("-1", "not an amount that can be spent"),
        ("-0.000000001", "not an amount that can be spent"),
        ("$-1", "not an amount that can be spent"),
        ("nan", "not an amount that can be spent"),
        ("-nan", "not an amount that can be spent"),
        ("snan", "not an amount that can be spent"),
        ("inf", "not an amount that can be spent"),
        ("-Infinity", "not an amount that can be spent"),
        ("1000000000.000000001", "not an amount that can be spent"),
        ("1e30", "not an amount that can be spent"),
        ("1e999999", "not an amount that can be spent"),
        ("0.0000000001", "more than nine decimals"),
        ("1e-10", "more than nine decimals"),
        ("1." + "0" * 40 + "1", "more than nine decimals"),  # beyond the 28 digits that Decimal calculates with
        ("1e-999999", "more than nine decimals"),
    ],
)
def test_what_is_no_budget_is_refused_with_the_reason(text: str, reason: str):
    with pytest.raises(ValueError, match=reason) as failure:
        parse_usd(text)
    assert repr(text) in str(failure.value)


@given(st.integers(0, 10**18))
def test_dollars_as_text_come_back_as_the_same_nano_dollars(nano_usd: int):
    assert parse_usd(exact(decimal_usd(nano_usd))) == nano_usd


@pytest.mark.parametrize(
    ("text", "centineurons"),
    [
        ("206.06", 20_606),
        (" 206.06 ", 20_606),
        ("0", 0),
        ("0.00", 0),
        ("3750", 375_000),
        ("7.5", 750),
        (".5", 50),
        ("5.", 500),
        ("0.001", 1),  # rounded up: never too little
        ("1.239", 124),
        ("00012.34", 1234),
        (str(CENTINEURONS_MAX // 100), CENTINEURONS_MAX),
    ],
)
def test_charge_header_is_read_to_the_hundredth(text: str, centineurons: int):
    assert charge_of_header(text) == charge(centineurons)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        ".",
        "1e5",
        "1E5",
        "-1",
        "+1",
        "1,5",
        "1.2.3",
        "nan",
        "inf",
        "0x10",
        "1_000.5",
        "1_000",
        "12 neurons",
        "١٢",  # digits, and not ASCII
        "½",
        "1" * 33,
        str(CENTINEURONS_MAX // 100) + ".01",
        "9" * 32,
    ],
)
def test_a_charge_header_that_is_no_plain_number_is_no_charge(text: str):
    assert charge_of_header(text) is None


@given(st.text(max_size=40))
def test_a_charge_header_never_raises_and_is_never_negative(text: str):
    found = charge_of_header(text)
    assert found is None or (found.centineurons >= 0 and found == charge(found.centineurons))


@given(st.decimals(0, 10**9, places=6))
def test_a_charge_is_never_read_as_less_than_it_says(neurons: Decimal):
    found = charge_of_header(f"{neurons:f}")
    assert found is not None
    assert neurons <= found.neurons < neurons + Decimal("0.01")


@given(moneys, moneys, st.integers(0, 10**6))
def test_sums_are_exact(one: Money, other: Money, count: int):
    assert one + other - other == one
    assert one * count == sum([one] * min(count, 50), ZERO) + one * (count - min(count, 50))


@given(amounts)
def test_exact_decimals_come_back_as_the_same_integers(amount: int):
    assert Decimal(exact(decimal_usd(amount))) * 10**9 == amount
    assert Decimal(exact(decimal_neurons(amount))) * 100 == amount
    assert decimal_usd(amount).scaleb(9) == amount
    assert decimal_neurons(amount).scaleb(2) == amount


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("0.041250000", "0.04125"),
        ("3750.00", "3750"),
        ("0", "0"),
        ("0.00", "0"),
        ("1E+3", "1000"),
        ("1E-9", "0.000000001"),
        ("-0.50", "-0.5"),
        ("100", "100"),
    ],
)
def test_exact_text_has_no_exponent_and_no_trailing_zeros(amount: str, text: str):
    assert exact(Decimal(amount)) == text


@given(st.integers(0, CENTINEURONS_MAX))
def test_a_hundredth_of_a_neuron_is_110_nano_dollars(centineurons: int):
    assert charge(centineurons).usd == charge(centineurons).neurons * Decimal("0.000011")
