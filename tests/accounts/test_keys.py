"""API keys as a chapter: who makes and revokes one, as whom it acts, how far it reaches, what is kept of its secret."""

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography.fernet import InvalidToken
from django.db import DatabaseError, connection
from hypothesis import given
from hypothesis import strategies as st

from accounts import keys, members, membership, vault
from accounts.commands import Actor, acting
from accounts.errors import Refused
from accounts.membership import NotYourPart, NotYours
from accounts.models import Account, ApiKey, AuditRecord, Customer, IdempotencyKey, UsedSignature, User
from tests import build
from tests.accounts.wires import public_half
from tests.build import BUILDER, NOON
from tests.programs import ALL, api_key

pytestmark = pytest.mark.django_db
HERE = "127.0.0.1"


@pytest.fixture
def member() -> User:
    return build.user()


@pytest.fixture
def owner(member: User) -> Customer:
    return build.customer(member=member)


@pytest.fixture
def master(owner: Customer) -> Account:
    return build.master(owner)


def create(account: Account, user: User, **told: Any) -> ApiKey:
    given = {"label": "robot", "kind": "hmac", "permissions": ["can_read"], "networks": [], "at": NOON}
    return keys.create(account_uid=account.pk, actor=Actor.user(user), **(given | told))


def everything() -> Any:
    return list(ApiKey.objects.order_by("pk").values()), AuditRecord.objects.count()


# --- Making ---------------------------------------------------------------------------------------------


def test_what_is_kept_of_a_secret_opens_only_with_the_seal(master: Account, member: User) -> None:
    """TRUST 7: neither the row, nor the trail, nor the repeat of a request has it in the clear"""
    row = create(master, member, key="once")
    secret = keys.secret_of(row)
    assert len(row.key) == len(secret) == keys.KEY_LENGTH
    assert row.key.isalnum()
    assert vault.unseal(row.secret) == secret
    kept = json.dumps(
        [list(model.objects.values()) for model in (ApiKey, AuditRecord, IdempotencyKey)], default=str
    )
    assert row.key in kept
    assert secret not in kept
    assert create(master, member).key != row.key


@pytest.mark.parametrize(
    ("told", "refusal"),
    [
        ({"label": ""}, keys.BadKeyDetails),
        ({"label": "x" * 61}, keys.BadKeyDetails),
        ({"label": "a\x1b[31m"}, keys.BadKeyDetails),
        ({"label": "a\u202eb"}, keys.BadKeyDetails),
        ({"kind": "dsa"}, keys.BadKeyDetails),
        ({"kind": "rsa"}, keys.BadKeyDetails),
        ({"public_key": "x"}, keys.BadKeyDetails),
        ({"permissions": ["can_fly"]}, keys.BadKeyDetails),
        ({"permissions": ["secret"]}, keys.BadKeyDetails),
        ({"permissions": ["can_borrow"]}, keys.BadKeyDetails),
        ({"networks": ["203.0.113.7", "x"]}, keys.BadKeyDetails),
        ({"networks": [""]}, keys.BadKeyDetails),
        ({"networks": ["1.2.3.0/7"]}, keys.BadKeyDetails),
        ({"networks": ["0.0.0.0/0"]}, keys.BadKeyDetails),
        ({"networks": [f"10.0.0.{n}" for n in range(31)]}, keys.BadKeyDetails),
    ],
)
def test_a_key_that_cannot_be_is_not_made(
    told: dict[str, Any], refusal: type[Refused], master: Account, member: User
) -> None:
    """R-ADM-09"""
    before = everything()
    with pytest.raises(refusal):
        create(master, member, **told)
    assert everything() == before


@pytest.mark.parametrize("kind", ["rsa", "ed25519"])
def test_a_pair_has_one_key(kind: str, master: Account, member: User, owner: Customer) -> None:
    """I-26, B-08: a signature does not say of which key it is, so under two keys of one pair it would serve twice"""
    row, sub = create(master, member, kind=kind, public_key=public_half(kind)), build.account(owner)
    keys.revoke(api_key_id=row.pk, actor=Actor.user(member), at=NOON)
    before, pem = everything(), public_half(kind).replace("\n", "\r\n")
    for account in (master, sub):
        with pytest.raises(keys.BadKeyDetails, match="make a new pair"):
            create(account, member, kind=kind, public_key=pem)
    assert everything() == before


