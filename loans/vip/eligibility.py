"""Who may ask for which loan, with which accounts: the checks that need no price (R-VIP-01…05, R-GEN-10…15).

Every check is a named function in a list and returns what is wrong in plain words, on the field it is about,
so that a form can show everything at once. Adding a check is adding a line.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from accounts.models import Account, Agreement, Asset, Customer, User
from accounts.money import MAX_AMOUNT, round_down
from accounts.people import current_agreement, unaccepted
from accounts.words import tell
from loans.models import Product, RateType
from loans.policy import Policy, policy_of
from loans.ratecards import FIXED_TERMS
from risk import freezes
from risk.models import CollateralGroup, Debt, Member

LONGEST_CONTACT, LONGEST_PURPOSE = 200, 2000  # the columns of Application
LONGEST_TERM = 365  # days, and only by negotiation


@dataclass(frozen=True, slots=True)
class Wish:
    """One coin to borrow, in the coin's own units."""

    asset: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Request:
    """What the applicant typed (R-VIP-10). `asked_by` is the account that asks; None is the master."""

    customer_id: int
    applicant_id: int
    receiver_uid: int
    account_uids: tuple[int, ...]
    coins: tuple[str, ...]
    wishes: tuple[Wish, ...]
    rate_type: str
    term_days: int | None
    contact: str
    purpose: str
    manager_id: int | None = None
    asked_by: int | None = None
    all_or_nothing: bool = False  # a coin that cannot be lent stops the others too (R-VIP-19)
    auto_repay: bool = False  # at expiry, from the receiver's Spot (R-VIP-47)
    negotiated: bool = False  # the term is settled between both sides: any of 1 to 365 days (R-VIP-20)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with a request: on which field, a stable code, and words for people.

    `field` is a field of `Request`; `wishes.BTC` is one coin's.
    """

    field: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Parties:
    """The rows a request names. What does not exist, or is not the customer's, is absent."""

    request: Request
    customer: Customer
    product: Product
    at: datetime
    accounts: Mapping[int, Account]  # the customer's, by uid
    assets: Mapping[str, Asset]
    group: CollateralGroup | None  # the receiver's open one
    policy: Policy  # what this client gets instead of the published terms
    agreement: Agreement | None  # the one in force
    must_accept: Agreement | None  # the same, if the customer has not

    @property
    def receiver(self) -> Account | None:
        return self.accounts.get(self.request.receiver_uid)

    @property
    def collateral(self) -> list[Account]:
        return [
            self.accounts[uid] for uid in dict.fromkeys(self.request.account_uids) if uid in self.accounts
        ]


def parties_of(request: Request, *, customer: Customer, product: Product, at: datetime) -> Parties:
    """Read the rows a request names."""
    symbols = {*request.coins, *(wish.asset for wish in request.wishes)}
    uids = [request.receiver_uid, *request.account_uids]
    if request.asked_by is not None:
        uids.append(request.asked_by)
    agreement = current_agreement(at=at)
    open_groups = CollateralGroup.objects.open().filter(product=product.code, customer=customer)
    return Parties(
        request=request,
        customer=customer,
        product=product,
        at=at,
        accounts={account.pk: account for account in customer.accounts.filter(pk__in=uids)},
        assets=Asset.objects.in_bulk(sorted(symbols)),
        group=open_groups.filter(receiver_id=request.receiver_uid).first(),
        policy=policy_of(customer, at=at),
        agreement=agreement,
        must_accept=unaccepted(agreement, customer=customer, at=at),
    )


def problems(parties: Parties) -> list[Problem]:
    """Everything wrong with the request that can be said without a price."""
    return [problem for check in CHECKS for problem in check(parties)]


def borrowable(parties: Parties) -> list[Wish]:
    """The wishes that can be priced: a loan coin, once, in an amount that exists."""
    first: dict[str, Wish] = {}
    for wish in parties.request.wishes:
        first.setdefault(wish.asset, wish)
    return [wish for wish in first.values() if _may_borrow(wish, parties.assets.get(wish.asset))]


# --- Who --------------------------------------------------------------------------------------------


def _acts_for_the_master(parties: Parties) -> Iterator[Problem]:
    """R-VIP-02, R-GEN-95: who acts for one sub-account only does not apply for the master."""
    request, customer = parties.request, parties.customer
    for_all = customer.memberships.filter(user__is_active=True, account=None)
    if not for_all.filter(user_id=request.applicant_id).exists():
        yield Problem(
            "applicant_id",
            "not_a_member",
            tell("You do not act for all of {customer}.", customer=customer.name),
        )
    if request.asked_by is None:
        return
    asking = parties.accounts.get(request.asked_by)
    if asking is None or not asking.is_master:
        yield Problem(
            "asked_by",
            "master_only",
            tell(
                "Only the master account may apply for a loan; {asking} is a sub-account.",
                asking=asking or request.asked_by,
            ),
        )


