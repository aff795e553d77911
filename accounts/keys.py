"""Keys of customers' programs: made by a member for one account, used on every request, revoked at once.

A program that has a key acts as the member who made it: what that member's role does not allow, no key does
(accounts/membership.py). On top of that a key is bound to one account, has permissions of its own that are off unless
given, and may be bound to addresses. A key of a sub-account is treated like a member who acts for that one only.
"""

import ipaddress
import logging
import secrets
import string
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cryptography.fernet import InvalidToken
from django.db import IntegrityError, connection, transaction

from accounts import key_lookup, signing, vault
from accounts.commands import Actor, acting_user, command
from accounts.errors import Refused
from accounts.membership import NotYours, bound_to, of_user, refuse_without
from accounts.models import Account, ApiKey, Customer, Membership, UsedSignature, User
from accounts.powers import MemberRule, Power
from accounts.words import tell

logger = logging.getLogger(__name__)

HALTERS: Final = (User.Role.OPS, User.Role.ADMIN)  # of the desk; they revoke a client's key, with a reason
KEY_LENGTH: Final = 64
SECRET_BYTES: Final = 48  # 64 characters of URL-safe base64
MOST_KEYS: Final = 30  # in force, per account
MOST_NETWORKS: Final = 30
LONGEST_LABEL: Final = 60
UNBOUND_LIFE: Final = timedelta(days=90)  # of a key that may be used from anywhere
USE_KEPT_EVERY: Final = timedelta(minutes=1)
WIDEST: Final = {
    4: 8,
    6: 32,
}  # bits that a network names at least, by its version; "from anywhere" is no list
ENOUGH: Final = timedelta(minutes=10)  # longer than any window a signature can be in
NOT_LET_IN: Final = tell("Invalid API-key, IP, or permissions for action.")
_ALPHABET: Final = string.ascii_letters + string.digits

Kind = ApiKey.Kind
POWERS: Final[dict[str, tuple[Power, ...]]] = {
    "can_read": (Power.LOOK,),
    "can_borrow": (Power.APPLY, Power.ACCEPT, Power.REPAY),
    "can_transfer": (Power.MOVE,),
    "can_withdraw": (Power.WITHDRAW,),
}
"""What a member must be able to do to give a key that permission."""


class BadKeyDetails(Refused):
    """Its label, kind, public half or addresses cannot be; the message says which and how it can."""

    code = "bad_key_details"


class NotForThisAccount(Refused):
    code = "not_for_this_account"


class TooManyKeys(Refused):
    code = "too_many_keys"


class KeyRevoked(Refused):
    code = "key_revoked"


class BadKeyFormat(Refused):
    code = "bad_key_format"
    sapi = -2014


class NoSuchKey(Refused):
    """Unknown, revoked, expired, from another address, without the permission, or its member is gone: all alike."""

    code = "no_such_key"
    sapi = -2015


class SignatureUsed(Refused):
    code = "signature_used"
    sapi = -1022


@dataclass(frozen=True, slots=True)
class Caller:
    """Who a request comes from: the key, as whom it acts, and for which account."""

    key: ApiKey
    membership: Membership

    @property
    def account(self) -> Account:
        return self.key.account

    @property
    def customer(self) -> Customer:
        return self.key.account.customer

    @property
    def user(self) -> User:
        return self.key.user

    @property
    def actor(self) -> Actor:
        return Actor.user(self.key.user)

    @property
    def only(self) -> Account | None:
        """The one account it reaches; None: all of the customer's. R-GEN-95"""
        is_whole = self.account.is_master and self.membership.account is None
        return None if is_whole else self.account

    @contextmanager
    def acting(self) -> Iterator[None]:
        """Commands called inside treat the member as bound to the key's account."""
        token = bound_to.set(self.only)
        try:
            yield
        finally:
            bound_to.reset(token)


# --- Making and revoking ----------------------------------------------------------------------------