def test_only_a_member_makes_a_key_and_only_of_their_accounts(
    master: Account, member: User, owner: Customer
) -> None:
    """R-ADM-09, R-GEN-95: neither a stranger, nor staff, nor a job; one account's member of that account"""
    sub = build.account(owner)
    one, stranger = build.colleague(owner, "trader", only=sub), build.user()
    build.customer(member=stranger)
    nobody, admin = build.user(), build.user("admin")
    before = everything()
    for user, refusal in (
        (stranger, NotYours),
        (nobody, NotYours),
        (admin, keys.BadKeyDetails),
        (one, NotYourPart),
    ):
        with pytest.raises(refusal):
            create(master, user)
    with pytest.raises(keys.BadKeyDetails, match="Only a member"):
        keys.create(
            account_uid=master.pk,
            label="x",
            kind="hmac",
            permissions=[],
            networks=[],
            actor=Actor.job("x"),
            at=NOON,
        )
    assert everything() == before
    assert create(sub, one).user == one


@pytest.mark.parametrize("role", ["treasurer", "trader", "viewer"])
def test_no_key_does_what_its_maker_may_not(role: str, master: Account, owner: Customer) -> None:
    """R-ADM-09"""
    user = build.colleague(owner, role)
    for permission in ALL:
        allowed = {"viewer": {"can_read"}, "trader": {"can_read", "can_transfer"}}.get(role, set(ALL))
        if permission in allowed:
            assert getattr(create(master, user, permissions=[permission], networks=[HERE]), permission)
        else:
            with pytest.raises(NotYourPart, match=f"As a {role} of {owner.name}"):
                create(master, user, permissions=[permission], networks=[HERE])


def test_a_key_is_for_good_and_a_used_signature_stays_used(master: Account, member: User) -> None:
    """I-26: the database refuses it, whatever the program says"""
    row = create(master, member)
    caller = keys.find(row.key, address=HERE, at=NOON)
    keys.use_up(caller, "0" * 64, at=datetime.now(tz=NOON.tzinfo))
    keys.revoke(api_key_id=row.pk, actor=Actor.user(member), at=NOON)
    for statement in (
        "UPDATE accounts_apikey SET can_withdraw = true",
        "UPDATE accounts_apikey SET networks = '[]'",
        "UPDATE accounts_apikey SET revoked_at = NULL",
        "DELETE FROM accounts_apikey",
        "UPDATE accounts_usedsignature SET digest = ''",
        "DELETE FROM accounts_usedsignature",
    ):
        with pytest.raises(DatabaseError), acting(BUILDER), connection.cursor() as cursor:
            cursor.execute(statement)
    assert UsedSignature.objects.count() == 1


# --- Using ----------------------------------------------------------------------------------------------


def test_a_key_acts_as_its_member_for_its_account(master: Account, member: User, owner: Customer) -> None:
    """R-GEN-95: a sub-account's key is a member who acts for that one, even when its maker acts for all"""
    sub, other = build.account(owner), build.account(owner)
    whole = keys.find(create(master, member).key, address=HERE, at=NOON)
    assert (whole.only, whole.account, whole.customer, whole.user) == (None, master, owner, member)
    bound = keys.find(create(sub, member).key, address=HERE, at=NOON)
    assert (bound.only, bound.account, bound.actor) == (sub, sub, Actor.user(member))
    told = {"label": "x", "kind": "hmac", "permissions": [], "networks": [], "at": NOON}
    with bound.acting():
        for account in (master, other):
            with pytest.raises(NotYourPart, match=f"You act for {sub.label}"):
                create(account, member, **told)
        assert create(sub, member, **told).account == sub
        mine = membership.of_user(member.pk, owner.pk)
        assert mine is not None
        assert mine.account == sub
    assert membership.bound_to.get() is None
    with whole.acting():
        assert create(other, member, **told).account == other


def test_a_members_key_dies_with_their_place(master: Account, owner: Customer) -> None:
    """R-ADM-09: who acts for one account now has no key of another that still opens something"""
    user, sub = build.colleague(owner, "treasurer"), build.account(owner)
    of_master, of_sub = create(master, user), create(sub, user)
    members.limit(customer_id=owner.pk, user_id=user.pk, account_uid=sub.pk, actor=BUILDER, at=NOON)
    with pytest.raises(keys.NoSuchKey):
        keys.find(of_master.key, address=HERE, at=NOON)
    assert keys.find(of_sub.key, address=HERE, at=NOON).only == sub


def test_a_place_that_was_moved_since_the_key_was_found_opens_nothing(
    master: Account, owner: Customer
) -> None:
    """R-GEN-95: the account of the key does not stand in for the one its member was limited to meanwhile"""
    user, sub, other = build.colleague(owner, "treasurer"), build.account(owner), build.account(owner)
    caller = keys.find(create(sub, user).key, address=HERE, at=NOON)
    members.limit(customer_id=owner.pk, user_id=user.pk, account_uid=other.pk, actor=BUILDER, at=NOON)
    with caller.acting(), pytest.raises(NotYours):
        create(sub, user)
    assert ApiKey.objects.filter(user=user).count() == 1


