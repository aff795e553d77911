"""People and their accounts: customers, sub-accounts, members, VIP level, manager, agreements.

A customer opens with its master account; everything a borrower may later do hangs on these rows, so each
change here names who made it and why (TRUST I-21). Whether a user may act for a customer is the edge's
question; what only the desk may do is refused here.
"""

import re
from datetime import datetime

from django.db import IntegrityError, transaction

from accounts.commands import Actor, command
from accounts.errors import Refused
from accounts.models import Acceptance, Account, Agreement, Customer, Membership, User
from accounts.powers import MemberRule, Power
from accounts.words import joined, tell

HIGHEST_VIP_LEVEL = 9
MOST_SUB_ACCOUNTS = 1000  # of one customer; a program may open them
MANAGERS = frozenset({User.Role.VIP_MANAGER, User.Role.ADMIN})
ADMINS = frozenset({User.Role.ADMIN})
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_VIRTUAL_NAME = re.compile(r"[A-Za-z0-9]{1,20}", re.ASCII)


class DeskOnly(Refused):
    code = "desk_only"


class NotYourClient(Refused):
    """A VIP manager works for their own clients only (R-ADM-01, R-ADM-02)."""

    code = "not_your_client"


class BadDetails(Refused):
    """A name, e-mail address or kind that cannot be kept."""

    code = "bad_details"
    sapi = -1130


class EmailTaken(Refused):
    code = "email_taken"
    sapi = -1130


class TooManySubAccounts(Refused):
    code = "too_many_sub_accounts"
    sapi = -1130


class NotABorrower(Refused):
    code = "not_a_borrower"


class AlreadyMember(Refused):
    code = "already_a_member"


class NotAMember(Refused):
    code = "not_a_member"


class NotAManager(Refused):
    code = "not_a_manager"


class BadVIPLevel(Refused):
    code = "bad_vip_level"


class AgreementExists(Refused):
    code = "agreement_exists"


class NotCurrentAgreement(Refused):
    code = "not_the_current_agreement"


class AlreadyAccepted(Refused):
    code = "agreement_already_accepted"


# --- Customers and accounts -------------------------------------------------------------------------


@command("people.open_customer", returns=Customer)
def open_customer(
    *,
    name: str,
    kind: str,
    email: str,
    actor: Actor,
    at: datetime,
    user_id: int | None = None,
    key: str = "",
    reason: str = "",
) -> Customer:
    """A person or a firm with its master account, which `email` names, and its first member. R-GEN-10

    Raises:
        BadDetails: no name, an unknown kind, or `email` is not an address.
        EmailTaken: another account has this address.
        NotABorrower: the user works at the desk, and nobody has two roles.
    """
    if kind not in Customer.Kind.values:
        raise BadDetails(tell("A customer is a person or a firm."))
    customer = Customer.objects.create(name=_named(name, 120), kind=kind, joined_at=at)
    _open_account(
        customer=customer, kind=Account.Kind.MASTER, label=tell("Master"), email=_address(email), at=at
    )
    if user_id is not None:
        _join(customer, user_id, at)
    return customer


@command("people.open_sub_account", returns=Account, member=MemberRule(Power.OPEN))
def open_sub_account(
    *,
    customer_id: int,
    kind: str,
    label: str,
    actor: Actor,
    at: datetime,
    email: str = "",
    key: str = "",
    reason: str = "",
) -> Account:
    """A sub-account of the customer's master. A virtual one has no mailbox: its address is made up. R-GEN-10

    Raises:
        BadDetails: no kind of sub-account, label or address, or a virtual label beyond letters and digits.
        EmailTaken: another account has this address.
        TooManySubAccounts: the customer has a thousand.
        membership.NotYourPart: a member whose role does not open accounts, or who acts for one only (R-ADM-09).
    """
    customer = Customer.objects.get(pk=customer_id)
    if customer.accounts.count() > MOST_SUB_ACCOUNTS:
        raise TooManySubAccounts(
            tell(
                "{customer} has {most_sub_accounts} sub-accounts already, which is the most; use one"
                " of them.",
                customer=customer.name,
                most_sub_accounts=MOST_SUB_ACCOUNTS,
            )
        )
    label = _named(label, 60)
    if kind not in Account.Kind.values or kind == Account.Kind.MASTER:
        raise BadDetails(
            tell("A sub-account is real, virtual or managed; a customer has only one master account.")
        )
    is_virtual = kind == Account.Kind.SUB_VIRTUAL
    email = _virtual_address(customer, label) if is_virtual else _address(email)
    return _open_account(customer=customer, kind=kind, label=label, email=email, at=at)


@command("people.add_member", returns=Membership)
def add_member(
    *,
    customer_id: int,
    user_id: int,
    actor: Actor,
    at: datetime,
    role: str = Membership.Role.SIGNATORY,
    key: str = "",
    reason: str = "",
) -> Membership:
    """The user acts for the customer from now on, as `role`. R-ADM-09

    Raises:
        DeskOnly: a person who is no admin.
        BadDetails: there is no such role.
        NotABorrower: the user works at the desk.
        AlreadyMember: they act for this customer already.
    """
    _require(actor, ADMINS, "let somebody act for a customer")
    if role not in Membership.Role.values:
        raise BadDetails(tell("A member is one of {values}.", values=joined(", ", Membership.Role.values)))
    return _join(Customer.objects.get(pk=customer_id), user_id, at, role=role)


