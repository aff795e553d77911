"""The dialect's market and balances: our own coins, prices and ratios, told without a guess."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from risk.models import Price
from tests import build
from tests.build import NOON
from tests.loans import visit
from tests.programs import Program
from tests.risk.programs import Firm, freeze
from tests.shapes import refused, told

pytestmark = pytest.mark.django_db
PRICE = "/sapi/v1/margin/priceIndex"
INFO = "/api/v3/exchangeInfo"


@pytest.fixture
def firm() -> Firm:
    """Prices of NOON: BTC 60,000, ETH 3,000, USDT 1.02 USD."""
    made = Firm()
    build.prices(BTC="60000", ETH="3000", USDT="1.02")
    return made


def get(program: Program, path: str, **asked: Any) -> Any:
    return told(program.get(path, **asked), f"GET {path}")


def post(program: Program, path: str, **asked: Any) -> Any:
    return told(program.post(path, **asked), f"POST {path}")


def with_key_only(firm: Firm, path: str, **asked: Any) -> Any:
    """As clients ask for market data: nothing is signed."""
    return Client().get(path, asked, headers={"X-MBX-APIKEY": firm.program.key})


# --- Coins and pairs ----------------------------------------------------------------------------------


def test_what_is_listed_can_be_asked_for_without_a_key(firm: Firm) -> None:
    answer = Client().get(INFO)
    found = told(answer, f"GET {INFO}")
    assert [row["symbol"] for row in found["symbols"]] == ["BTCUSDT", "ETHUSDT"]
    assert found["rateLimits"][0]["limit"] == 6000
    assert {row["isSpotTradingAllowed"] for row in found["symbols"]} == {False}
    assert int(answer["X-MBX-USED-WEIGHT-1M"]) >= 20


@pytest.mark.parametrize(
    ("asked", "symbols"),
    [
        ({"symbol": "BTCUSDT"}, ["BTCUSDT"]),
        ({"symbols": '["BTCUSDT","ETHUSDT"]'}, ["BTCUSDT", "ETHUSDT"]),
        ({"permissions": "SPOT"}, ["BTCUSDT", "ETHUSDT"]),
        ({"permissions": '["MARGIN","LEVERAGED"]'}, []),
    ],
)
def test_some_of_them(firm: Firm, asked: dict[str, str], symbols: list[str]) -> None:
    found = told(Client().get(INFO, asked), f"GET {INFO}")
    assert [row["symbol"] for row in found["symbols"]] == symbols


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"symbol": "DOGEUSDT"}, -1121),
        ({"symbols": '["BTCUSDT","DOGEUSDT"]'}, -1121),
        ({"symbols": "[[[[["}, -1100),
        ({"symbols": "BTCUSDT"}, -1100),
    ],
)
def test_there_is_no_such_pair(firm: Firm, asked: dict[str, str], code: int) -> None:
    """TRUST B-06, B-18"""
    assert refused(Client().get(INFO, asked)) == (400, code)


def test_currencies_and_what_is_neither_lent_nor_pledged_is_no_pair(firm: Firm) -> None:
    build.asset("EUR", places=2, kind="fiat")
    found = told(Client().get(INFO), f"GET {INFO}")
    assert [row["symbol"] for row in found["symbols"]] == ["BTCUSDT", "ETHUSDT"]


def test_coins_and_pairs_of_margin(firm: Firm) -> None:
    """What can be borrowed and pledged; nothing is traded on margin here."""
    every = told(with_key_only(firm, "/sapi/v1/margin/allAssets"), "GET /sapi/v1/margin/allAssets")
    assert [(row["assetName"], row["isBorrowable"], row["isMortgageable"]) for row in every] == [
        ("BTC", True, True),
        ("ETH", True, True),
        ("USDT", True, True),
    ]
    pairs = told(with_key_only(firm, "/sapi/v1/margin/allPairs"), "GET /sapi/v1/margin/allPairs")
    assert [(row["symbol"], row["isMarginTrade"]) for row in pairs] == [
        ("BTCUSDT", False),
        ("ETHUSDT", False),
    ]
    assert len({row["id"] for row in pairs}) == 2
    one = told(
        with_key_only(firm, "/sapi/v1/margin/allPairs", symbol="ETHUSDT"), "GET /sapi/v1/margin/allPairs"
    )
    assert one == [pairs[1]]
    assert with_key_only(firm, "/sapi/v1/margin/isolated/allPairs").json() == []
    assert with_key_only(firm, "/sapi/v1/margin/allAssets", asset="DOGE").json() == []


@pytest.mark.parametrize("path", ["allAssets", "allPairs", "isolated/allPairs", "crossMarginCollateralRatio"])
def test_the_market_asks_for_a_key_and_takes_a_signature_too(firm: Firm, path: str) -> None:
    address = f"/sapi/v1/margin/{path}"
    assert refused(Client().get(address)) == (401, -2014)
    get(firm.program, address)


# --- Prices and ratios --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("symbol", "price"),
    [("BTCUSDT", "58823.529411764705"), ("ETHBTC", "0.05"), ("USDTBTC", "0.000017")],
)
def test_the_price_of_a_pair_is_that_of_its_coins(firm: Firm, symbol: str, price: str) -> None:
    """R-GEN-20: in USD each; cut at 12 decimals."""
    with visit.at(NOON):
        found = told(with_key_only(firm, PRICE, symbol=symbol), f"GET {PRICE}")
    assert found == {"calcTime": int(NOON.timestamp()) * 1000, "price": price, "symbol": symbol}


def test_no_price_is_told_that_is_not_fresh(firm: Firm) -> None:
    """R-GEN-22, R-GEN-21: old, doubted, or none at all."""
    with visit.at(NOON + timedelta(hours=1)):
        assert refused(with_key_only(firm, PRICE, symbol="BTCUSDT")) == (400, -3042)
    with visit.at(NOON + timedelta(seconds=2)):
        assert with_key_only(firm, PRICE, symbol="BTCUSDT").status_code == 200
        Price.objects.create(
            asset_id="BTC",
            price=1,
            observed_at=NOON + timedelta(seconds=1),
            source="test",
            status=Price.Status.QUARANTINED,
        )
        assert refused(with_key_only(firm, PRICE, symbol="BTCUSDT")) == (400, -3042)
        for symbol in ("DOGEUSDT", "BTC", "X" * 20):
            assert refused(with_key_only(firm, PRICE, symbol=symbol)) == (400, -3042)
    assert refused(with_key_only(firm, PRICE)) == (400, -1102)


def test_ratios_by_tier_and_coins_with_the_same_ones_together(firm: Firm) -> None:
    """R-GEN-31"""
    build.ratios("BTC", ("0", "1"), ("10000000", "0.8"))
    build.ratios("ETH", ("0", "1"), ("10000000", "0.8"))
    build.ratios("USDT")
    path = "/sapi/v1/margin/crossMarginCollateralRatio"
    found = {tuple(row["assetNames"]): row["collaterals"] for row in with_key_only(firm, path).json()}
    assert found == {
        ("BTC", "ETH"): [
            {"minUsdValue": "0", "maxUsdValue": "10000000", "discountRate": "1"},
            {"minUsdValue": "10000000", "discountRate": "0.8"},
        ],
        ("USDT",): [{"minUsdValue": "0", "discountRate": "1"}],
    }


# --- Balances -----------------------------------------------------------------------------------------


def test_spot_and_funding_with_what_they_are_worth(firm: Firm) -> None:
    """R-GEN-95: of the key's own account; in BTC at the last good price, however old."""
    build.deposit(firm.master, "ETH", "7.5")
    build.deposit(firm.master, "USDT", "51000", wallet="funding")
    spot, funding = "/sapi/v3/asset/getUserAsset", "/sapi/v1/asset/get-funding-asset"
    with visit.at(NOON + timedelta(days=1)):
        rows = post(firm.program, spot, needBtcValuation="True")
        plain = post(firm.program, spot, asset="ETH")
        in_funding = post(firm.program, funding, needBtcValuation="true")
        assert post(firm.of_sub, funding) == post(firm.program, spot, asset="DOGE") == []
        (of_sub,) = post(firm.of_sub, spot)
    assert [(row["asset"], row["free"], row["btcValuation"]) for row in rows] == [
        ("BTC", "2", "2"),
        ("ETH", "7.5", "0.375"),
    ]
    assert [(row["asset"], row["btcValuation"]) for row in plain] == [("ETH", "0")]
    assert [(row["free"], row["btcValuation"]) for row in in_funding] == [("51000", "0.867")]
    assert of_sub["free"] == "5"


