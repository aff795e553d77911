"""The catalogue: our two files are right, a wrong one is refused by line, loading never re-scales money."""

from datetime import UTC, datetime
from decimal import Decimal
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from hypothesis import given
from hypothesis import strategies as st

from accounts.catalogue import (
    BadCatalogue,
    Coin,
    Kind,
    parse_coins,
    parse_demo_parameters,
    read_coins,
    read_demo_parameters,
)
from accounts.catalogue.loading import Loaded, PlacesInUse, load
from accounts.commands import Actor
from accounts.models import Asset, LedgerAccount

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
SYSTEM = Actor.job("test")
HEADER = "symbol,name,places,kind,loanable,collateral"
DEMO_HEADER = (
    "symbol,start_price_usd,daily_volatility,tiers,liquidation_rank,flexible_annual_rate,"
    "fixed_30_annual_rate,fixed_60_annual_rate,max_loan_usd"
)
DEMO_ROW = "BTC,91500,0.026,0:1;10000000:0.8,10,0.049,0.056,0.061,100000000"


def test_there_are_at_least_600_coins_to_lend_and_as_many_to_pledge() -> None:
    """R-GEN-01: 8 places at most, and the columns of the database hold every row."""
    coins = read_coins()
    assert len([coin for coin in coins if coin.kind != Kind.FIAT]) >= 620
    assert len([coin for coin in coins if coin.loanable]) >= 600
    assert len([coin for coin in coins if coin.collateral]) >= 600
    assert len({coin.symbol for coin in coins}) == len(coins)
    assert max(coin.places for coin in coins) == 8


@pytest.mark.parametrize(
    "coin",
    [
        Coin("BTC", "Bitcoin", 8, Kind.CRYPTO, True, True),
        Coin("ETH", "Ethereum", 8, Kind.CRYPTO, True, True),
        Coin("USDT", "Tether USD", 8, Kind.STABLE, True, True),
        Coin("USDC", "USD Coin", 8, Kind.STABLE, True, True),
        Coin("XRP", "XRP", 6, Kind.CRYPTO, True, True),
        Coin("1INCH", "1inch", 8, Kind.CRYPTO, True, True),
        Coin("EURC", "Euro Coin", 8, Kind.CRYPTO, True, True),  # pegged, but not to the dollar
        Coin("EUR", "Euro", 2, Kind.FIAT, True, False),
        Coin("JPY", "Japanese Yen", 0, Kind.FIAT, False, False),
    ],
    ids=lambda coin: coin.symbol,
)
def test_well_known_coins_are_right(coin: Coin) -> None:
    assert {each.symbol: each for each in read_coins()}[coin.symbol] == coin