def _is_vip(parties: Parties) -> Iterator[Problem]:
    """R-VIP-01"""
    customer = parties.customer
    if customer.vip_level == 0 and not customer.whitelisted:
        yield Problem(
            "customer_id",
            "vip_only",
            tell(
                "{customer} has no VIP level; VIP loans start at VIP 1. Send an enquiry: a VIP"
                " manager can let you in.",
                customer=customer.name,
            ),
        )


def _accepted_the_agreement(parties: Parties) -> Iterator[Problem]:
    """R-VIP-16"""
    if parties.must_accept is not None:
        version = parties.must_accept.version
        yield Problem(
            "agreement",
            "agreement_needed",
            tell("Accept version {version} of the borrowing agreement first.", version=version),
        )


def _owes_no_residue(parties: Parties) -> Iterator[Problem]:
    """R-GEN-78: what a liquidation left owing blocks new borrowing."""
    residual = Debt.objects.open().filter(customer=parties.customer, residual_since__isnull=False)
    for debt in residual.order_by("pk"):
        yield Problem(
            "customer_id",
            "residual_debt",
            tell(
                "{booked:f} {asset} is still owed after a liquidation; repay it before borrowing again.",
                booked=debt.booked,
                asset=debt.asset_id,
            ),
        )


def _is_not_frozen(parties: Parties) -> Iterator[Problem]:
    """R-ADM-04, R-VIP-13: with the reason, and when it ends by itself."""
    request = parties.request
    for message in freezes.borrow_problems(
        at=parties.at,
        uids=parties.accounts,
        group=parties.group,
        assets=[wish.asset for wish in request.wishes],
    ):
        yield Problem("customer_id", "frozen", message)


def _names_a_manager(parties: Parties) -> Iterator[Problem]:
    """R-VIP-10: optional, but a real one."""
    chosen = parties.request.manager_id
    managers = User.objects.filter(role=User.Role.VIP_MANAGER, is_active=True)
    if chosen is not None and not managers.filter(pk=chosen).exists():
        yield Problem("manager_id", "no_such_manager", tell("Choose one of the VIP managers, or none."))


def _says_why(parties: Parties) -> Iterator[Problem]:
    """R-VIP-10"""
    request = parties.request
    for field, text, longest in (
        ("contact", request.contact, LONGEST_CONTACT),
        ("purpose", request.purpose, LONGEST_PURPOSE),
    ):
        if not 0 < len(text.strip()) <= longest or "\x00" in text:  # NUL: the database keeps no such text
            yield Problem(
                field,
                f"bad_{field}",
                tell("Fill in the {field}, with at most {longest} characters.", field=field, longest=longest),
            )


# --- What -------------------------------------------------------------------------------------------


def _term_and_rate_fit(parties: Parties) -> Iterator[Problem]:
    """R-VIP-20, R-VIP-21"""
    request = parties.request
    if request.term_days is not None and request.term_days not in _terms(request):
        if request.negotiated:
            message = tell(
                "A negotiated loan runs for 1 to {longest_term} days, or is open.", longest_term=LONGEST_TERM
            )
        else:
            message = tell(
                "A loan runs for 30 days, for 60 days, or is open. For another term send an enquiry."
            )
        yield Problem("term_days", "bad_term", message)
    if request.rate_type not in RateType.values:
        yield Problem("rate_type", "bad_rate_type", tell("A rate is fixed or flexible."))
    elif request.rate_type == RateType.FIXED and request.term_days is None:
        yield Problem("rate_type", "fixed_needs_a_term", tell("A fixed rate needs a term of 30 or 60 days."))


def _terms(request: Request) -> Collection[int]:
    return range(1, LONGEST_TERM + 1) if request.negotiated else FIXED_TERMS


