"""The page of API keys: made, shown once, listed, revoked; by members, for what they act for (R-ADM-09, R-GEN-95)."""

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from html import unescape
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts import keys, vault
from accounts.commands import Actor, NotYourRole
from accounts.models import Account, ApiKey, AuditRecord, Customer, User
from tests import build
from tests.accounts.test_pages_notices import text_of
from tests.build import NOON
from tests.loans import visit
from tests.programs import Program, api_key

pytestmark = pytest.mark.django_db
LATER = NOON + timedelta(seconds=1)
CODE = re.compile(r'<code class="break">([^<]+)</code>')


def pem() -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return Ed25519PrivateKey.generate().public_key().public_bytes(serialization.Encoding.PEM, form).decode()


@pytest.fixture
def member() -> User:
    return build.user(name="Mia Halden")


@pytest.fixture
def customer(member: User) -> Iterator[Customer]:
    with visit.at(NOON):
        yield build.customer("Aare AG", member=member)


@pytest.fixture
def master(customer: Customer) -> Account:
    return build.master(customer)


def make(client: Client, account: Account, **asked: Any) -> Any:
    told = {"label": "Night robot", "kind": "hmac", "account": account.pk, "key": str(uuid4())}
    return client.post(reverse("accounts:keys"), told | {"permissions": ["can_read"]} | asked)


def shown(answer: Any) -> list[str]:
    return [unescape(found) for found in CODE.findall(answer.content.decode())]


# --- Making ---------------------------------------------------------------------------------------------


def test_a_key_is_shown_once_and_works(member: User, master: Account) -> None:
    """R-ADM-09: the answer to the form has the secret, and no other answer has"""
    client, key = visit.client_of(member), str(uuid4())
    asked = {"permissions": ["can_read", "can_transfer"], "networks": "127.0.0.1\n2001:db8::/48", "key": key}
    answer = make(client, master, **asked)
    assert (answer.status_code, answer["Cache-Control"]) == (200, "no-store")
    row = ApiKey.objects.get()
    assert shown(answer) == [row.key, keys.secret_of(row), "http://testserver"]
    assert (row.user, row.account, row.expires_at) == (member, master, None)
    given = (row.can_read, row.can_borrow, row.can_transfer, row.can_withdraw)
    assert given == (True, False, True, False)
    assert row.networks == ["127.0.0.1/32", "2001:db8::/48"]
    assert keys.secret_of(row) not in row.secret
    assert Program(row).get("/sapi/v1/account/status").status_code == 200
    with visit.at(LATER):
        again = make(client, master, **asked)
    assert (again.status_code, again.url) == (302, reverse("accounts:keys"))
    page = client.get(again.url)
    assert "Its secret was shown once, and is not shown again." in text_of(page)
    assert keys.secret_of(row) not in page.content.decode()
    assert ApiKey.objects.count() == 1


def test_the_same_form_at_the_same_instant_shows_nothing_either(member: User, master: Account) -> None:
    """R-GEN-06: the clock does not move between the two"""
    client, key = visit.client_of(member), str(uuid4())
    make(client, master, key=key)
    assert make(client, master, key=key).status_code == 302
    other = make(client, master, key=key, label="Another")
    assert other.status_code == 422
    assert "This request key was already used for something else" in text_of(other)
    assert not shown(other)
    assert ApiKey.objects.count() == 1