@command("keys.create", returns=ApiKey, member=MemberRule(Power.LOOK))
def create(
    *,
    account_uid: int,
    label: str,
    kind: str,
    permissions: Collection[str],
    networks: Sequence[str],
    actor: Actor,
    at: datetime,
    public_key: str = "",
    key: str = "",
    reason: str = "",
) -> ApiKey:
    """A key for this account, acting as the member who makes it. Its secret is read with `secret_of`, once.

    Whoever may be anywhere may not borrow or withdraw: such a key names its addresses, and any other expires after 90
    days unless it does.

    Raises:
        BadKeyDetails: no label or kind, an unknown permission, a bad address, or no usable public half.
        NotForThisAccount: a sub-account's key is to borrow; only the master borrows (R-VIP-02).
        membership.NotYourPart: the member's own role does not reach that far (R-ADM-09).
        TooManyKeys: the account has thirty.
    """
    account = Account.objects.select_for_update(of=("self",), no_key=True).get(pk=account_uid)
    mine = of_user(actor.user_id, account.customer_id)
    if mine is None:
        raise BadKeyDetails(
            tell("Only a member of the customer makes keys: a program acts as the one who made its key.")
        )
    for permission in permissions:
        if permission not in POWERS:
            raise BadKeyDetails(tell("There is no such permission."))
        for power in POWERS[permission]:
            refuse_without(mine, power)
    if "can_borrow" in permissions and not account.is_master:
        raise NotForThisAccount(
            tell(
                "Only the master account borrows, renews and repays; {account} is a sub-account. Make"
                " the key for the master.",
                account=account,
            )
        )
    allowed = _networks(networks)
    if not allowed and {"can_borrow", "can_withdraw"} & set(permissions):
        raise BadKeyDetails(
            tell(
                "A key that may borrow or withdraw names the addresses it is used from, such as 203.0.113.7."
            )
        )
    if account.api_keys.filter(revoked_at=None).count() >= MOST_KEYS:
        raise TooManyKeys(
            tell(
                "{account} has {most_keys} keys; revoke one that is not used any more first.",
                account=account,
                most_keys=MOST_KEYS,
            )
        )
    row = ApiKey.objects.create(
        key="".join(secrets.choice(_ALPHABET) for _ in range(KEY_LENGTH)),
        kind=kind,
        label=_label(label),
        account=account,
        user=mine.user,
        networks=allowed,
        created_at=at,
        expires_at=None if allowed else at + UNBOUND_LIFE,
        **_credential(kind, public_key),
        **dict.fromkeys(permissions, True),
    )
    row.is_fresh = True  # type: ignore[attr-defined]  # of this object: a repeat reads the row from the database
    return row


@command("keys.revoke", returns=ApiKey, member=MemberRule(Power.LOOK))
def revoke(
    *,
    api_key_id: int,
    actor: Actor,
    at: datetime,
    account_uid: int | None = None,
    key: str = "",
    reason: str = "",
) -> ApiKey:
    """The key opens nothing any more, from the next request on. Its maker does it, who governs the firm, or the desk.

    Who acts for one account names it, as in every command.

    Raises:
        KeyRevoked: it is already.
        membership.NotYours: the account named is not the key's.
        membership.NotYourPart: somebody else's key, and the member does not govern (R-ADM-09).
        commands.NotYourRole: somebody of the desk, but neither operations nor an admin.
    """
    row = ApiKey.objects.select_for_update(of=("self",)).select_related("account").get(pk=api_key_id)
    if account_uid not in (None, row.account_id):
        raise NotYours(tell("There is nothing like that among what you act for."))
    mine = of_user(actor.user_id, row.account.customer_id)
    if mine is None and actor.user_id is not None:
        acting_user(actor, roles=HALTERS, doing=tell("revoke a client's key"))
    if mine is not None and row.user_id != actor.user_id:
        refuse_without(mine, Power.GOVERN)
    if row.revoked_at is not None:
        raise KeyRevoked(
            tell(
                "{row} was revoked on {revoked_at:%-d %B %Y %H:%M} UTC already.",
                row=row,
                revoked_at=row.revoked_at,
            )
        )
    row.revoked_at, row.revoked_by_id = at, actor.user_id
    row.save(update_fields=["revoked_at", "revoked_by"])
    return row


def is_fresh(row: ApiKey) -> bool:
    """Whether this very call made it; then, and only then, its secret may be shown."""
    return getattr(row, "is_fresh", False)


def secret_of(row: ApiKey) -> str:
    """The secret of an HMAC key, or the whole bearer token; for whoever just made it, and for checking signatures.

    Raises:
        NoSuchKey: it was sealed with a key that is not listed any more; nobody can use it, and the log says so.
    """
    try:
        secret = vault.unseal(row.secret)
    except InvalidToken:
        logger.error("the secret of API key %s does not open: list in SECRET_SEALS what sealed it", row.pk)
        raise NoSuchKey(NOT_LET_IN) from None
    return f"{row.key}.{secret}" if row.kind == Kind.TOKEN else secret


# --- Using ------------------------------------------------------------------------------------------


def find(key: str, *, address: str, at: datetime) -> Caller:
    """Whose request this is, if the key is in force and may be used from `address`. What it signed is still to check.

    Raises:
        BadKeyFormat: nothing that could be a key.
        NoSuchKey: unknown, revoked, expired, a bearer token's, from elsewhere, or its member is gone.
    """
    caller = _found(key, address=address, at=at)
    if caller.key.kind == Kind.TOKEN:
        raise NoSuchKey(NOT_LET_IN)
    return caller


def find_bearer(token: str, *, address: str, at: datetime) -> Caller:
    """As `find`, by a bearer token of our own API. Its use is noted.

    Raises:
        BadKeyFormat, NoSuchKey: as `find`; also when the secret half is wrong.
    """
    caller = _found(token.partition(".")[0], address=address, at=at)
    if caller.key.kind != Kind.TOKEN or not secrets.compare_digest(
        secret_of(caller.key).encode(), token.encode(errors="replace")
    ):
        raise NoSuchKey(NOT_LET_IN)
    note_use(caller, address=address, at=at)
    return caller