def _coins_to_borrow(parties: Parties) -> Iterator[Problem]:
    """R-VIP-05, R-GEN-01"""
    wishes, most = parties.request.wishes, parties.product.max_coins
    if not 1 <= len(wishes) <= most:
        yield Problem(
            "wishes",
            "too_many_coins",
            tell("Borrow 1 to {most} coins at a time, not {count}.", most=most, count=len(wishes)),
        )
    symbols = [wish.asset for wish in wishes]
    for symbol in sorted({symbol for symbol in symbols if symbols.count(symbol) > 1}):
        yield Problem(
            f"wishes.{symbol}",
            "coin_twice",
            tell("{symbol} is asked for twice; ask for it once.", symbol=symbol),
        )
    for wish in wishes:
        asset = parties.assets.get(wish.asset)
        if asset is None or not asset.loanable:
            yield Problem(
                f"wishes.{wish.asset}",
                "not_loanable",
                tell("{asset} is not a coin the desk lends.", asset=wish.asset),
            )
        elif not _is_amount(wish.amount, asset):
            yield Problem(
                f"wishes.{wish.asset}",
                "bad_amount",
                tell(
                    "The amount of {asset} must be more than 0, with at most {places} decimals.",
                    asset=wish.asset,
                    places=asset.places,
                ),
            )


def _may_borrow(wish: Wish, asset: Asset | None) -> bool:
    return asset is not None and asset.loanable and _is_amount(wish.amount, asset)


def _is_amount(amount: Decimal, asset: Asset) -> bool:
    return amount.is_finite() and 0 < amount < MAX_AMOUNT and amount == round_down(amount, asset.places)


# --- Where from and where to ------------------------------------------------------------------------


def _receiver_may_receive(parties: Parties) -> Iterator[Problem]:
    """R-VIP-03, R-GEN-15"""
    uid, receiver = parties.request.receiver_uid, parties.receiver
    if receiver is None:
        yield Problem(
            "receiver_uid", "not_your_account", tell("Account {uid} is not one of your accounts.", uid=uid)
        )
    elif receiver.kind == Account.Kind.SUB_VIRTUAL:
        yield Problem(
            "receiver_uid",
            "virtual_receiver",
            tell(
                "{receiver} is a virtual sub-account; a loan is paid out to the master or a real"
                " sub-account.",
                receiver=receiver,
            ),
        )
    elif receiver.kind == Account.Kind.SUB_MANAGED:
        yield Problem(
            "receiver_uid",
            "managed_receiver",
            tell(
                "{receiver} is a managed sub-account; a loan is paid out to the master or a real"
                " sub-account.",
                receiver=receiver,
            ),
        )


def _accounts_may_secure(parties: Parties) -> Iterator[Problem]:
    """R-VIP-03, R-VIP-04, R-GEN-14, R-GEN-15"""
    request, most = parties.request, parties.product.max_accounts
    pledged = set(request.account_uids) | set(_pledged_to(parties.group))
    if not 1 <= len(pledged) <= most:
        yield Problem(
            "account_uids",
            "too_many_accounts",
            tell("Choose 1 to {most} collateral accounts, not {count}.", most=most, count=len(pledged)),
        )
    for uid in dict.fromkeys(request.account_uids):
        account = parties.accounts.get(uid)
        if account is None:
            yield Problem(
                "account_uids",
                "not_your_account",
                tell("Account {uid} is not one of your accounts.", uid=uid),
            )
        elif uid == request.receiver_uid:
            yield Problem(
                "account_uids",
                "receiver_as_collateral",
                tell(
                    "{account} receives the loan, so it cannot be one of its collateral accounts.",
                    account=account,
                ),
            )
        elif account.kind == Account.Kind.SUB_MANAGED:
            yield Problem(
                "account_uids",
                "managed_account",
                tell("{account} is a managed sub-account and cannot secure a loan.", account=account),
            )


def _accounts_are_free(parties: Parties) -> Iterator[Problem]:
    """R-GEN-13: a collateral account backs one receiving account at a time."""
    live = Member.objects.filter(account__in=parties.collateral, released_at__isnull=True)
    if parties.group is not None:
        live = live.exclude(group=parties.group)
    for member in live.select_related("account", "group__receiver").order_by("account_id"):
        yield Problem(
            "account_uids",
            "account_in_use",
            tell(
                "The current collateral account has been used: {account} already secures the loans of"
                " {receiver}.",
                account=member.account,
                receiver=member.group.receiver,
            ),
        )


def _pledged_to(group: CollateralGroup | None) -> list[int]:
    if group is None:
        return []
    return list(group.members.filter(released_at__isnull=True).values_list("account_id", flat=True))


Check = Callable[[Parties], Iterator[Problem]]

CHECKS: list[Check] = [
    _acts_for_the_master,
    _is_vip,
    _accepted_the_agreement,
    _owes_no_residue,
    _is_not_frozen,
    _names_a_manager,
    _says_why,
    _term_and_rate_fit,
    _coins_to_borrow,
    _receiver_may_receive,
    _accounts_may_secure,
    _accounts_are_free,
]