def test_a_key_of_your_own_and_a_token_say_how_they_are_used(member: User, master: Account) -> None:
    """R-ADM-09: of an Ed25519 key nothing is secret here, a token is one word"""
    client = visit.client_of(member)
    answer = make(client, master, kind="ed25519", public_key=pem())
    row = ApiKey.objects.get()
    assert (row.kind, row.secret) == ("ed25519", "")
    assert shown(answer) == [row.key, "http://testserver"]
    assert "private_key=&quot;path/to" in answer.content.decode() or "private_key=" in text_of(answer)
    answer = make(client, master, kind="token")
    token = ApiKey.objects.get(kind="token")
    assert shown(answer) == [keys.secret_of(token)]
    assert keys.secret_of(token).startswith(f"{token.key}.")
    assert token.expires_at == NOON + timedelta(days=90)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"label": " "}, "This field is required"),
        ({"label": "two\nlines"}, "in one line"),
        ({"kind": "dsa"}, "Select a valid choice"),
        ({"kind": "rsa"}, "no public key as PEM text"),
        ({"kind": "rsa", "public_key": "ED25519"}, "not an RSA one"),
        ({"kind": "ed25519", "public_key": "-----BEGIN PRIVATE KEY-----"}, "That is a private key."),
        ({"public_key": "ED25519"}, "leave it empty here"),
        ({"permissions": ["can_everything"]}, "Select a valid choice"),
        ({"permissions": ["can_borrow"]}, "names the addresses it is used from"),
        ({"permissions": ["can_withdraw"]}, "names the addresses it is used from"),
        ({"networks": "here"}, "An address is like 203.0.113.7"),
        ({"networks": "203.0.113.7/24"}, "An address is like 203.0.113.7"),
        ({"networks": "0.0.0.0/0", "permissions": ["can_borrow"]}, "0.0.0.0/0 is too wide; name at least /8"),
        ({"networks": "::/0"}, "::/0 is too wide; name at least /32"),
        ({"networks": "\n".join(f"203.0.113.{n}" for n in range(31))}, "at most 30 addresses"),
        ({"key": ""}, "Reload the page and send it again"),
    ],
)
def test_what_cannot_be_a_key_is_said_on_the_form(
    member: User, master: Account, asked: dict[str, Any], words: str
) -> None:
    """R-ADM-09: 422, the reason and the way out, and no key"""
    if asked.get("public_key") == "ED25519":
        asked = asked | {"public_key": pem()}
    answer = make(visit.client_of(member), master, **asked)
    assert answer.status_code == 422
    assert words in text_of(answer)
    assert not shown(answer)
    assert not ApiKey.objects.exists()


def test_only_the_master_borrows(member: User, customer: Customer) -> None:
    """R-VIP-02"""
    sub = build.account(customer)
    answer = make(visit.client_of(member), sub, permissions=["can_borrow"], networks="127.0.0.1")
    assert answer.status_code == 422
    assert "Only the master account borrows, renews and repays" in text_of(answer)
    assert not ApiKey.objects.exists()


def test_thirty_keys_are_enough_for_an_account(member: User, master: Account) -> None:
    """R-ADM-09: those in force; a revoked one makes room"""
    for _ in range(keys.MOST_KEYS):
        row = api_key(master, member)
    client = visit.client_of(member)
    answer = make(client, master)
    assert answer.status_code == 422
    assert "has 30 keys; revoke one that is not used any more first" in text_of(answer)
    keys.revoke(api_key_id=row.pk, actor=Actor.user(member), at=NOON)
    assert make(client, master).status_code == 200


# --- Whose ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "offered"),
    [
        ("signatory", ["can_read", "can_borrow", "can_transfer", "can_withdraw"]),
        ("treasurer", ["can_read", "can_borrow", "can_transfer", "can_withdraw"]),
        ("trader", ["can_read", "can_transfer"]),
        ("viewer", ["can_read"]),
    ],
)
def test_a_key_can_do_at_most_what_its_member_may(
    customer: Customer, master: Account, role: str, offered: list[str]
) -> None:
    """R-ADM-09"""
    client = visit.client_of(build.colleague(customer, role))
    page = client.get(reverse("accounts:keys")).content.decode()
    assert re.findall(r'name="permissions" value="(\w+)"', page) == offered
    for permission in set(keys.POWERS) - set(offered):
        answer = make(client, master, permissions=[permission], networks="127.0.0.1")
        assert answer.status_code == 422
    assert not ApiKey.objects.exists()