def test_what_each_wallet_is_worth(firm: Firm) -> None:
    build.deposit(firm.master, "ETH", "1", wallet="funding")
    build.deposit(firm.master, "RARE", "100")  # nobody has said what it is worth
    path = "/sapi/v1/asset/wallet/balance"
    in_btc, in_usdt = get(firm.program, path), get(firm.program, path, quoteAsset="USDT")
    assert {row["walletName"]: row["balance"] for row in in_btc} == {
        "Spot": "2",
        "Funding": "0.05",
        "Fiat": "0",
    }
    assert [row["balance"] for row in in_usdt] == ["117647.05882352", "2941.17647058", "0"]
    detailed = get(firm.program, path, quoteAsset="USDT", needBalanceDetail="true")
    assert [(row["asset"], row["btcValuation"]) for row in detailed[0]["assetBalances"]] == [
        ("BTC", "2"),
        ("RARE", "0"),
    ]
    assert detailed[1]["assetBalances"][0]["assetName"] == "ETH"
    assert refused(firm.program.get(path, quoteAsset="RARE")) == (400, -3042)


def test_balances_cost_the_same_however_many(firm: Firm) -> None:
    def queries() -> list[int]:
        counted = []
        for name, asked in (
            ("POST /sapi/v3/asset/getUserAsset", {"needBtcValuation": "true"}),
            ("GET /sapi/v1/asset/wallet/balance", {"needBalanceDetail": "true"}),
            ("GET /sapi/v1/sub-account/spotSummary", {}),
            ("GET /sapi/v1/sub-account/list", {}),
            ("GET /sapi/v1/capital/withdraw/history", {}),
        ):
            method, path = name.split(" ")
            with CaptureQueriesContext(connection) as captured:
                assert firm.program.send(method, path, asked).status_code == 200
            counted.append(len(captured))
        return counted

    queries()
    before = queries()
    for number in range(4):
        build.deposit(build.account(firm.owner), f"COIN{number}", "3")
        build.deposit(firm.master, f"COIN{number}", "3")
    assert queries() == before


