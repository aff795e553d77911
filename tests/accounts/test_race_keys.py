"""Many at once with one key: a signed write is served once, a revoked key opens nothing more (TRUST C-09, C-14)."""

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import time_machine
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.test import Client
from django.utils import timezone

from accounts import keys
from accounts.commands import Actor
from accounts.models import Account, ApiKey, IdempotencyKey, UsedSignature
from accounts.sapi import weights
from tests import build
from tests.accounts.wires import ECHO, Wire, echoing, now_ms, signed, wire
from tests.build import NOON
from tests.programs import Program, api_key

InThreads = Callable[[list[Callable[[], Any]]], list[Any]]


def alone(one: Wire) -> Wire:
    """The same key through a client of its own, as another process would."""
    return Wire(one.key, Client(raise_request_exception=False))


def made(count: int = 1) -> list[Wire]:
    member = build.user()
    master = build.master(build.customer(member=member))
    return [wire(master, member) for _ in range(count)]


def test_one_signed_write_is_served_once_of_sixteen(committed_db: object, in_threads: InThreads) -> None:
    """C-09, I-26: in every spelling at once, to two endpoints and by two methods"""
    [one] = made()
    names = (f"POST {ECHO}", f"DELETE {ECHO}", f"POST {ECHO}/other")
    with echoing(*names) as echo:
        for turn in range(10):
            echo.served.clear()
            query = signed(one, f"orderId={turn + 1}")
            payload, _, signature = query.partition("&signature=")
            ways = [
                ("POST", ECHO, query, ""),
                ("POST", ECHO, "", query),
                ("POST", f"{ECHO}/other", query, ""),
                ("DELETE", ECHO, "", query),
                ("POST", ECHO, f"{payload}&signature={signature.upper()}", ""),
                ("POST", ECHO, f"signature={signature}&{payload}", ""),
                ("POST", f"//{ECHO}/", query, ""),
                (
                    "POST",
                    ECHO,
                    payload.partition("&")[0],
                    f"&{payload.partition('&')[2]}&signature={signature}",
                ),
            ] * 2
            answers = in_threads([lambda way=way: alone(one).send(*way) for way in ways])
            told = sorted((answer.status_code, answer.json().get("code")) for answer in answers)
            assert told == [(200, None), *[(400, -1022)] * 15]
            assert len(echo.served) == 1
        assert UsedSignature.objects.count() == 10


def test_sixteen_writes_of_their_own_are_all_served(committed_db: object, in_threads: InThreads) -> None:
    """C-09: what is refused is the repeat, never the crowd"""
    [one] = made()
    with echoing(f"POST {ECHO}") as echo:
        stamp = now_ms()
        payloads = [f"orderId={number}&timestamp={stamp}" for number in range(1, 17)]
        queries = [f"{payload}&signature={one.sign(payload)}" for payload in payloads]
        answers = in_threads([lambda query=query: alone(one).send("POST", query=query) for query in queries])
        assert [answer.status_code for answer in answers] == [200] * 16
        assert sorted(values["orderId"] for _, _, values in echo.served) == list(range(1, 17))


def test_a_signature_serves_as_a_read_or_as_a_write_never_as_both(
    committed_db: object, in_threads: InThreads
) -> None:
    """B-08: whichever comes first, at one moment"""
    [one] = made()
    with echoing() as echo:
        for turn in range(20):
            echo.served.clear()
            query = signed(one, f"orderId={turn + 1}")
            in_threads([lambda m=m: alone(one).send(m, query=query) for m in ("GET", "POST") * 2])  # noqa: B023
            assert len({method for method, _, _ in echo.served}) <= 1
            assert [method for method, _, _ in echo.served].count("POST") <= 1