def test_who_acts_for_one_account_sees_makes_and_revokes_keys_of_it_only(
    customer: Customer, member: User, master: Account
) -> None:
    """R-GEN-95"""
    sub, other = build.account(customer), build.account(customer)
    one = build.colleague(customer, "trader", only=sub)
    theirs = api_key(master, member), api_key(other, member)
    shared = api_key(sub, member)
    client = visit.client_of(one)
    assert make(client, sub).status_code == 200
    own = ApiKey.objects.get(user=one)
    page = client.get(reverse("accounts:keys"))
    assert own.key[:8] in text_of(page)
    assert shared.key[:8] in text_of(page)
    assert not any(row.key[:8] in text_of(page) for row in theirs)
    assert "API keys" in text_of(client.get(reverse("risk:wallets")))  # in their navigation
    for account in (master, other):
        assert make(client, account).status_code == 422
    for row in theirs:
        assert client.get(reverse("accounts:key_revoke", args=[row.pk])).status_code == 404
        assert client.post(reverse("accounts:key_revoke", args=[row.pk])).status_code == 404
    refused = client.post(reverse("accounts:key_revoke", args=[shared.pk]), {"key": str(uuid4())})
    assert refused.status_code == 422
    assert "Ask a signatory of your firm" in text_of(refused)
    done = client.post(reverse("accounts:key_revoke", args=[own.pk]), {"key": str(uuid4())})
    assert done.status_code == 302
    assert set(ApiKey.objects.filter(revoked_at=None)) == {*theirs, shared}
    assert ApiKey.objects.count() == 4


def test_others_keys_do_not_exist(member: User, master: Account) -> None:
    """R-GEN-95, B-07: a stranger's page has none of them, staff have no page, nobody must sign in first"""
    row, stranger = api_key(master, member), build.user()
    theirs = build.master(build.customer(member=stranger))
    client = visit.client_of(stranger)
    assert row.key[:8] not in text_of(client.get(reverse("accounts:keys")))
    assert make(client, master).status_code == 422
    for pk in (row.pk, 10**12):
        assert client.get(reverse("accounts:key_revoke", args=[pk])).status_code == 404
        assert (
            client.post(reverse("accounts:key_revoke", args=[pk]), {"key": str(uuid4())}).status_code == 404
        )
    assert visit.client_of(build.user("ops")).get(reverse("accounts:keys")).status_code == 404
    assert Client().get(reverse("accounts:keys")).status_code == 302
    assert list(ApiKey.objects.filter(revoked_at=None)) == [row]
    assert make(client, theirs).status_code == 200


def test_the_list_says_what_each_key_is_and_asks_as_often_however_many_there_are(
    member: User, master: Account
) -> None:
    """R-ADM-09"""
    client, url = visit.client_of(member), reverse("accounts:keys")
    used = api_key(master, member, networks=("203.0.113.7", "127.0.0.1"))
    Program(used).get("/sapi/v1/account/status")
    with CaptureQueriesContext(
        connection,
    ) as before:
        page = client.get(url)
    words = text_of(page)
    assert "read, borrow, transfer, withdraw from 203.0.113.7 and 1 more" in words
    assert "1 Jan 2026, 12:00 UTC from 127.0.0.1" in words
    asked = text_of(client.get(reverse("accounts:key_revoke", args=[used.pk])))
    assert "Read balances, loans and histories; Borrow, renew and repay; Transfer" in asked
    assert "203.0.113.7, 127.0.0.1" in asked
    for _ in range(5):
        api_key(master, member)
    with CaptureQueriesContext(connection) as after:
        assert client.get(url).status_code == 200
    assert len(after) <= len(before)


# --- Revoking -------------------------------------------------------------------------------------------


def test_a_revoked_key_opens_nothing_from_the_next_request_on(member: User, master: Account) -> None:
    """R-ADM-09: asked once more before, and for good"""
    row, client = api_key(master, member), visit.client_of(member)
    program, url = Program(row), reverse("accounts:key_revoke", args=[row.pk])
    assert program.get("/sapi/v1/account/status").status_code == 200
    asked = client.get(url)
    assert "It cannot be taken back into use" in text_of(asked)
    assert ApiKey.objects.get().revoked_at is None
    key = str(uuid4())
    for _ in range(2):  # pressed twice
        assert client.post(url, {"key": key}).status_code == 302
    answer = program.get("/sapi/v1/account/status")
    assert (answer.status_code, answer.json()["code"]) == (401, -2015)
    again = client.post(url, {"key": str(uuid4())})
    assert again.status_code == 422
    assert "was revoked on 1 January 2026 12:00 UTC already" in text_of(again)
    row.refresh_from_db()
    assert (row.revoked_at, row.revoked_by) == (NOON, member)


