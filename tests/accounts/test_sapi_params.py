"""What a parameter of the dialect may be: amounts as Python and JavaScript print them, and strictly nothing else."""

import json
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.sapi import params
from accounts.sapi.errors import Denied
from accounts.sapi.params import Bad, Param, read_amount

MOST = Decimal(10) ** 17 - Decimal("0.00000001")
amounts = st.decimals(min_value="0.00000001", max_value=MOST, places=8).filter(bool)
floats = st.floats(min_value=1e-8, max_value=1e16, allow_nan=False)


def denied(param: Param, text: str | None) -> int:
    with pytest.raises(Denied) as refusal:
        param.value(text)
    assert len(refusal.value.message) <= 300
    if text and len(text) > 5:
        assert text not in refusal.value.message
    return refusal.value.number


def javascript(value: float) -> str:
    """As JavaScript prints a number: an exponent of one digit, plain digits up to 1e21, no `.0`."""
    text = repr(value)
    if "e" in text:
        mantissa, _, exponent = text.partition("e")
        if 0 <= int(exponent) < 21:
            return f"{Decimal(text):f}"
        return f"{mantissa}e{'+' if int(exponent) > 0 else ''}{int(exponent)}"
    if 0 < abs(value) < 1e-6:
        return text
    return text.removesuffix(".0")


# --- Amounts --------------------------------------------------------------------------------------------


@given(amount=amounts)
def test_every_amount_is_read_exactly_however_it_is_printed(amount: Decimal) -> None:
    """SAPI 6.3: plain, by str, by normalize with its exponent, and as JSON text"""
    for text in (f"{amount:f}", str(amount), str(amount.normalize()), f"{amount.normalize():f}"):
        assert read_amount(text) == amount
        assert read_amount(text.lower()) == amount


@given(value=floats)
def test_a_float_is_read_as_it_is_printed_or_refused_for_its_precision(value: float) -> None:
    """SAPI 6.3: Python's repr and JavaScript's String; never rounded"""
    exact = Decimal(repr(value))
    for text in (repr(value), javascript(value), json.dumps(value)):
        if exact == exact.quantize(Decimal("0.00000001")):
            assert read_amount(text) == exact
        else:
            with pytest.raises(Bad) as bad:
                read_amount(text)
            assert bad.value.code == -1111


@given(cents=st.integers(1, 10**15), places=st.integers(0, 8))
def test_floats_of_few_digits_are_always_read(cents: int, places: int) -> None:
    """SAPI 6.3: 15 digits survive a float"""
    amount = Decimal(cents).scaleb(-places)
    for text in (repr(float(amount)), javascript(float(amount))):
        assert read_amount(text) == amount


@given(text=st.text(st.sampled_from("0123456789.eE+-_, x\u0661"), max_size=30))
def test_nothing_else_passes(text: str) -> None:
    """B-01 to B-05: what is read is what a Decimal of the text is, above 0 and with at most 8 places"""
    try:
        found = read_amount(text)
    except Bad:
        return
    assert text.isascii()
    assert text[0].isdigit()
    assert found == Decimal(text)
    assert 0 < found <= MOST
    assert found == found.quantize(Decimal("0.00000001"))


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("1000.5", "1000.5"),
        ("10.0", "10"),
        ("0.00000001", "0.00000001"),
        ("1e-05", "0.00001"),
        ("1e-8", "0.00000001"),
        ("1E-8", "0.00000001"),
        ("1.50E-7", "0.00000015"),
        ("1e+16", "10000000000000000"),
        ("1.5E+3", "1500"),
        ("99999999999999999.99999999", "99999999999999999.99999999"),
    ],
)
def test_what_clients_print(text: str, amount: str) -> None:
    """SAPI 6.3"""
    assert params.amount("amount").value(text) == Decimal(amount)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        *((text, -1100) for text in ("1e999", "1e1000000", "9" * 1000, "9" * 19, "1e17", "1e99", "1e21")),
        *(
            (text, -1100)
            for text in ("NaN", "sNaN", "Infinity", "-Infinity", "inf", "null", "true", "[]", "{}")
        ),
        *(
            (text, -1100)
            for text in ("0", "-0", "-1", "+1", "--1", "0.0", "0e5", "0E-8", "-1e-5", "0.00000000")
        ),
        *(
            (text, -1100)
            for text in (".5", "1.", "0001", "00.5", "01", "1e", "e5", "1e-", "1.e5", "10e2", "0.5e3")
        ),
        *(
            (text, -1100)
            for text in ("１２３", "٣", "१", "¹", "1\u00a0", "\u200f1", "1_000", "1,000", " 1", "1 ")
        ),
        *(
            (text, -1100)
            for text in ("1\n", "1\x00", "\t1", "0x10", "1e5\n", "1d5", "1e٣", "1e++5", "1e 5", "$1")
        ),
        *(
            (text, -1111)
            for text in ("0.000000001", "1e-9", "1e-18", "1e-99", "1.123456789", "1.0000000000000000001")
        ),
        *((text, -1111) for text in ("1.000000000", "1.23456789e-1", "1.123456789012345678901234E+5")),
        ("1" * 2001, -1100),
    ],
)
def test_what_is_no_amount(text: str, code: int) -> None:
    """B-01 to B-05: with the code that says why, and never the text"""
    assert denied(params.amount("amount"), text) == code