# --- What only the desk changes ---------------------------------------------------------------------


@command("people.set_vip_level", returns=Customer)
def set_vip_level(
    *, customer_id: int, vip_level: int, actor: Actor, at: datetime, key: str = "", reason: str = ""
) -> Customer:
    """VIP level 0 to 9; it decides rates, limits and who may apply online. R-VIP-01

    Raises:
        DeskOnly: the actor is neither a VIP manager nor an admin.
        NotYourClient: a VIP manager, but not this customer's.
        BadVIPLevel: not 0 to 9.
    """
    _require(actor, MANAGERS, tell("change a VIP level"))
    if not 0 <= vip_level <= HIGHEST_VIP_LEVEL:
        raise BadVIPLevel(
            tell(
                "A VIP level is 0 to {highest_vip_level}, not {vip_level}.",
                highest_vip_level=HIGHEST_VIP_LEVEL,
                vip_level=vip_level,
            )
        )
    customer = _locked(customer_id)
    refuse_others_client(customer=customer, actor=actor)
    customer.vip_level = vip_level
    customer.save(update_fields=["vip_level"])
    return customer


@command("people.assign_manager", returns=Customer)
def assign_manager(
    *, customer_id: int, manager_id: int | None, actor: Actor, at: datetime, key: str = "", reason: str = ""
) -> Customer:
    """Who looks after the customer and decides its requests; None takes the manager away. R-VIP-12

    Raises:
        DeskOnly: the actor is neither a VIP manager nor an admin.
        NotYourClient: a VIP manager, and another one has this customer already.
        NotAManager: the one named is no active VIP manager.
    """
    _require(actor, MANAGERS, "assign a manager")
    customer = _locked(customer_id)
    if customer.manager_id is not None:  # who has no manager yet may be taken by any
        refuse_others_client(customer=customer, actor=actor)
    manager = None if manager_id is None else User.objects.get(pk=manager_id)
    if manager and not (manager.is_active and manager.role == User.Role.VIP_MANAGER):
        raise NotAManager(tell("{manager} is not an active VIP manager.", manager=manager.name))
    customer.manager = manager
    customer.save(update_fields=["manager"])
    return customer


@command("people.whitelist", returns=Customer)
def whitelist(
    *,
    customer_id: int,
    actor: Actor,
    at: datetime,
    whitelisted: bool = True,
    key: str = "",
    reason: str = "",
) -> Customer:
    """Let a customer without VIP level apply, or stop letting them. When and by whom is in the audit trail. R-VIP-01

    Raises:
        DeskOnly: the actor is neither a VIP manager nor an admin.
        NotYourClient: a VIP manager, but not this customer's.
    """
    _require(actor, MANAGERS, tell("let a customer without VIP level apply"))
    customer = _locked(customer_id)
    refuse_others_client(customer=customer, actor=actor)
    customer.whitelisted = whitelisted
    customer.save(update_fields=["whitelisted"])
    return customer


# --- Agreements -------------------------------------------------------------------------------------


@command("people.publish_agreement", returns=Agreement)
def publish_agreement(
    *, version: str, text: str, actor: Actor, at: datetime, key: str = "", reason: str = ""
) -> Agreement:
    """A new version of the borrowing terms, in force at once: everyone must accept it anew. R-VIP-16

    Raises:
        DeskOnly: the actor is no admin.
        BadDetails: no version or no text.
        AgreementExists: the version is published already, or one with a later date is.
    """
    _require(actor, ADMINS, "publish an agreement")
    version = _named(version, 20)
    if not text.strip():
        raise BadDetails(tell("Version {version} of the agreement has no text.", version=version))
    if Agreement.objects.filter(version=version).exists():
        raise AgreementExists(
            tell("Version {version} of the agreement is published already.", version=version)
        )
    later = Agreement.objects.filter(published_at__gte=at).order_by("-published_at").first()
    if later is not None:
        raise AgreementExists(
            tell(
                "Version {version} was published at {published_at:%Y-%m-%d %H:%M} UTC; a new one must"
                " come after it.",
                version=later.version,
                published_at=later.published_at,
            )
        )
    return Agreement.objects.create(version=version, text=text, published_at=at)


