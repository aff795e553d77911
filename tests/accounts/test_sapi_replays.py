"""A write is served once, and a request only in its time (TRUST B-08, B-09, I-26; SAPI 6.4)."""

import base64
from collections.abc import Iterator
from urllib.parse import quote_plus, unquote

import pytest
from django.urls import get_resolver
from django.utils import timezone

from accounts import keys
from accounts.commands import Actor
from accounts.models import Account, UsedSignature, User
from accounts.sapi import weights
from accounts.sapi.registry import endpoints
from tests import build
from tests.accounts.wires import ECHO, Echo, Wire, echoing, now_ms, refused, signed, wire

pytestmark = pytest.mark.django_db
KINDS = ("hmac", "rsa", "ed25519")


@pytest.fixture
def member() -> User:
    return build.user()


@pytest.fixture
def master(member: User) -> Account:
    return build.master(build.customer(member=member))


@pytest.fixture
def one(master: Account, member: User) -> Wire:
    return wire(master, member)


@pytest.fixture
def echo() -> Iterator[Echo]:
    with echoing() as found:
        yield found


# --- Once -----------------------------------------------------------------------------------------------


def sent_again(one: Wire, payload: str, made: str) -> dict[str, tuple[str, str, str, str]]:
    """Ways to send a write a second time under its signature: method, path, query, body."""
    head, _, tail = payload.partition("&")
    other = unquote(made) if "%" in made else made.upper()
    pairs = payload.split("&")
    return {
        "the same": ("POST", ECHO, f"{payload}&signature={made}", ""),
        "spelled otherwise": ("POST", ECHO, f"{payload}&signature={other}", ""),
        "elsewhere in the string": ("POST", ECHO, f"signature={made}&{payload}", ""),
        "in the body": ("POST", ECHO, "", f"{payload}&signature={made}"),
        "parted between query and body": ("POST", ECHO, head, f"&{tail}&signature={made}"),
        "parted with the signature first": ("POST", ECHO, f"signature={made}&{head}&", tail),
        "to another endpoint": ("POST", f"{ECHO}/other", f"{payload}&signature={made}", ""),
        "by another method": ("DELETE", ECHO, f"{payload}&signature={made}", ""),
        "as a read": ("GET", ECHO, f"{payload}&signature={made}", ""),
        "with a slash more": ("POST", f"/{ECHO}/", f"{payload}&signature={made}", ""),
        "in another order": ("POST", ECHO, f"{'&'.join(reversed(pairs))}&signature={made}", ""),
        "with one letter as an escape": (
            "POST", ECHO, f"{payload.replace('USDT', '%55SDT')}&signature={made}", "",
        ),
    }  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_write_is_served_once_however_it_is_sent_again(kind: str, master: Account, member: User) -> None:
    """B-08, I-26"""
    one = wire(master, member, kind)
    with echoing(f"GET {ECHO}", f"POST {ECHO}", f"DELETE {ECHO}", f"POST {ECHO}/other") as echo:
        payload = f"orderId=1&loanCoin=USDT&timestamp={now_ms()}&recvWindow=60000"
        ways = sent_again(one, payload, one.sign(payload))
        assert one.send(*ways["the same"]).status_code == 200
        for way in ways.values():
            assert refused(one.send(*way), -1022)
        assert len(echo.served) == 1
        assert UsedSignature.objects.count() == 1


@pytest.mark.parametrize("first", ["spelled otherwise", "in the body", "parted between query and body"])
def test_whichever_spelling_comes_first_uses_it_up(first: str, one: Wire, echo: Echo) -> None:
    """B-08, I-26"""
    payload = f"orderId=1&loanCoin=USDT&timestamp={now_ms()}"
    ways = sent_again(one, payload, one.sign(payload))
    assert one.send(*ways[first]).status_code == 200
    assert all(refused(one.send(*ways[way]), -1022) for way in (first, "the same"))
    assert len(echo.served) == 1


def test_a_base64_signature_spelled_by_its_idle_bits_is_the_same(
    master: Account, member: User, echo: Echo
) -> None:
    """B-08: the last letter of 64 bytes in base64 has four bits that say nothing"""
    one = wire(master, member, "ed25519")
    payload = f"orderId=1&timestamp={now_ms()}"
    made = unquote(one.sign(payload))
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    spelled = f"{made[:-3]}{letters[letters.index(made[-3]) + 1]}=="
    assert base64.b64decode(spelled) == base64.b64decode(made)
    assert one.send("POST", query=f"{payload}&signature={quote_plus(made)}").status_code == 200
    assert refused(one.send("POST", query=f"{payload}&signature={quote_plus(spelled)}"), -1022)
    assert len(echo.served) == 1


def test_a_reads_signature_makes_no_write_and_a_read_may_be_asked_again(one: Wire, echo: Echo) -> None:
    """B-08: reads change nothing, so two alike in one millisecond are both served"""
    query = signed(one, "orderId=1")
    assert [one.send("GET", query=query).status_code for _ in range(2)] == [200, 200]
    for method in ("POST", "DELETE"):
        assert refused(one.send(method, query=query), -1022)
        assert refused(one.send(method, body=query), -1022)
    assert len(echo.served) == 2