# --- Sub-accounts -------------------------------------------------------------------------------------


def test_the_master_lists_its_sub_accounts(firm: Firm) -> None:
    """R-GEN-10, R-GEN-95"""
    path = "/sapi/v1/sub-account/list"
    build.account(build.customer())
    managed = build.account(firm.owner, kind="sub_managed")
    rows = get(firm.program, path)["subAccounts"]
    assert [row["subUserId"] for row in rows] == [firm.sub.pk, firm.sibling.pk, managed.pk]
    assert [row["isManagedSubAccount"] for row in rows] == [False, False, True]
    assert (rows[0]["email"], rows[0]["remark"]) == (firm.sub.email, "Trading")
    assert get(firm.program, path, page=2, limit=2)["subAccounts"] == [rows[2]]
    assert get(firm.program, path, email=firm.sub.email)["subAccounts"] == [rows[0]]
    assert get(firm.program, path, email="nobody@example.com")["subAccounts"] == []
    assert refused(firm.of_sub.get(path)) == (401, -1002)


def test_a_frozen_sub_account_says_so(firm: Firm) -> None:
    """R-ADM-04"""
    path = "/sapi/v1/sub-account/list"
    freeze(firm.sub, at=NOON)
    with visit.at(NOON):
        rows = get(firm.program, path)["subAccounts"]
        assert [row["isFreeze"] for row in rows] == [True, False]
        assert get(firm.program, path, isFreeze="true")["subAccounts"] == [rows[0]]
        assert get(firm.program, path, isFreeze="false")["subAccounts"] == [rows[1]]


def test_what_all_of_them_have_is_worth(firm: Firm) -> None:
    """R-GEN-95"""
    path = "/sapi/v1/sub-account/spotSummary"
    found = get(firm.program, path)
    assert (found["totalCount"], found["masterAccountTotalAsset"]) == (2, "2")
    assert [row["totalAsset"] for row in found["spotSubUserAssetBtcVoList"]] == ["5", "0"]
    assert len(get(firm.program, path, size=1, page=2)["spotSubUserAssetBtcVoList"]) == 1
    assert refused(firm.of_sub.get(path)) == (401, -1002)