def note_use(caller: Caller, *, address: str, at: datetime) -> None:
    """Keep when and from where it was used, by the minute; for a request that has proven whose it is."""
    last = getattr(caller.key, "use", None)
    if last is not None and at - last.at < USE_KEPT_EVERY:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO accounts_apikeyuse (api_key_id, at, address) VALUES (%s, %s, %s)"
            " ON CONFLICT (api_key_id) DO UPDATE SET at = EXCLUDED.at, address = EXCLUDED.address"
            " WHERE accounts_apikeyuse.at < EXCLUDED.at",
            [caller.key.pk, at, address[:45]],
        )


def require(caller: Caller, permission: str) -> None:
    """Refuse a key without this permission.

    Raises:
        NoSuchKey: said as for a key that does not exist.
    """
    if not getattr(caller.key, permission):
        raise NoSuchKey(NOT_LET_IN)


def is_in_force(row: ApiKey, *, at: datetime) -> bool:
    return row.revoked_at is None and (row.expires_at is None or row.expires_at > at)


def use_up(caller: Caller, digest: str, *, at: datetime) -> None:
    """A write takes its signature; nobody sends it again, wherever to. TRUST I-26

    Raises:
        SignatureUsed: somebody has.
    """
    try:
        with transaction.atomic():
            UsedSignature.objects.create(api_key=caller.key, digest=digest, at=at)
    except IntegrityError:
        raise SignatureUsed(
            tell("Signature for this request was used already; sign every request anew.")
        ) from None


def forget_signatures(*, at: datetime) -> int:
    """Drop used signatures that no window reaches any more; returns how many."""
    dropped, _ = UsedSignature.objects.filter(at__lt=at - ENOUGH).delete()
    return dropped


# --- Private ----------------------------------------------------------------------------------------


def _credential(kind: str, public_key: str) -> dict[str, str]:
    if kind in (Kind.HMAC, Kind.TOKEN):
        if public_key:
            raise BadKeyDetails(tell("A public key belongs to an RSA or Ed25519 key; leave it empty here."))
        return {"secret": vault.seal(secrets.token_urlsafe(SECRET_BYTES))}
    if kind not in (Kind.RSA, Kind.ED25519):
        raise BadKeyDetails(tell("A key is HMAC, RSA, Ed25519 or a bearer token."))
    try:
        half = signing.public_key_of(public_key, kind=kind)
    except signing.BadPublicKey as error:
        raise BadKeyDetails(str(error)) from None
    # Which key a request names is not signed: under two keys of one pair a signature would serve twice. TRUST I-26
    with connection.cursor() as cursor:  # so that of two at once the second sees the first
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [half])
    if ApiKey.objects.filter(public_key=half).exists():
        raise BadKeyDetails(
            tell("A key with this public half was made before; make a new pair for each key.")
        )
    return {"public_key": half}


def _label(text: str) -> str:
    text = text.strip()
    if not 0 < len(text) <= LONGEST_LABEL or not text.isprintable():
        raise BadKeyDetails(
            tell("A label has 1 to {longest_label} characters, in one line.", longest_label=LONGEST_LABEL)
        )
    return text


def _networks(texts: Sequence[str]) -> list[str]:
    if len(texts) > MOST_NETWORKS:
        raise BadKeyDetails(
            tell("A key names at most {most_networks} addresses.", most_networks=MOST_NETWORKS)
        )
    found = []
    for text in texts:
        try:
            network = ipaddress.ip_network(text.strip())
        except ValueError:
            raise BadKeyDetails(
                "An address is like 203.0.113.7 or 2001:db8::7, a network like 203.0.113.0/24."
            ) from None
        if network.prefixlen < WIDEST[network.version]:
            raise BadKeyDetails(
                tell(
                    "{network} is too wide; name at least /{widest} of it.",
                    network=network,
                    widest=WIDEST[network.version],
                )
            )
        found.append(str(network))
    return list(dict.fromkeys(found))


def _found(key: str, *, address: str, at: datetime) -> Caller:
    if not (0 < len(key) <= KEY_LENGTH and key.isascii() and key.isalnum()):
        raise BadKeyFormat(tell("API-key format invalid."))
    found = key_lookup.of_member(key)
    if found is None:
        raise NoSuchKey(NOT_LET_IN)
    row, mine = found
    is_theirs = mine.account_id in (None, row.account_id)
    if not is_theirs or not is_in_force(row, at=at) or not _may_come_from(row, address):
        raise NoSuchKey(NOT_LET_IN)
    return Caller(key=row, membership=mine)


def _may_come_from(row: ApiKey, address: str) -> bool:
    if not row.networks:
        return True
    try:
        come = ipaddress.ip_address(address)
    except ValueError:
        return False
    # A server that listens on both calls 1.2.3.4 ::ffff:1.2.3.4.
    come = getattr(come, "ipv4_mapped", None) or come
    return any(come in ipaddress.ip_network(network) for network in row.networks)