# --- The others -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("param", "text", "value"),
    [
        (params.whole("limit", low=1, high=100), "100", 100),
        (params.whole("limit", low=1, high=100), "10.0", 10),
        (params.whole("limit"), "0", 0),
        (params.identity("orderId"), "9007199254740991", 2**53 - 1),
        (params.millis("startTime"), "1767225600123", datetime(2026, 1, 1, 0, 0, 0, 123000, UTC)),
        *((params.flag("isFlexibleRate"), text, True) for text in ("true", "True", "TRUE", "tRuE")),
        (params.flag("isFlexibleRate"), "False", False),
        (params.symbol("loanCoin"), "USDT", "USDT"),
        (params.symbols("collateralCoin", most=3), "BTC,ETH", ("BTC", "ETH")),
        (params.symbols("collateralCoin", most=3), "BTC, ETH", ("BTC", "ETH")),
        (params.symbols("collateralCoin", most=3, earn=True), "BTC,BTC-Earn", ("BTC", "BTC-Earn")),
        (params.uids("collateralAccountId", most=2), "12345678,23456789", (12345678, 23456789)),
        (params.one_of("type", "MAIN_MARGIN", "MARGIN_MAIN"), "MAIN_MARGIN", "MAIN_MARGIN"),
        (params.words("remark", longest=5), "a b,c", "a b,c"),
        (params.email("toEmail"), "A b@x.com", "a+b@x.com"),
        (params.email("toEmail"), "é@x.com", "é@x.com"),
    ],
)
def test_what_is_read(param: Param, text: str, value: Any) -> None:
    """SAPI 6.3"""
    found = param.value(text)
    assert (found, type(found)) == (value, type(value))


WHOLE = params.whole("limit", low=1, high=100)
SYMBOLS, UIDS = params.symbols("collateralCoin", most=3), params.uids("collateralAccountId", most=3)


@pytest.mark.parametrize(
    ("param", "text", "code"),
    [
        *((WHOLE, text, -1130) for text in ("0", "101", "9" * 19)),
        *((WHOLE, text, -1100) for text in ("-1", "+1", "1e2", "1.5", "01", " 1", "1\n", "٣", "9" * 20, "0x1", "1,2")),
        *((params.identity("orderId"), text, -1130) for text in ("0", str(2**53), str(2**63 - 1))),
        *((params.identity("orderId"), text, -1100) for text in ("abc", str(2**64), "-1", "[1]", "null", "1;")),
        *((params.millis("startTime"), text, -1100) for text in ("0", "-1", "1.5", "now", "12345678901234567")),
        (params.millis("startTime"), "9999999999999", -1130),
        *((params.flag("is"), text, -1100) for text in ("1", "0", "yes", " true", "tru\u0065\u0301", "\u212arue")),
        *((params.symbol("loanCoin"), text, -1100) for text in ("usdt", "US DT", "U" * 21, "BTC-Earn", "ＢＴＣ", "A'")),
        *((SYMBOLS, text, -1100) for text in ("BTC,,ETH", ",BTC", "BTC;ETH", "BTC\u00a0", "BTC-Earn", "btc")),
        *((SYMBOLS, text, -1130) for text in ("BTC,BTC", "A,B,C,D")),
        *((UIDS, text, -1100) for text in ("1,,2", "0", "01", "-1", "1;2", str(2**53), "1\u00a0", "a")),
        *((UIDS, text, -1130) for text in ("1,1", "1,2,3,4")),
        *((params.one_of("type", "A", "B"), text, -1130) for text in ("a", "C", " A", "A,B")),
        *((params.words("remark", longest=5), text, -1100) for text in ("123456", "é", "a\n", "\x1b[1m", "\x7f")),
        *((params.email("toEmail"), text, -1100) for text in ("a", "a@", "@x", "a@x@y", "a\n@x.com", "a" * 250 + "@x")),
    ],
)  # fmt: skip
def test_what_is_refused(param: Param, text: str, code: int) -> None:
    """B-02 to B-07"""
    assert denied(param, text) == code


def test_what_is_not_sent_or_empty() -> None:
    """SAPI 7"""
    needed, free = params.amount("amount", required=True), params.whole("limit", default=10)
    assert denied(needed, None) == denied(needed, "") == -1102
    assert free.value(None) == 10
    assert denied(free, "") == -1105
    assert denied(params.words("remark", longest=5000), "x" * 2001) == -1100


@given(text=st.text(max_size=60))
def test_no_text_breaks_a_reader(text: str) -> None:
    """B-06: a value or the dialect's no, whatever comes"""
    for param in (
        *(
            WHOLE,
            SYMBOLS,
            UIDS,
            params.identity("a"),
            params.millis("a"),
            params.amount("a"),
            params.flag("a"),
        ),
        *(
            params.symbol("a"),
            params.one_of("a", "A", "B"),
            params.words("a", longest=9),
            params.email("a"),
        ),
    ):
        with suppress(Denied):
            assert param.value(text) is not None
