"""The dialect about accounts and wallets: what a key sees of them, and which sub-accounts it opens."""

import json
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts import people
from accounts.commands import Actor, acting
from accounts.membership import NotYourPart
from accounts.models import Account, Customer, User
from accounts.sapi.registry import endpoints
from tests import build
from tests.build import BUILDER, LONG_AGO
from tests.loans import visit
from tests.programs import Program, api_key
from tests.shapes import misshapen, refused, told

pytestmark = pytest.mark.django_db
GOLDEN = Path(settings.BASE_DIR).parent / "shared" / "spec" / "sapi_golden.json"
VIRTUAL = "POST /sapi/v1/sub-account/virtualSubAccount"


class Firm:
    """A firm with a sub-account that has 1.5 BTC, its member, and a key for each of the two accounts."""

    def __init__(self) -> None:
        self.user: User = build.user()
        self.owner: Customer = build.customer(member=self.user, vip_level=3)
        self.master: Account = build.master(self.owner)
        self.sub: Account = build.account(self.owner, label="Trading")
        build.deposit(self.sub, "BTC", "1.5")
        self.program = Program(api_key(self.master, self.user))
        self.of_sub = Program(api_key(self.sub, self.user))


@pytest.fixture
def firm() -> Firm:
    return Firm()


# --- General ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "says"),
    [("/api/v3/ping", {}), ("/sapi/v1/system/status", {"status": 0, "msg": "normal"})],
)
def test_what_needs_no_key(path: str, says: dict[str, object]) -> None:
    answer = Client().get(path)
    assert (answer.status_code, answer.json()) == (200, says)


def test_an_account_tells_its_level_and_that_it_has_no_margin(firm: Firm) -> None:
    """R-VIP-01"""
    found = told(firm.program.get("/sapi/v1/account/info"), "GET /sapi/v1/account/info")
    assert found.pop("vipLevel") == 3
    assert set(found.values()) == {False}


def test_a_key_tells_what_it_may(firm: Firm) -> None:
    reader = Program(api_key(firm.master, firm.user, "can_read", networks=()))
    name = "GET /sapi/v1/account/apiRestrictions"
    whole = told(firm.program.get("/sapi/v1/account/apiRestrictions"), name)
    with visit.at(LONG_AGO + timedelta(days=1)):  # from anywhere, it lives for 90 days
        less = told(reader.get("/sapi/v1/account/apiRestrictions"), name)
    may = {
        "enableReading",
        "enableWithdrawals",
        "enableInternalTransfer",
        "permitsUniversalTransfer",
        "enableSpotAndMarginTrading",
    }
    assert {one for one, value in whole.items() if value is True} == may | {"ipRestrict"}
    assert {one for one, value in less.items() if value is True} == {"enableReading"}


@pytest.mark.skipif(not GOLDEN.exists(), reason="the golden shapes are not beside this project")
@pytest.mark.parametrize(
    "name",
    [
        "GET /sapi/v1/account/info",
        "GET /sapi/v1/system/status",
        "GET /sapi/v1/margin/allAssets",
        "GET /sapi/v1/margin/priceIndex",
        "GET /sapi/v1/margin/crossMarginCollateralRatio",
        "GET /sapi/v1/sub-account/list",
        "GET /sapi/v1/sub-account/universalTransfer",
        "POST /sapi/v1/sub-account/universalTransfer",
        "GET /sapi/v1/asset/transfer",
        "POST /sapi/v1/asset/transfer",
        "POST /sapi/v3/asset/getUserAsset",
    ],
)
def test_examples_have_the_golden_shape(name: str) -> None:
    method, path = name.split(" ")
    golden = json.loads(GOLDEN.read_text())[name]
    assert misshapen(endpoints[method, path].example, golden) == []


# --- Balances -----------------------------------------------------------------------------------------