def test_no_write_is_made_of_what_a_read_accepts() -> None:
    """B-08: even where nobody remembers what reads were signed with, none sends all that a write needs"""
    get_resolver().url_patterns  # noqa: B018  importing the pages imports every endpoint
    found = list(endpoints.values())
    assert any(one.is_write for one in found)
    for write in (one for one in found if one.is_write):
        needed = {param.name for param in write.params if param.required}
        for read in (one for one in found if not one.is_write):
            assert needed - {param.name for param in read.params}, (write.name, read.name)


def test_a_refused_write_has_used_its_signature_up_too(one: Wire, echo: Echo) -> None:
    """I-26: what was signed wrongly is not sent again by somebody else, later"""
    query = signed(one, "orderId=0")
    assert refused(one.send("POST", query=query), -1130)
    assert refused(one.send("POST", query=query), -1022)
    assert refused(one.send("POST", query=signed(one, "what=1")), -1104)
    assert not echo.served


def test_after_revocation_and_from_elsewhere_nothing_is_served(one: Wire, member: User, echo: Echo) -> None:
    """B-08"""
    query = signed(one, "orderId=1")
    assert refused(one.send("POST", query=query, REMOTE_ADDR="198.51.100.1"), -2015, 401)
    keys.revoke(api_key_id=one.key.pk, actor=Actor.user(member), at=timezone.now())
    assert refused(one.send("POST", query=query), -2015, 401)
    assert not echo.served
    assert not UsedSignature.objects.exists()


def test_anothers_signature_and_anothers_key_do_not_mix(master: Account, member: User, echo: Echo) -> None:
    """B-08: also between two keys of one account"""
    one, two = wire(master, member), wire(master, member)
    payload = f"orderId=1&timestamp={now_ms()}"
    assert refused(two.send("POST", query=f"{payload}&signature={one.sign(payload)}"), -1022)
    for wired in (one, two):  # the same words, each under its own
        assert wired.send("POST", query=f"{payload}&signature={wired.sign(payload)}").status_code == 200


def test_used_signatures_are_dropped_when_no_window_reaches_them(one: Wire, echo: Echo) -> None:
    """I-26: never before; the database would not let go of them either"""
    one.send("POST", query=signed(one))
    at = timezone.now()
    assert keys.forget_signatures(at=at) == 0
    assert UsedSignature.objects.count() == 1
    assert weights.SIGNATURE_KEPT > 2 * 60 < keys.ENOUGH.total_seconds()


# --- In time --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stamp", "window", "code"),
    [
        (-60_001, "60000", -1021),
        (-5_100, None, -1021),
        (-5_100, "5000", -1021),
        (-200, "100.5", -1021),
        (+1_600, "60000", -1021),
        (+86_400_000, None, -1021),
        ("0", None, -1021),
        ("1700000000", None, -1021),  # seconds
        ("9999999999999999", None, -1021),
        ("99999999999999999", None, -1100),
        ("-1", None, -1100),
        ("1e12", None, -1100),
        ("1767225600000.5", None, -1100),
        ("now", None, -1100),
        ("%D9%A1767225600000", None, -1100),
        ("", None, -1102),
        (None, None, -1102),
        (0, "60001", -1131),
        (0, "60000.001", -1131),
        (0, "9999999999", -1131),
        (0, "0", -1131),
        (0, "0.0", -1131),
        (0, "-1", -1100),
        (0, "5000.1234", -1100),
        (0, "5e3", -1100),
        (0, "", -1100),
        (0, "long", -1100),
    ],
)
def test_a_request_of_another_time_is_refused(
    stamp: int | str | None, window: str | None, code: int, one: Wire, echo: Echo
) -> None:
    """B-09, SAPI 6.4: a number is milliseconds from now, a text is sent as it is"""
    made = now_ms(stamp) if isinstance(stamp, int) else stamp
    payload = "orderId=1" if made is None else f"orderId=1&timestamp={made}"
    payload = payload if window is None else f"{payload}&recvWindow={window}"
    assert refused(one.send("POST", query=f"{payload}&signature={one.sign(payload)}"), code)
    assert not echo.served
    assert not UsedSignature.objects.exists()


@pytest.mark.parametrize(
    ("stamp", "window"), [(-58_000, "60000"), (-4_000, None), (+500, "1"), (0, "60000.000")]
)
def test_a_request_within_its_window_is_served(stamp: int, window: str | None, one: Wire, echo: Echo) -> None:
    """SAPI 6.4"""
    payload = f"orderId=1&timestamp={now_ms(stamp)}"
    payload = payload if window is None else f"{payload}&recvWindow={window}"
    assert one.send("POST", query=f"{payload}&signature={one.sign(payload)}").status_code == 200


def test_a_signature_that_is_missing_or_doubled_is_told_apart(one: Wire, echo: Echo) -> None:
    """SAPI 7"""
    payload = f"orderId=1&timestamp={now_ms()}"
    made = one.sign(payload)
    assert refused(one.send("POST", query=payload), -1102)
    assert refused(one.send("POST", query=f"{payload}&signature="), -1022)
    assert refused(one.send("POST", query=f"{payload}&signature={made}&signature={made}"), -1101)
    assert refused(one.send("POST", query=f"{payload}&signature={made}", body=f"signature={made}"), -1101)
    assert refused(one.send("POST", query=f"{payload}&Signature={made}"), -1102)
    assert not echo.served