def test_a_token_is_taken_whole_and_only_as_one(master: Account, member: User) -> None:
    """TRUST 7: name and secret with a full stop between; no half of it, no other's, no signing key's secret"""
    row, other, hmac = create(master, member, kind="token"), create(master, member, kind="token"), None
    hmac = create(master, member)
    token = keys.secret_of(row)
    assert keys.find_bearer(token, address=HERE, at=NOON).key == row
    assert keys.find_bearer(token, address=HERE, at=NOON).key.use.address == HERE
    for wrong in (
        *(row.key, f"{row.key}.", f"{row.key}.x", token + "x", token[:-1], f"{token} ", f"{row.key}.é"),
        *(f"{row.key}.{keys.secret_of(other).partition('.')[2]}", f"{hmac.key}.{keys.secret_of(hmac)}"),
        f"{row.key}.\ud800",
    ):
        with pytest.raises(keys.NoSuchKey):
            keys.find_bearer(wrong, address=HERE, at=NOON)
    for wrong in ("", ".", f".{token}", "x" * 65, "é.x"):
        with pytest.raises(keys.BadKeyFormat):
            keys.find_bearer(wrong, address=HERE, at=NOON)
    with pytest.raises(keys.NoSuchKey):
        keys.find(row.key, address=HERE, at=NOON)
    with pytest.raises(keys.NoSuchKey):
        keys.find_bearer(token, address=HERE, at=NOON + keys.UNBOUND_LIFE)


def test_a_use_is_noted_by_the_minute(master: Account, member: User) -> None:
    """TRUST 7: last used, from where"""
    row = api_key(master, member)

    def use(seconds: int, address: str) -> tuple[datetime, str]:
        at = NOON + timedelta(seconds=seconds)
        caller = keys.find(row.key, address=HERE, at=at)
        keys.note_use(caller, address=address, at=at)
        found = ApiKey.objects.select_related("use").get().use
        return found.at, found.address

    assert use(0, HERE) == (NOON, HERE)
    assert use(59, "127.0.0.2") == (NOON, HERE)
    assert use(60, "127.0.0.3") == (NOON + timedelta(seconds=60), "127.0.0.3")
    assert use(-600, "127.0.0.4") == (NOON + timedelta(seconds=60), "127.0.0.3")


def test_a_signature_is_of_one_key(master: Account, member: User) -> None:
    """I-26"""
    one, two = (keys.find(create(master, member).key, address=HERE, at=NOON) for _ in range(2))
    keys.use_up(one, "a" * 64, at=NOON)
    keys.use_up(two, "a" * 64, at=NOON)
    with pytest.raises(keys.SignatureUsed):
        keys.use_up(one, "a" * 64, at=NOON + timedelta(days=1))
    assert UsedSignature.objects.count() == 2
    assert keys.forget_signatures(at=NOON + keys.ENOUGH) == 0
    assert keys.forget_signatures(at=NOON + keys.ENOUGH + timedelta(seconds=1)) == 2


def test_a_key_named_for_another_account_is_not_revoked(
    master: Account, member: User, owner: Customer
) -> None:
    """R-GEN-95: who acts for one account cannot name it and reach another's key"""
    sub = build.account(owner)
    one, row = build.colleague(owner, "signatory", only=sub), create(master, member)
    for account_uid, refusal in ((None, NotYourPart), (sub.pk, NotYours), (master.pk, NotYourPart)):
        with pytest.raises(refusal):
            keys.revoke(api_key_id=row.pk, account_uid=account_uid, actor=Actor.user(one), at=NOON)
    stranger = build.user()
    build.customer(member=stranger)
    with pytest.raises(NotYours):
        keys.revoke(api_key_id=row.pk, actor=Actor.user(stranger), at=NOON)
    row.refresh_from_db()
    assert row.revoked_at is None
    keys.revoke(api_key_id=row.pk, actor=Actor.job("clean-up"), at=NOON)


# --- The seal -------------------------------------------------------------------------------------------


@given(text=st.text(st.characters(codec="utf-8"), max_size=200))
def test_what_is_sealed_opens_and_says_nothing(text: str) -> None:
    """TRUST 7: never the same twice"""
    one, two = vault.seal(text), vault.seal(text)
    assert one != two
    assert vault.unseal(one) == vault.unseal(two) == text


def test_a_new_seal_opens_what_the_old_one_closed_while_both_are_listed(settings: Any) -> None:
    """TRUST 7: rotation; what was tampered with never opens"""
    try:
        old = vault.seal("secret")
        settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "a new one"
        vault._seals.cache_clear()
        new = vault.seal("secret")
        assert vault.unseal(old) == vault.unseal(new) == "secret"
        settings.SECRET_KEY_FALLBACKS = []
        vault._seals.cache_clear()
        assert vault.unseal(new) == "secret"
        for broken in (old, new[:-2] + "A=", ""):
            with pytest.raises(InvalidToken):
                vault.unseal(broken)
    finally:
        vault._seals.cache_clear()
