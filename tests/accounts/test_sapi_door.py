"""The dialect's door: whose request is served, in which of the clients' spellings, and how often (TRUST B-08, B-09)."""

import base64
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import quote_plus

import pytest
from django.conf import settings as configured
from django.utils import timezone

from accounts import keys, vault
from accounts.commands import Actor, acting
from accounts.models import Account, ApiKeyUse, Membership, User
from tests import build
from tests.accounts.wires import ECHO, Echo, Wire, echoing, now_ms, refused, signed, wire
from tests.build import BUILDER
from tests.programs import FORM, Program, api_key

pytestmark = pytest.mark.django_db
KINDS = ("hmac", "rsa", "ed25519")
JSON = "application/json;charset=utf-8"


@pytest.fixture
def member() -> User:
    return build.user()


@pytest.fixture
def master(member: User) -> Account:
    return build.master(build.customer(member=member))


@pytest.fixture
def program(master: Account, member: User) -> Program:
    return Program(api_key(master, member))


@pytest.fixture
def one(master: Account, member: User) -> Wire:
    return wire(master, member)


@pytest.fixture
def echo() -> Iterator[Echo]:
    with echoing() as found:
        yield found


# --- Who ------------------------------------------------------------------------------------------------


def test_a_signed_request_is_served(program: Program) -> None:
    answer = program.get("/sapi/v1/account/status")
    assert (answer.status_code, answer.json()) == (200, {"data": "Normal"})
    assert answer["X-SAPI-USED-IP-WEIGHT-1M"] == "1"
    assert answer["Content-Type"] == "application/json;charset=UTF-8"
    assert answer["Content-Length"] == str(len(answer.content))


@pytest.mark.parametrize(
    "path", ["/sapi/v1/account/status/", "//sapi/v1//account/status", "///sapi/v1/account/status"]
)
def test_slashes_are_no_reason_to_send_anybody_elsewhere(program: Program, path: str) -> None:
    """SAPI 6.2: a base URL given with a trailing slash"""
    assert program.get(path).status_code == 200


def test_a_wrong_signature_is_refused(program: Program) -> None:
    """B-08"""
    program.secret = "another"
    assert refused(program.get("/sapi/v1/account/status"), -1022)


@pytest.mark.parametrize(
    ("key", "code"),
    [
        ("x" * 64, -2015),
        ("x", -2015),
        ("", -2014),
        ("x" * 65, -2014),
        ("a b", -2014),
        ("é", -2014),
        ("\0", -2014),
    ],
)
def test_a_key_that_is_none_is_refused(program: Program, key: str, code: int) -> None:
    """SAPI 7"""
    program.key = key
    assert refused(program.get("/sapi/v1/account/status"), code, 401)


def test_what_a_key_may_not_is_said_as_if_it_did_not_exist(master: Account, member: User, echo: Echo) -> None:
    """TRUST 7: permissions are off unless given"""
    reader, nobody = wire(master, member, "hmac", "can_read"), wire(master, member, "hmac", "can_withdraw")
    assert reader.send("GET", query=signed(reader)).status_code == 200
    unknown = reader.send("POST", query=signed(reader), key="x" * 64)
    answers = [reader.send("POST", query=signed(reader)), nobody.send("GET", query=signed(nobody))]
    assert all(answer.content == unknown.content and refused(answer, -2015, 401) for answer in answers)
    assert len(echo.served) == 1


def test_a_key_is_for_its_addresses(master: Account, member: User, echo: Echo) -> None:
    """TRUST 7: also where the server calls an IPv4 address by its IPv6 name; a forged header is no address"""
    here = wire(master, member, networks=("203.0.113.0/24", "2001:db8::7"))
    for address in ("203.0.113.9", "::ffff:203.0.113.9", "2001:db8::7"):
        assert here.send("GET", query=signed(here), REMOTE_ADDR=address).status_code == 200
    for address in ("203.0.114.9", "::ffff:203.0.114.9", "2001:db8::8", "", "unix:", "203.0.113.9, 1.1.1.1"):
        forged = {"HTTP_X_FORWARDED_FOR": "203.0.113.9", "HTTP_X_REAL_IP": "203.0.113.9"}
        assert refused(here.send("GET", query=signed(here), REMOTE_ADDR=address, **forged), -2015, 401)
    assert len(echo.served) == 3