def test_an_account_shows_every_coin_or_those_it_has(firm: Firm) -> None:
    """R-GEN-95: of the key's own account."""
    build.asset("USDT")
    every = told(firm.of_sub.get("/api/v3/account"), "GET /api/v3/account")
    assert every["uid"] == firm.sub.pk
    assert every["balances"] == [
        {"asset": "BTC", "free": "1.5", "locked": "0"},
        {"asset": "USDT", "free": "0", "locked": "0"},
    ]
    some = told(firm.of_sub.get("/api/v3/account", omitZeroBalances="True"), "GET /api/v3/account")
    assert [row["asset"] for row in some["balances"]] == ["BTC"]
    assert (
        told(firm.program.get("/api/v3/account", omitZeroBalances="true"), "GET /api/v3/account")["balances"]
        == []
    )


def test_every_coin_with_what_is_free_of_it(firm: Firm) -> None:
    build.asset("EUR", places=2, kind="fiat", collateral=False)
    name = "GET /sapi/v1/capital/config/getall"
    found = {row["coin"]: row for row in told(firm.of_sub.get("/sapi/v1/capital/config/getall"), name)}
    assert {coin: (row["free"], row["isLegalMoney"]) for coin, row in found.items()} == {
        "BTC": ("1.5", False),
        "EUR": ("0", True),
    }


def test_the_master_sees_what_its_sub_account_has(firm: Firm) -> None:
    """R-GEN-95"""
    text = told(
        firm.program.get("/sapi/v4/sub-account/assets", email=firm.sub.email),
        "GET /sapi/v4/sub-account/assets",
    )
    numbers = told(
        firm.program.get("/sapi/v3/sub-account/assets", email=firm.sub.email),
        "GET /sapi/v3/sub-account/assets",
    )
    assert [(row["asset"], row["free"]) for row in text["balances"]] == [("BTC", "1.5")]
    assert [(row["asset"], row["free"]) for row in numbers["balances"]] == [("BTC", 1.5)]


@pytest.mark.parametrize("path", ["/sapi/v3/sub-account/assets", "/sapi/v4/sub-account/assets"])
def test_others_accounts_are_as_those_that_do_not_exist(firm: Firm, path: str) -> None:
    """R-GEN-95, TRUST B-07"""
    others = build.account(build.customer())
    found = [
        firm.program.get(path, email=email).content
        for email in (others.email, "nobody@example.com", build.master(others.customer).email)
    ]
    assert refused(firm.program.get(path, email=others.email)) == (400, -5021)
    assert len(set(found)) == 1


def test_a_subs_key_looks_into_no_other_account(firm: Firm) -> None:
    """R-GEN-95"""
    build.deposit(firm.master, "BTC", "7")
    for path in ("/sapi/v3/sub-account/assets", "/sapi/v4/sub-account/assets"):
        for account in (firm.master, firm.sub):
            assert refused(firm.of_sub.get(path, email=account.email)) == (401, -1002)
    found = told(firm.of_sub.get("/api/v3/account"), "GET /api/v3/account")
    assert [row["free"] for row in found["balances"]] == ["1.5"]


def test_balances_cost_the_same_however_many(firm: Firm) -> None:
    def queries() -> list[int]:
        counted = []
        for path in ("/api/v3/account", "/sapi/v1/capital/config/getall"):
            firm.of_sub.get(path)  # the key's use is noted by the minute
            with CaptureQueriesContext(connection) as captured:
                assert firm.of_sub.get(path).status_code == 200
            counted.append(len(captured))
        return counted

    before = queries()
    for number in range(5):
        build.deposit(firm.sub, f"COIN{number}", "3")
    assert queries() == before


# --- Virtual sub-accounts -----------------------------------------------------------------------------


def test_a_key_opens_a_virtual_sub_account_of_its_own_master(firm: Firm) -> None:
    """R-GEN-10"""
    found = told(firm.program.post(VIRTUAL.split()[1], subAccountString="Trading1"), VIRTUAL)
    made = Account.objects.get(email=found["email"])
    assert (made.customer, made.kind, made.label) == (firm.owner, "sub_virtual", "Trading1")
    assert found["email"] == f"trading1_virtual@{firm.master.pk}.invalid"