def test_thirty_known_coins_carry_demo_parameters() -> None:
    """R-GEN-30, R-GEN-31"""
    coins = {coin.symbol: coin for coin in read_coins()}
    demo = {each.symbol: each for each in read_demo_parameters()}
    assert len(demo) == 30
    assert all(coins[symbol].loanable and coins[symbol].collateral for symbol in demo)
    assert demo["BTC"].tiers == (
        (Decimal(0), Decimal(1)),
        (Decimal(10_000_000), Decimal("0.8")),
        (Decimal(100_000_000), Decimal("0.6")),
        (Decimal(1_000_000_000), Decimal(0)),
    )
    assert len({each.liquidation_rank for each in demo.values()}) == 30
    for each in demo.values():
        ratios = [ratio for _, ratio in each.tiers]
        assert ratios == sorted(ratios, reverse=True)
        assert each.flexible_rate < each.fixed_30_rate < each.fixed_60_rate
        if coins[each.symbol].kind == Kind.STABLE:
            assert abs(each.start_price - 1) < Decimal("0.01")
            assert ratios[0] >= Decimal("0.98")


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("btc,Bitcoin,8,crypto,1,1", "symbol 'btc'"),
        ("ＢＴＣ,Bitcoin,8,crypto,1,1", "symbol 'ＢＴＣ'"),
        (",Bitcoin,8,crypto,1,1", "symbol ''"),
        (f"{'B' * 21},Bitcoin,8,crypto,1,1", "symbol"),
        ("ETH,Again,8,crypto,1,1", "ETH is already on line 2"),
        ("BTC,,8,crypto,1,1", "name ''"),
        ("BTC, Bitcoin,8,crypto,1,1", "name ' Bitcoin'"),
        ("BTC,Bit\x07coin,8,crypto,1,1", "name"),
        (f"BTC,{'x' * 81},8,crypto,1,1", "name"),
        ("BTC,Bitcoin,9,crypto,1,1", "places '9'"),
        ("BTC,Bitcoin,-1,crypto,1,1", "places '-1'"),
        ("BTC,Bitcoin,8.0,crypto,1,1", "places '8.0'"),
        ("BTC,Bitcoin,８,crypto,1,1", "places '８'"),
        ("BTC,Bitcoin,,crypto,1,1", "places ''"),
        ("BTC,Bitcoin,8,coin,1,1", "kind 'coin' is not one of crypto, stable, fiat"),
        ("BTC,Bitcoin,8,crypto,2,1", "loanable '2'"),
        ("BTC,Bitcoin,8,crypto,1,yes", "collateral 'yes'"),
        ("BTC,Bitcoin,8,crypto,1", "5 cells instead of 6"),
        ("BTC,Bitcoin,8,crypto,1,1,1", "7 cells instead of 6"),
        ("", "0 cells instead of 6"),
        (f"BTC,{'x' * 500},8,crypto,1,1", "a cell is longer than 400"),
        ('BTC,"Bit"coin,8,crypto,1,1', "line 3"),
    ],
)
def test_a_bad_row_is_refused_with_its_file_and_line(row: str, complaint: str) -> None:
    with pytest.raises(BadCatalogue) as refusal:
        parse_coins([HEADER, "ETH,Ethereum,8,crypto,1,1", row], source="mine.csv")
    assert str(refusal.value).startswith("mine.csv, line 3: ")
    assert complaint in str(refusal.value)


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ([], "mine.csv, line 1: the columns must be symbol,name,places,kind,loanable,collateral."),
        ([HEADER], "mine.csv has no rows."),
        (["name,symbol,places,kind,loanable,collateral"], "mine.csv, line 1: the columns must be"),
    ],
)
def test_a_catalogue_without_header_or_rows_is_refused(lines: list[str], complaint: str) -> None:
    with pytest.raises(BadCatalogue) as refusal:
        parse_coins(lines, source="mine.csv")
    assert str(refusal.value).startswith(complaint)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("91500", "0", "start_price_usd '0' is not above 0"),
        ("91500", "NaN", "start_price_usd 'NaN' is not a plain number"),
        ("91500", "1e999", "start_price_usd '1e999' is not a plain number"),
        ("91500", "9１500", "is not a plain number"),
        ("0.026", "2.6", "daily_volatility '2.6' is above 1"),
        ("0.049", "4.9", "flexible_annual_rate '4.9' is above 1; write 8 % as 0.08"),
        ("0:1;10000000:0.8", "1:1;10000000:0.8", "do not rise from 0"),
        ("0:1;10000000:0.8", "0:1;5:0.8;5:0.7", "do not rise from 0"),
        ("0:1;10000000:0.8", "0:1;10000000", "tier '10000000' is not written floor:ratio"),
        ("0:1;10000000:0.8", "0:1.2", "tier ratio '1.2' is above 1"),
        ("0:1;10000000:0.8", "", "tier ''"),
        (",10,", ",-1,", "liquidation_rank '-1'"),
    ],
)
def test_bad_demo_parameters_are_refused_with_their_line(old: str, new: str, complaint: str) -> None:
    """R-GEN-31: tiers rise from 0; a rate in percent is noticed."""
    assert parse_demo_parameters([DEMO_HEADER, DEMO_ROW], source="demo.csv")[0].start_price == 91500
    with pytest.raises(BadCatalogue) as refusal:
        parse_demo_parameters([DEMO_HEADER, DEMO_ROW.replace(old, new, 1)], source="demo.csv")
    assert str(refusal.value).startswith("demo.csv, line 2: ")
    assert complaint in str(refusal.value)