def test_behind_a_trusted_proxy_only_its_own_word_counts(
    master: Account, member: User, echo: Echo, settings: Any
) -> None:
    """B-18: what the caller wrote into the header comes before what the proxy adds"""
    settings.BEHIND_PROXY = True
    here = wire(master, member, networks=("203.0.113.9",))
    told = {"HTTP_X_FORWARDED_FOR": "1.1.1.1, 203.0.113.9", "REMOTE_ADDR": "10.0.0.1"}
    assert here.send("GET", query=signed(here), **told).status_code == 200
    told["HTTP_X_FORWARDED_FOR"] = "203.0.113.9, 1.1.1.1"
    assert refused(here.send("GET", query=signed(here), **told), -2015, 401)


def test_a_key_ends_with_its_time_its_revocation_and_its_member(
    master: Account, member: User, echo: Echo
) -> None:
    """TRUST 7, R-ADM-09"""
    one = wire(master, member)
    at = timezone.now()
    row = keys.create(
        account_uid=master.pk,
        label="x",
        kind="hmac",
        permissions=["can_read"],
        networks=[],
        actor=Actor.user(member),
        at=at - keys.UNBOUND_LIFE + timedelta(seconds=60),
    )
    ending = Wire(row)
    assert ending.send("GET", query=signed(ending)).status_code == 200
    old = Wire(
        keys.create(
            account_uid=master.pk,
            label="x",
            kind="hmac",
            permissions=["can_read"],
            networks=[],
            actor=Actor.user(member),
            at=at - keys.UNBOUND_LIFE,
        )
    )
    assert refused(old.send("GET", query=signed(old)), -2015, 401)
    keys.revoke(api_key_id=row.pk, actor=Actor.user(member), at=at)
    assert refused(ending.send("GET", query=signed(ending)), -2015, 401)
    with acting(BUILDER):
        Membership.objects.filter(user=member).update(account=build.account(master.customer))
    assert refused(one.send("GET", query=signed(one)), -2015, 401)  # of the master, which is not theirs now
    with acting(BUILDER):
        Membership.objects.filter(user=member).update(account=None)
    assert one.send("GET", query=signed(one)).status_code == 200
    with acting(BUILDER):
        User.objects.filter(pk=member.pk).update(is_active=False)
    assert refused(one.send("GET", query=signed(one)), -2015, 401)


def test_a_bearer_token_opens_nothing_here(master: Account, member: User, echo: Echo) -> None:
    """TRUST 7: neither as a key that signs, nor where no signature is asked for"""
    row = api_key(master, member, kind="token")
    for signature in ("", "x" * 64, "A" * 88, quote_plus(base64.b64encode(b"x" * 64))):
        payload = f"timestamp={now_ms()}&signature={signature}"
        assert refused(Wire(row).send("GET", query=payload), -2015, 401)