def test_the_same_name_is_not_opened_twice(firm: Firm) -> None:
    """R-GEN-10"""
    firm.program.post(VIRTUAL.split()[1], subAccountString="Trading1")
    before = Account.objects.count()
    assert refused(firm.program.post(VIRTUAL.split()[1], subAccountString="trading1")) == (400, -1130)
    assert Account.objects.count() == before


@pytest.mark.parametrize("name", ["", "a b", "x" * 21, "naïve", "semi;colon"])
def test_a_name_that_cannot_be_opens_nothing(firm: Firm, name: str) -> None:
    before = Account.objects.count()
    status, code = refused(firm.program.post(VIRTUAL.split()[1], subAccountString=name))
    assert (status, code) in {(400, -1100), (400, -1102)}
    assert Account.objects.count() == before


def test_who_may_not_open_accounts_opens_none(firm: Firm) -> None:
    """R-ADM-09, R-GEN-95: a sub-account's key, a trader's key, and one that may only read."""
    trader = build.colleague(firm.owner, "trader")
    programs = {
        firm.of_sub: (401, -1002),
        Program(api_key(firm.master, trader, "can_read", "can_transfer")): (401, -1002),
        Program(api_key(firm.master, firm.user, "can_read")): (401, -2015),
    }
    before = Account.objects.count()
    for program, says in programs.items():
        assert refused(program.post(VIRTUAL.split()[1], subAccountString="Trading1")) == says
    assert Account.objects.count() == before


def test_a_member_opens_accounts_of_their_own_customer_only(firm: Firm) -> None:
    """R-ADM-09, R-GEN-10: by the command, whoever calls it."""
    other = build.customer()
    told = {"kind": "sub", "label": "New", "email": "new@example.com", "at": build.NOON}
    before = Account.objects.count()
    with pytest.raises(people.Refused):
        people.open_sub_account(customer_id=other.pk, actor=Actor.user(firm.user), **told)
    for role in ("trader", "viewer"):
        actor = Actor.user(build.colleague(firm.owner, role))
        with pytest.raises(NotYourPart, match=f"As a {role} of .* you may not open sub-accounts"):
            people.open_sub_account(customer_id=firm.owner.pk, actor=actor, **told)
    one = Actor.user(build.colleague(firm.owner, "signatory", only=firm.sub))
    with pytest.raises(NotYourPart, match="You act for .* only"):
        people.open_sub_account(customer_id=firm.owner.pk, actor=one, **told)
    assert Account.objects.count() == before
    treasurer = Actor.user(build.colleague(firm.owner, "treasurer"))
    assert people.open_sub_account(customer_id=firm.owner.pk, actor=treasurer, **told).customer == firm.owner


def test_there_is_an_end_to_sub_accounts(firm: Firm) -> None:
    """R-GEN-10"""
    with acting(BUILDER):
        Account.objects.bulk_create(
            Account(
                customer=firm.owner, kind="sub", label=str(n), email=f"{n}@full.example", opened_at=LONG_AGO
            )
            for n in range(people.MOST_SUB_ACCOUNTS - 2)
        )
    assert firm.program.post(VIRTUAL.split()[1], subAccountString="Last").status_code == 200
    answer = firm.program.post(VIRTUAL.split()[1], subAccountString="TooMany")
    assert refused(answer) == (400, -1130)
    assert "has 1000 sub-accounts already" in answer.json()["msg"]
    assert firm.owner.accounts.count() == 1001


def test_numbers_are_exact_where_they_can_be(firm: Firm) -> None:
    build.deposit(firm.sub, "USDT", "123456.78")
    build.deposit(firm.sub, "ETH", "12")
    raw = firm.program.get("/sapi/v3/sub-account/assets", email=firm.sub.email).content
    found = json.loads(raw, parse_float=Decimal)["balances"]
    assert {row["asset"]: row["free"] for row in found} == {
        "BTC": Decimal("1.5"),
        "ETH": 12,
        "USDT": Decimal("123456.78"),
    }
