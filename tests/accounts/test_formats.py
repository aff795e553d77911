"""Figures on pages: exact where it decides, one direction everywhere else, and no float on the way."""

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal as D

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.models import Asset
from accounts.templatetags import figures
from accounts.tongue import say

NBSP, MINUS = "\u00a0", "\u2212"
USDT = Asset(symbol="USDT", kind=Asset.Kind.STABLE)
JPY = Asset(symbol="JPY", kind=Asset.Kind.FIAT, places=0)
BTC = Asset(symbol="BTC", kind=Asset.Kind.CRYPTO)
NOW = datetime(2027, 1, 26, 8, 12, 4, tzinfo=UTC)


def unit(symbol: str) -> str:
    return f'<span class="unit">{NBSP}{symbol}</span>'


def tail(digits: str) -> str:
    return f'<span class="tail">{digits}</span>'


@pytest.mark.parametrize(
    ("value", "asset", "shown"),
    [
        (D("4027616.44"), "USDT", "4,027,616.44" + unit("USDT")),
        (D("920.54794521"), "USDT", "920.54" + tail("794521") + unit("USDT")),
        (D("30.00000000"), BTC, "30.00" + unit("BTC")),
        (D("0.10000001"), BTC, "0.10" + tail("000001") + unit("BTC")),
        (D("-5.5"), "ETH", f"{MINUS}5.50" + unit("ETH")),
        (D("-0.00"), "ETH", "0.00" + unit("ETH")),
        (12, JPY, "12" + unit("JPY")),
        (D("1.5"), "", "1.50"),
        (D("99999999999999999999.12345678"), "", "99,999,999,999,999,999,999.12" + tail("345678")),
    ],
)
def test_amount_cuts_nothing(value: D, asset: Asset | str, shown: str) -> None:
    """R-GEN-01: every ledger place is on the page; zeros past the second are dropped."""
    assert figures.amount(value, asset) == shown


def test_posting_shows_all_ledger_places() -> None:
    """R-GEN-01"""
    assert figures.posting(D("10"), "BTC") == "10.00" + tail("000000") + unit("BTC")
    assert figures.posting(D("12"), JPY) == "12" + unit("JPY")


def test_headlines_round_what_is_owed_up_and_what_is_held_down() -> None:
    """R-GEN-02: and only for fiat and stable coins; other coins stay exact."""
    assert figures.owed(D("27616.43835630"), USDT) == "27,616.44" + unit("USDT")
    assert figures.held(D("508383.56999999"), USDT) == "508,383.56" + unit("USDT")
    assert figures.owed(D("1.23456789"), BTC) == "1.23" + tail("456789") + unit("BTC")
    assert figures.held(D("1.23456789"), BTC) == "1.23" + tail("456789") + unit("BTC")
    assert figures.owed(D("27616.43835630"), "USDT") == figures.amount(D("27616.43835630"), "USDT")


def test_plain_and_signed_amounts() -> None:
    assert figures.plain(D("24.69558650"), "BTC") == f"24.6955865{NBSP}BTC"
    assert figures.change(D("400000"), "USDT") == "+400,000.00" + unit("USDT")
    assert figures.change(D("-400000"), "USDT") == f"{MINUS}400,000.00" + unit("USDT")
    assert figures.change(D(0), "USDT") == "0.00" + unit("USDT")


def test_a_unit_cannot_bring_markup() -> None:
    assert "<b>" not in figures.amount(D(1), "<b>")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (D("60000"), "60,000.00"),
        (D("0.00001234"), "0.00001234"),
        (D("51948.051948051948"), "51,948.05"),
        (D("146.526832451234"), "146.53"),
        (D("0.081234567890123"), "0.0812346"),
        (D("0.000012345678901"), "0.0000123457"),
    ],
)
def test_price_as_quoted(value: D, shown: str) -> None:
    assert figures.price(value) == shown


def test_usd_is_to_the_cent() -> None:
    assert figures.usd(D("6300000")) == "6,300,000.00" + unit("USD")
    assert figures.usd(D("0.005")) == "0.00" + unit("USD")
    assert figures.usd(D("0.015")) == "0.02" + unit("USD")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (D("0.639304"), "63.93"),
        (D("0.76996"), "76.99"),
        (D("0.769999999999999999999999999999999999999999"), "76.99"),
        (D("0.77"), "77.00"),
        (D("0.7700001"), "77.00"),
        (D("0.90999"), "90.99"),
        (D("1.342"), "134.20"),
        (D(0), "0.00"),
    ],
)
def test_ltv_is_cut_never_rounded_onto_a_line(value: D, shown: str) -> None:
    """R-GEN-41: 77.00 is a call, so 76.996 may not read 77.00."""
    assert figures.ltv(value) == f"{shown}{NBSP}%"


def test_ltv_without_collateral_has_no_number() -> None:
    """R-GEN-40"""
    assert figures.ltv(None) == "\u221e"


@given(
    ltv=st.decimals(0, 3, places=20),
    line=st.integers(1, 20_000).map(lambda hundredths: D(hundredths).scaleb(-4)),
)
def test_printed_ltv_stands_on_the_true_side_of_every_line(ltv: D, line: D) -> None:
    """R-GEN-41: for any line with at most two decimals."""
    printed = D(figures.ltv(ltv).removesuffix(f"{NBSP}%").replace(",", "")).scaleb(-2)
    assert (printed >= line) == (ltv >= line)