def test_a_revoked_key_opens_nothing_after_the_revoke_commits(
    committed_db: object, in_threads: InThreads
) -> None:
    """C-14: two hundred calls go on meanwhile; of those begun after it none is served"""
    one, bystander = made(2)
    revoked = threading.Event()
    late: list[int] = []

    def call() -> list[int]:
        program, found = alone(one), []
        for number in range(1, 51):
            began_late = revoked.is_set()
            answer = program.send("GET", query=signed(program, f"orderId={number}"))
            found.append(answer.status_code)
            if began_late:
                late.append(answer.status_code)
        return found

    def revoke() -> None:
        while not weights._valkey().keys(f"sapi:used:ip:127.0.0.1:{one.key.pk}:*"):
            pass  # until the first of them is on its way
        keys.revoke(api_key_id=one.key.pk, actor=Actor.user(one.key.user), at=timezone.now())
        revoked.set()

    with echoing():
        results = in_threads([call, call, call, call, revoke])
        assert revoked.is_set(), results[-1]
        assert late
        assert set(late) == {401}
        assert 200 in {status for found in results[:-1] for status in found}
        assert bystander.send("GET", query=signed(bystander)).status_code == 200


def test_a_key_is_revoked_once(committed_db: object, in_threads: InThreads) -> None:
    """C-14: eight at once; the others are told that it is"""
    [one] = made()
    actor = Actor.user(one.key.user)
    results = in_threads([lambda: keys.revoke(api_key_id=one.key.pk, actor=actor, at=NOON)] * 8)
    assert sum(isinstance(row, ApiKey) for row in results) == 1
    assert {type(row) for row in results} == {ApiKey, keys.KeyRevoked}


def test_one_form_sent_eight_times_at_once_makes_one_key_that_is_shown_once(
    committed_db: object, in_threads: InThreads
) -> None:
    """R-GEN-06, C-07"""
    [one] = made()
    account, user = one.key.account, one.key.user

    def make() -> ApiKey:
        return keys.create(
            account_uid=account.pk,
            label="robot",
            kind="hmac",
            permissions=["can_read"],
            networks=[],
            actor=Actor.user(user),
            at=NOON,
            key="pressed eight times",
        )

    rows = in_threads([make] * 8)
    assert len({row.pk for row in rows}) == 1
    assert sum(keys.is_fresh(row) for row in rows) == 1
    assert ApiKey.objects.count() == 2
    assert IdempotencyKey.objects.count() == 1


def test_thirty_keys_stay_thirty(committed_db: object, in_threads: InThreads) -> None:
    """R-ADM-09: eight at once where there is room for two"""
    [one] = made()
    account, user = one.key.account, one.key.user

    def make() -> ApiKey:
        return keys.create(
            account_uid=account.pk,
            label="robot",
            kind="hmac",
            permissions=[],
            networks=[],
            actor=Actor.user(user),
            at=NOON,
        )

    for _ in range(keys.MOST_KEYS - 3):
        make()
    results = in_threads([make] * 8)
    assert {type(row) for row in results} == {ApiKey, keys.TooManyKeys}
    assert ApiKey.objects.count() == keys.MOST_KEYS


def test_a_minutes_weight_is_counted_once_for_each_of_sixteen(
    committed_db: object, in_threads: InThreads
) -> None:
    """SAPI 6.5: none is lost, however many ask at once"""
    [one] = made()
    with echoing(weight=400) as echo, time_machine.travel(NOON, tick=False):
        programs = [Program(one.key) for _ in range(16)]
        answers = in_threads([lambda program=program: program.get(ECHO) for program in programs])
        counted = sorted(int(answer["X-SAPI-USED-IP-WEIGHT-1M"]) for answer in answers)
        assert counted == [400 * number for number in range(1, 17)]
        assert len(echo.served) == 16


def test_a_pair_is_given_to_one_key_only(committed_db: object, in_threads: InThreads) -> None:
    """TRUST I-26: of eight members who bring one public half at once, one gets a key."""
    owner = build.customer(member=(member := build.user()))
    subs = [build.account(owner) for _ in range(8)]
    half = Ed25519PrivateKey.generate().public_key()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    pem = half.public_bytes(serialization.Encoding.PEM, form).decode()

    def make(account: Account) -> ApiKey:
        return api_key(account, member, "can_read", kind="ed25519", public_key=pem)

    results = in_threads([partial(make, account) for account in subs])
    assert sorted(type(result).__name__ for result in results) == ["ApiKey", *["BadKeyDetails"] * 7]
    assert ApiKey.objects.filter(kind="ed25519").count() == 1