def test_a_secret_that_does_not_open_is_no_key_and_no_crash(
    one: Wire, echo: Echo, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """TRUST 7: sealed with a key that is not listed any more; listed again, it opens"""
    query = [signed(one) for _ in range(2)]
    try:
        settings.SECRET_SEALS = ["another"]
        vault._seals.cache_clear()
        assert refused(one.send("GET", query=query[0]), -2015, 401)
        assert f"the secret of API key {one.key.pk} does not open" in caplog.text
        settings.SECRET_SEALS = ["another", configured.SECRET_KEY]
        vault._seals.cache_clear()
        assert one.send("GET", query=query[1]).status_code == 200
    finally:
        vault._seals.cache_clear()


def test_only_who_signed_is_noted_as_its_user(one: Wire, echo: Echo) -> None:
    """TRUST 7: a stranger who knows the key's name leaves no trace on it"""
    assert refused(
        one.send("GET", query=f"timestamp={now_ms()}&signature={'0' * 64}", REMOTE_ADDR="127.0.0.1"), -1022
    )
    assert not ApiKeyUse.objects.exists()
    assert one.send("GET", query=signed(one)).status_code == 200
    assert ApiKeyUse.objects.get().address == "127.0.0.1"


def test_a_signed_read_asks_the_database_as_often_every_time(one: Wire, echo: Echo) -> None:
    """A constant number of queries, one once its use is noted: who calls."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    one.send("GET", query=signed(one))
    with CaptureQueriesContext(connection) as asked:
        assert one.send("GET", query=signed(one)).status_code == 200
    assert len(asked) == 1


# --- As the clients spell it ----------------------------------------------------------------------------

VIP = "/sapi/v1/loan/vip"
READ = {"loanCoin": "USDT", "collateralCoin": ("BTC", "ETH")}
BORROW = {"loanAccountId": 12345678, "loanCoin": "USDT", "collateralAccountId": (12345678, 23456789)}
BORROW |= {"collateralCoin": ("BTC", "ETH"), "isFlexibleRate": True}
LISTS = "collateralAccountId=12345678%2C23456789&collateralCoin=BTC%2CETH"
CAPTURED: dict[str, tuple[str, str, str | None, str, str, dict[str, Any]]] = {
    # name: what is signed, where it goes ("query" or "body"), content type, as it is sent, path, values
    "official GET": (
        "loanCoin=USDT&collateralCoin=BTC%2CETH&timestamp={t}", "query", None, "", f"GET {VIP}/ongoing/orders", READ,
    ),
    "official POST": (
        f"loanAccountId=12345678&loanCoin=USDT&loanAmount=1000.5&{LISTS}&isFlexibleRate=true&timestamp={{t}}",
        "query", None, "", f"POST {VIP}/borrow", BORROW | {"loanAmount": Decimal("1000.5")},
    ),
    "python-binance GET": (
        "collateralCoin=BTC,ETH&limit=10&loanCoin=USDT&recvWindow=10000&timestamp={t}",
        "query", "application/json", "", f"GET {VIP}/ongoing/orders", READ | {"limit": 10},
    ),
    "python-binance POST": (
        "collateralAccountId=12345678,23456789&collateralCoin=BTC,ETH&isFlexibleRate=True&loanAccountId=12345678"
        "&loanAmount=1000.5&loanCoin=USDT&recvWindow=10000&timestamp={t}",
        "body", FORM, f"{LISTS}&isFlexibleRate=True&loanAccountId=12345678&loanAmount=1000.5&loanCoin=USDT"
        "&recvWindow=10000&timestamp={t}", f"POST {VIP}/borrow", BORROW | {"loanAmount": Decimal("1000.5")},
    ),
    "python-binance DELETE": (
        "orderId=7&recvWindow=10000&remark=a b,c&timestamp={t}&toEmail=a@x.com", "body", FORM,
        "orderId=7&recvWindow=10000&remark=a+b%2Cc&timestamp={t}&toEmail=a%40x.com",
        f"DELETE {ECHO}", {"orderId": 7, "remark": "a b,c", "toEmail": "a@x.com"},
    ),
    "python-binance GET with @, + and a space": (
        "fromEmail=a+b@x.com&remark=a b&timestamp={t}", "query", "application/json",
        "fromEmail=a+b@x.com&remark=a%20b&timestamp={t}",
        f"GET {ECHO}", {"fromEmail": "a+b@x.com", "remark": "a b"},
    ),
    "ccxt GET": (
        "timestamp={t}&loanCoin=USDT&collateralCoin=BTC%2CETH&limit=10&recvWindow=10000",
        "query", None, "", f"GET {VIP}/ongoing/orders", READ | {"limit": 10},
    ),
    "ccxt POST": (
        f"timestamp={{t}}&loanAccountId=12345678&loanCoin=USDT&{LISTS}&isFlexibleRate=true&recvWindow=10000",
        "body", FORM, "", f"POST {VIP}/borrow", BORROW,
    ),
    "ccxt sub-account POST": (
        "timestamp={t}&fromEmail=a+b@x.com&toEmail=c@x.com&recvWindow=10000",
        "body", FORM, "", "POST /sapi/v1/sub-account/universalTransfer",
        {"fromEmail": "a+b@x.com", "toEmail": "c@x.com"},
    ),
    "connector GET": (
        "loanCoin=USDT&collateralCoin=BTC%2CETH&toEmail=a@x.com&recvWindow=5000&timestamp={t}",
        "query", JSON, "", f"GET {VIP}/ongoing/orders", READ | {"toEmail": "a@x.com"},
    ),
    "connector POST": (
        "orderId=1&amount=10.5&timestamp={t}", "query", JSON, "", f"POST {VIP}/repay",
        {"orderId": 1, "amount": Decimal("10.5")},
    ),
    "npm POST": (
        f"loanAccountId=12345678&loanCoin=USDT&loanAmount=1e-8&{LISTS}&isFlexibleRate=true&timestamp={{t}}"
        "&recvWindow=5000", "query", FORM, "", f"POST {VIP}/borrow", BORROW | {"loanAmount": Decimal("0.00000001")},
    ),
    "typed-binance POST": (
        "amount=100.5&loanCoin=USDT&orderId=1&timestamp={t}", "body", FORM, "", f"POST {VIP}/repay",
        {"orderId": 1, "amount": Decimal("100.5"), "loanCoin": "USDT"},
    ),
    "a body without a content type": (
        "orderId=1&timestamp={t}", "body", None, "", f"POST {VIP}/repay", {"orderId": 1},
    ),
    "microseconds and a window with decimals": (
        "orderId=1&timestamp={t}123&recvWindow=4999.125", "query", None, "", f"POST {VIP}/repay", {"orderId": 1},
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("client", CAPTURED)
def test_what_every_client_sends_is_served(client: str, kind: str, master: Account, member: User) -> None:
    """SAPI 6.1, 6.8: the captured bytes, with every kind of key"""
    payload, place, content_type, sent, name, values = CAPTURED[client]
    one, stamp = wire(master, member, kind), now_ms()
    payload, sent = payload.replace("{t}", str(stamp)), sent.replace("{t}", str(stamp))
    whole = f"{sent or payload}&signature={one.sign(payload)}"
    method, _, path = name.partition(" ")
    with echoing(name) as echo:
        answer = one.send(method, path, **{place: whole}, content_type=content_type)
        assert (answer.status_code, answer.json()) == (200, {"served": 1})
        assert echo.values == values


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", range(4))
def test_the_signature_stands_anywhere(
    place: int, kind: str, master: Account, member: User, echo: Echo
) -> None:
    """SAPI 6.2: first, between, last; in the query, with the rest in the body"""
    one = wire(master, member, kind)
    pairs = ["orderId=1", "amount=2", f"timestamp={now_ms()}"]
    signature = f"signature={one.sign('&'.join(pairs))}"
    pairs.insert(place, signature)
    assert one.send("POST", query="&".join(pairs)).status_code == 200
    pairs.remove(signature)
    pairs[1] = "amount=3"
    made = one.sign("&".join(pairs))
    answer = one.send("POST", query=f"signature={made}", body="&".join(pairs))
    assert answer.status_code == 200
    assert echo.values == {"orderId": 1, "amount": 3}


def test_query_and_body_are_signed_together_and_the_query_wins(one: Wire, echo: Echo) -> None:
    """SAPI 6.2: one after the other without anything between"""
    query, body = f"orderId=1&timestamp={now_ms()}", "orderId=2&amount=5"
    signature = one.sign(query + body)
    answer = one.send("POST", query=query, body=f"{body}&signature={signature}")
    assert answer.status_code == 200
    assert echo.values == {"orderId": 1, "amount": 5}
    query = f"orderId=1&timestamp={now_ms(1)}"
    parted = one.sign(f"{query}&{body}")
    assert refused(one.send("POST", query=query, body=f"{body}&signature={parted}"), -1022)