def test_a_signatory_revokes_a_colleagues_key_and_a_treasurer_does_not(
    customer: Customer, member: User, master: Account
) -> None:
    """R-ADM-09"""
    treasurer = build.colleague(customer, "treasurer")
    row = api_key(master, member)
    client = visit.client_of(treasurer)
    assert (
        reverse("accounts:key_revoke", args=[row.pk])
        not in client.get(reverse("accounts:keys")).content.decode()
    )
    refused = client.post(reverse("accounts:key_revoke", args=[row.pk]), {"key": str(uuid4())})
    assert refused.status_code == 422
    assert ApiKey.objects.get().revoked_at is None
    theirs = api_key(master, treasurer)
    done = visit.client_of(member).post(
        reverse("accounts:key_revoke", args=[theirs.pk]), {"key": str(uuid4())}
    )
    assert done.status_code == 302


def test_the_console_shows_no_secret_and_revokes_with_a_reason(member: User, master: Account) -> None:
    """R-ADM-01, R-ADM-07: operations and admins; the reason stands in the trail"""
    row = api_key(master, member)
    url = reverse("admin:accounts_apikey_revoke", args=[row.pk])
    for role in ("ops", "finance"):
        client = visit.client_of(build.user(role))
        for page in ("changelist", "change"):
            args = [row.pk] if page == "change" else []
            found = client.get(reverse(f"admin:accounts_apikey_{page}", args=args))
            assert found.status_code == 200
            assert row.key[:8] in text_of(found)
            assert row.key not in found.content.decode()
            assert row.secret not in found.content.decode()
    seen = AuditRecord.objects.filter(kind="view", subject=f"accounts_customer:{master.customer_id}")
    assert [look.after["page"] for look in seen] == ["admin:accounts_apikey_change"] * 2
    sent = {"key": str(uuid4()), "reason": "The client lost its laptop."}
    assert visit.client_of(build.user("finance")).post(url, sent, follow=True).status_code == 403
    ops = build.user("ops")
    assert visit.client_of(ops).post(url, sent | {"reason": ""}).status_code == 422
    assert ApiKey.objects.get().revoked_at is None
    assert visit.client_of(ops).post(url, sent).status_code == 302
    row.refresh_from_db()
    assert (row.revoked_at, row.revoked_by) == (NOON, ops)
    trail = AuditRecord.objects.get(subject="keys.revoke")
    assert (trail.reason, trail.actor) == (sent["reason"], f"user:{ops.pk}")
    other = api_key(master, member)
    with pytest.raises(NotYourRole, match="Only these roles may revoke a client's key: admin, operations"):
        keys.revoke(api_key_id=other.pk, actor=Actor.user(build.user("auditor")), at=NOON)
    other.refresh_from_db()
    assert other.revoked_at is None


# --- From the shell -------------------------------------------------------------------------------------


def test_a_key_is_made_from_the_shell(member: User, master: Account, tmp_path: Any) -> None:
    """R-ADM-09: by the same command, with the same refusals"""
    out = StringIO()
    told = {"email": member.email.upper(), "account": master.pk}
    call_command(
        "create_api_key", **told, permissions="read, borrow", networks="127.0.0.1,203.0.113.0/24", stdout=out
    )
    made, row = json.loads(out.getvalue()), ApiKey.objects.get()
    assert made == {
        "id": row.pk,
        "kind": "hmac",
        "key": row.key,
        "account": master.pk,
        "secret": vault.unseal(row.secret),
        "expires_at": None,
    }
    assert (row.can_read, row.can_borrow, row.can_transfer) == (True, True, False)
    assert "from the shell" in AuditRecord.objects.get(subject="keys.create").reason
    (tmp_path / "key.pem").write_text(pem())
    call_command("create_api_key", **told, kind="ed25519", public_key=tmp_path / "key.pem", stdout=out)
    for wrong, words in (
        ({"email": "nobody@example.com"}, "Nobody has the address"),
        ({"account": 10**12}, "There is no account"),
        ({"permissions": "everything"}, "There is no such permission"),
        ({"permissions": "borrow"}, "names the addresses"),
        ({"kind": "rsa", "public_key": tmp_path / "none.pem"}, "No such file"),
    ):
        with pytest.raises(CommandError, match=words):
            call_command("create_api_key", **(told | wrong), stdout=out)
    assert ApiKey.objects.count() == 2