@command("people.accept_agreement", returns=Acceptance, member=MemberRule(Power.ACCEPT))
def accept_agreement(
    *,
    customer_id: int,
    user_id: int,
    version: str,
    actor: Actor,
    at: datetime,
    key: str = "",
    reason: str = "",
) -> Acceptance:
    """The user accepts, for the customer, the version they were shown. Kept with time and version. R-VIP-16

    Raises:
        NotAMember: the user does not act for this customer.
        NotCurrentAgreement: a newer version is in force than the one shown, or there is none.
        AlreadyAccepted: the customer accepted this version before.
    """
    customer = _locked(customer_id)
    if not customer.memberships.filter(user_id=user_id, account=None).exists():
        raise NotAMember(tell("You do not act for all of {customer}.", customer=customer.name))
    current = current_agreement(at=at)
    if current is None or current.version != version:
        in_force = (
            tell("version {version} is in force", version=current.version)
            if current
            else tell("no agreement is in force")
        )
        raise NotCurrentAgreement(
            tell(
                "You were shown version {version} of the agreement, but {in_force}.",
                version=version,
                in_force=in_force,
            )
        )
    if current.acceptances.filter(customer=customer).exists():
        raise AlreadyAccepted(
            tell(
                "{customer} has already accepted version {version} of the agreement.",
                customer=customer.name,
                version=version,
            )
        )
    return Acceptance.objects.create(agreement=current, customer=customer, user_id=user_id, at=at)


def refuse_others_client(*, customer: Customer, actor: Actor) -> None:
    """Refuse a VIP manager who is not this customer's. Which other roles may do it is asked before. R-ADM-01

    Raises:
        NotYourClient: naming whose client it is.
    """
    if actor.user_id is None or actor.user_id == customer.manager_id:
        return
    if User.objects.filter(pk=actor.user_id, role=User.Role.VIP_MANAGER).exists():
        whose = (
            tell("that is {manager}", manager=customer.manager.name)
            if customer.manager
            else tell("there is none yet; take the client first")
        )
        raise NotYourClient(
            tell(
                "Only the VIP manager of {customer} may do this; {whose}.",
                customer=customer.name,
                whose=whose,
            )
        )


def current_agreement(*, at: datetime) -> Agreement | None:
    """The version in force at `at`."""
    return Agreement.objects.filter(published_at__lte=at).order_by("-published_at", "-pk").first()


def needs_agreement(*, customer: Customer, at: datetime) -> Agreement | None:
    """The version the customer must accept before a request; None when nothing is to accept. R-VIP-16"""
    return unaccepted(current_agreement(at=at), customer=customer, at=at)


def unaccepted(agreement: Agreement | None, *, customer: Customer, at: datetime) -> Agreement | None:
    """`agreement`, the one in force at `at`, if the customer has not accepted it by then."""
    if agreement is None or agreement.acceptances.filter(customer=customer, at__lte=at).exists():
        return None
    return agreement


# --- Private ----------------------------------------------------------------------------------------


def _require(actor: Actor, roles: frozenset[User.Role], what: str) -> None:
    """Refuse a user without one of `roles`. Jobs of ours have no role; who starts them answers for them."""
    who, _, pk = actor.label.partition(":")
    if who == "user" and not User.objects.filter(pk=pk, is_active=True, role__in=roles).exists():
        raise DeskOnly(
            tell(
                "Only {roles} may {what}.",
                roles=joined(tell(" or "), sorted(role.label for role in roles)),
                what=what,
            )
        )


def _locked(customer_id: int) -> Customer:
    return Customer.objects.select_for_update(of=("self",)).get(pk=customer_id)


def _join(
    customer: Customer, user_id: int, at: datetime, *, role: str = Membership.Role.SIGNATORY
) -> Membership:
    user = User.objects.get(pk=user_id)
    if user.role != User.Role.BORROWER:
        raise NotABorrower(
            tell(
                "{user} works here as {role} and cannot act for a customer.",
                user=user.name,
                role=user.get_role_display(),
            )
        )
    membership, made = Membership.objects.get_or_create(
        customer=customer, user=user, defaults={"since": at, "role": role}
    )
    if not made:
        raise AlreadyMember(
            tell("{user} already acts for {customer}.", user=user.name, customer=customer.name)
        )
    return membership


def _open_account(*, customer: Customer, kind: str, label: str, email: str, at: datetime) -> Account:
    """The unique address decides, so that two at once cannot both take it."""
    try:
        with transaction.atomic():
            return Account.objects.create(
                customer=customer, kind=kind, label=label, email=email, opened_at=at
            )
    except IntegrityError as error:
        if not Account.objects.filter(email=email).exists():
            raise
        raise EmailTaken(tell("An account with the address {email} exists already.", email=email)) from error


def _named(text: str, longest: int) -> str:
    text = text.strip()
    if not 0 < len(text) <= longest or not text.isprintable():
        raise BadDetails(tell("A name has 1 to {longest} characters, in one line.", longest=longest))
    return text


def _address(email: str) -> str:
    email = email.strip().lower()
    if len(email) > 254 or not _EMAIL.fullmatch(email):
        raise BadDetails(tell("This account needs an e-mail address, such as desk@example.com."))
    return email


def _virtual_address(customer: Customer, label: str) -> str:
    """Unique per master, and never somebody's mailbox: `.invalid` is reserved for that (RFC 2606)."""
    if not _VIRTUAL_NAME.fullmatch(label):
        raise BadDetails(
            tell("The name of a virtual account has 1 to 20 letters or digits, such as Trading1.")
        )
    master = customer.accounts.get(kind=Account.Kind.MASTER)
    return f"{label.lower()}_virtual@{master.uid}.invalid"