def test_ratios() -> None:
    assert figures.pct(D("-0.2673")) == f"{MINUS}26.73{NBSP}%"
    assert figures.pct(D("0.1"), "+") == f"+10.00{NBSP}%"
    assert figures.pct(D(0), "+") == f"0.00{NBSP}%"
    assert figures.rate(D("0.084000000000")) == f"8.40{NBSP}%"
    assert figures.rate(D("0.084000000001")) == f"8.4000000001{NBSP}%"
    assert figures.line(D("0.72")) == f"72{NBSP}%"
    assert figures.line(D("0.7")) == f"70{NBSP}%"
    assert figures.line(D("0.725")) == f"72.5{NBSP}%"
    assert figures.pp(D("0.0635")) == f"+6.35{NBSP}pp"
    assert figures.pp(D("-0.003")) == f"{MINUS}0.30{NBSP}pp"
    assert figures.pp(D(0)) == f"0.00{NBSP}pp"


@given(st.decimals(-(10**20), 10**20, places=8))
def test_what_is_printed_can_be_read_back_exactly(value: D) -> None:
    """R-GEN-01"""
    printed = figures.plain(value).replace(",", "").replace(MINUS, "-")
    assert D(printed) == value


@pytest.mark.parametrize("value", [0.1, float("nan"), True, D("NaN"), D("Infinity")])
def test_what_is_no_exact_number_is_a_bug(value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        figures.amount(value, "USDT")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name",
    [
        "amount",
        "posting",
        "owed",
        "held",
        "plain",
        "change",
        "usd",
        "price",
        "pct",
        "rate",
        "line",
        "pp",
        "when",
    ],
)
def test_nothing_is_shown_as_nothing(name: str) -> None:
    assert getattr(figures, name)(None) == ""
    assert getattr(figures, name)("") == ""


def test_swedish_pages_write_numbers_the_swedish_way(settings: object) -> None:
    settings.LANGUAGE_CODE = "sv"  # type: ignore[attr-defined]
    assert say(figures.plain(D("4027616.438"), "USDT")) == f"4\u202f027\u202f616,438{NBSP}USDT"
    assert figures.amount(D("0.123"), "BTC") == "0,12" + tail("3") + unit("BTC")


def test_when_is_utc_whatever_zone_it_came_in() -> None:
    """R-GEN-04"""
    stockholm = NOW.astimezone(timezone(timedelta(hours=1)))
    assert figures.when(stockholm) == '<time datetime="2027-01-26T08:12:04Z">26 Jan 2027, 08:12 UTC</time>'
    assert ">26 Jan 2027, 08:12:04 UTC<" in figures.when(NOW, "seconds")
    assert ">26 Jan 2027<" in figures.when(NOW, "day")
    assert ">08:12:04 UTC<" in figures.when(NOW, "clock")
    assert ">08:12:04<" in figures.when(NOW, "time")
    assert figures.when(date(2027, 1, 6)) == '<time datetime="2027-01-06">6 Jan 2027</time>'
    with pytest.raises(ValueError, match="no time zone"):
        figures.when(datetime(2027, 1, 26))  # noqa: DTZ001 -- the point


@pytest.mark.parametrize(
    ("left", "shown"),
    [
        (timedelta(hours=1, minutes=48, seconds=59), "1 h 48 min"),
        (timedelta(minutes=46), "46 min"),
        (timedelta(seconds=59), "under 1 min"),
        (timedelta(hours=47, minutes=59, seconds=59), "47 h 59 min"),
        (timedelta(hours=48), "28 Jan 2027, 08:12 UTC"),
        (-timedelta(hours=3, minutes=2), "3 h 2 min ago"),
        (-timedelta(hours=48), "24 Jan 2027, 08:12 UTC"),
    ],
)
def test_countdown_never_promises_a_minute_too_many(left: timedelta, shown: str) -> None:
    assert f">{shown}<" in figures.countdown(NOW + left, NOW).replace(NBSP, " ")


@pytest.mark.parametrize(
    ("minutes", "shown"),
    [
        (0, "under 1 min"),
        (5, "5 min"),
        (90, "1 h 30 min"),
        (2879, "47 h 59 min"),
        (2880, "2 d 0 h"),
        (3240, "2 d 6 h"),
    ],
)
def test_lengths_of_time_are_said_in_words(minutes: int, shown: str) -> None:
    """Cut, never rounded up; nobody counts 3,240 minutes."""
    assert figures.minutes(minutes).replace(NBSP, " ") == shown
    assert figures.duration(timedelta(minutes=minutes, seconds=59)).replace(NBSP, " ") == shown
    assert figures.minutes(None) == figures.minutes("") == ""


@pytest.mark.parametrize(
    ("left", "shown", "seconds"),
    [
        (timedelta(hours=100, minutes=30), "4 d 4 h", 361800),
        (timedelta(hours=7), "7 h 0 min", 25200),
        (timedelta(seconds=59, milliseconds=900), "under 1 min", 59),
        (-timedelta(hours=1), "under 1 min", 0),
    ],
)
def test_what_is_left_is_said_however_long_and_counts_on(left: timedelta, shown: str, seconds: int) -> None:
    """R-VIP-44: the script counts on from the seconds that the server said; without it the words stand."""
    told = figures.left(NOW + left, NOW).replace(NBSP, " ")
    assert f'data-left="{seconds}"' in told
    assert f">{shown}<" in told
    assert figures.left(None, NOW) == figures.left("", NOW) == ""