@given(text=st.text(max_size=300))
def test_any_text_is_a_catalogue_or_refused(text: str) -> None:
    """Whatever an operator hands over, the answer is rows or a refusal, never a crash."""
    try:
        coins = parse_coins(StringIO(f"{HEADER}\n{text}"), source="mine.csv")
    except BadCatalogue:
        return
    assert all(coin.symbol.isascii() and 0 <= coin.places <= 8 for coin in coins)


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_an_unreadable_file_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "mine.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadCatalogue, match="cannot be read"):
        read_coins(path)


# -- Loading --
def one(symbol: str = "ZZTEST", *, name: str = "A coin", places: int = 8, loanable: bool = True) -> Coin:
    return Coin(symbol, name, places, Kind.CRYPTO, loanable, True)


def booked(symbol: str) -> None:
    LedgerAccount.objects.create(
        code=f"custody:{symbol}",
        kind=LedgerAccount.Kind.CUSTODY,
        asset_id=symbol,
        normal=LedgerAccount.Normal.DEBIT,
    )


@pytest.mark.django_db
def test_loading_adds_and_updates_and_is_repeatable() -> None:
    assert load(coins=[one()], actor=SYSTEM, at=NOON) == Loaded(created=1, updated=0, unchanged=0)
    assert load(coins=[one()], actor=SYSTEM, at=NOON) == Loaded(created=0, updated=0, unchanged=1)
    changed = [one(name="Renamed", places=6, loanable=False), one("ZZTEST2")]
    assert load(coins=changed, actor=SYSTEM, at=NOON) == Loaded(created=1, updated=1, unchanged=0)
    asset = Asset.objects.get(symbol="ZZTEST")
    assert (asset.name, asset.places, asset.loanable, asset.collateral) == ("Renamed", 6, False, True)


@pytest.mark.django_db
def test_places_of_a_booked_asset_never_change_and_nothing_else_does_then() -> None:
    """R-GEN-01: an amount booked at 8 places may not be read at 6."""
    load(coins=[one()], actor=SYSTEM, at=NOON)
    booked("ZZTEST")
    with pytest.raises(PlacesInUse, match="ZZTEST is booked at 8 places and has ledger accounts") as refusal:
        load(coins=[one(name="Renamed", places=6), one("ZZTEST2")], actor=SYSTEM, at=NOON)
    assert refusal.value.code == "places_in_use"
    assert Asset.objects.get(symbol="ZZTEST").name == "A coin"
    assert not Asset.objects.filter(symbol="ZZTEST2").exists()
    # The rest of it may still change.
    assert load(coins=[one(name="Renamed")], actor=SYSTEM, at=NOON).updated == 1


@pytest.mark.django_db
def test_the_command_loads_the_catalogue_and_says_what_it_did() -> None:
    out = StringIO()
    call_command("load_assets", stdout=out)
    call_command("load_assets", stdout=out)
    count = len(read_coins())
    assert Asset.objects.count() >= count
    assert out.getvalue().splitlines()[-1] == f"{count} assets: 0 added, 0 changed, {count} as they were."
    bitcoin = Asset.objects.get(symbol="BTC")
    assert (bitcoin.name, bitcoin.places, bitcoin.kind) == ("Bitcoin", 8, Asset.Kind.CRYPTO)


@pytest.mark.django_db
def test_the_command_refuses_a_bad_file_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(f"{HEADER}\nZZTEST,A coin,8,crypto,1,1\nZZTEST2,A coin,9,crypto,1,1\n")
    with pytest.raises(CommandError, match=r"mine\.csv, line 3: places '9'"):
        call_command("load_assets", file=path)
    assert not Asset.objects.filter(symbol__startswith="ZZTEST").exists()
