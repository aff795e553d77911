"""The form of a request: up to ten coins, and who receives, secures and decides (R-VIP-03…05, 10, 20, 21)."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from django import forms
from django.http import QueryDict

from accounts.models import Account, Asset, Customer, LedgerAccount, User
from accounts.money import ZERO
from accounts.pages.forms import LongChecks, LongSelect, amount_field, key_field, read_amount
from accounts.templatetags import figures
from accounts.words import joined, tell
from loans.models import RateType
from loans.vip.terms import Problem, Request, Wish
from risk import groups
from risk.models import CollateralGroup, LoanLimit, ProductCode

AGREEMENT: Final = "agreed"
OPEN: Final = "open"
TERMS: Final = [("30", tell("30 days")), ("60", tell("60 days")), (OPEN, tell("Open", context="term"))]
MANY: Final = ("accounts", "coins")
MOST_FALLS: Final = 4  # coins with a price of their own in the what-if
FALL: Final = "fall_"

FIELDS: Final = {  # a problem's field, and where the form shows it
    "receiver_uid": "receiver",
    "account_uids": "accounts",
    "coins": "coins",
    "rate_type": "rate_type",
    "term_days": "term",
    "contact": "contact",
    "purpose": "purpose",
    "manager_id": "manager",
}


@dataclass(frozen=True, slots=True)
class Choices:
    """What this customer may choose from, and why some of it is missing."""

    customer: Customer
    user: User
    accounts: list[Account]
    receivers: list[Account]
    secure: list[Account]
    pledged: dict[int, CollateralGroup]
    loanable: dict[str, Asset]
    collateral: dict[str, Asset]
    held: dict[str, Decimal]  # in the Spot wallets of `secure`
    filled: set[int]  # those of `secure` that hold anything there
    coins_by_account: dict[int, list[str]]  # what each of them holds there, in words
    managers: list[User]

    def defaults(self, told: Mapping[str, str]) -> dict[str, Any]:
        """The likeliest request: into the master, on what secures it already, else on what is free; 30 days fixed."""
        receiver = self.receivers[0] if self.receivers else None
        group = next((g for g in self.pledged.values() if receiver and g.receiver_id == receiver.pk), None)
        if group is not None:
            ticked = [uid for uid, pledged in self.pledged.items() if pledged == group]
        else:
            ticked = [
                a.pk
                for a in self.secure
                if a != receiver and a.pk not in self.pledged and a.pk in self.filled
            ]
        coins = (
            {coin.asset_id for coin in group.coins.filter(released_at__isnull=True)}
            if group
            else set(self.held)
        )
        return {
            "receiver": receiver.pk if receiver else None,
            "accounts": ticked,
            "coins": [symbol for symbol in self.collateral if symbol in coins],
            "term": "30",
            "rate_type": RateType.FIXED.value,
            "manager": self.customer.manager_id,
            "contact": self.user.email,
            "asset_1": told.get("asset", ""),
        }

    def secured_label(self, account: Account) -> str:
        holds = joined(", ", self.coins_by_account.get(account.pk, ())) or tell("nothing in Spot")
        group = self.pledged.get(account.pk)
        if group is None:
            return tell("{account}, {holds}", account=account, holds=holds)
        return tell("{account}, {holds}, secures {group}", account=account, holds=holds, group=group.name)

    @property
    def moving(self) -> list[str]:
        """The collateral coins held whose price moves: those a fall is asked about."""
        held = [symbol for symbol in self.collateral if symbol in self.held]
        return [s for s in held if self.collateral[s].kind == Asset.Kind.CRYPTO][:MOST_FALLS]

    def coin_label(self, symbol: str) -> str:
        held = self.held.get(symbol, ZERO)
        return (
            tell("{symbol}, {held} in Spot", symbol=symbol, held=figures.plain(held))
            if held
            else tell("{symbol}, none held", symbol=symbol)
        )


def choices_of(customer: Customer, user: User, *, at: datetime) -> Choices:
    accounts = list(customer.accounts.order_by("pk"))
    secure = [account for account in accounts if account.kind != Account.Kind.SUB_MANAGED]
    held: dict[str, Decimal] = {}
    piles = LedgerAccount.objects.filter(account__in=secure, kind=LedgerAccount.Kind.SPOT)
    filled = {pile.account_id or 0 for pile in piles if pile.balance}
    by_account: dict[int, list[str]] = defaultdict(list)
    for pile in piles:
        if pile.balance:
            by_account[pile.account_id or 0].append(figures.plain(pile.balance, pile.asset_id))
        held[pile.asset_id] = held.get(pile.asset_id, ZERO) + pile.balance
    coins = Asset.objects.filter(collateral=True, ratio_schedules__effective_at__lte=at).distinct()
    collateral = sorted(coins, key=lambda asset: (not held.get(asset.pk), asset.pk))
    limited = LoanLimit.objects.filter(product=ProductCode.VIP, effective_at__lte=at)
    loanable = Asset.objects.filter(loanable=True, pk__in=limited.values("asset")).order_by("pk")
    return Choices(
        customer=customer,
        user=user,
        accounts=accounts,
        receivers=[a for a in accounts if a.kind in {Account.Kind.MASTER, Account.Kind.SUB}],
        secure=secure,
        pledged=groups.pledged_to([account.pk for account in accounts]),
        loanable={asset.pk: asset for asset in loanable},
        collateral={asset.pk: asset for asset in collateral},
        held={symbol: amount for symbol, amount in held.items() if amount},
        filled=filled,
        coins_by_account=by_account,
        managers=list(User.objects.filter(role=User.Role.VIP_MANAGER, is_active=True).order_by("name", "pk")),
    )


class ApplyForm(forms.Form):
    """`rows` pairs of coin and amount, then the rest. Whether it may be granted is the terms check's question."""

    term = forms.ChoiceField(label=tell("Term"), choices=TERMS, widget=forms.RadioSelect)
    rate_type = forms.ChoiceField(label=tell("Rate"), choices=RateType.choices, widget=forms.RadioSelect)
    receiver = forms.TypedChoiceField(label=tell("Receiving account"), coerce=int)
    accounts = forms.TypedMultipleChoiceField(
        label=tell("Collateral accounts"),
        coerce=int,
        widget=LongChecks,
        required=False,
        help_text=tell(
            "Their Spot wallets secure the loan. Tick none when the receiver's group has"
            " its accounts already."
        ),
    )
    coins = forms.MultipleChoiceField(
        label=tell("Collateral coins"),
        widget=LongChecks,
        help_text=tell("Only these count."),
    )
    manager = forms.TypedChoiceField(label=tell("VIP manager"), coerce=int, empty_value=None, required=False)
    contact = forms.CharField(label=tell("Contact"), max_length=200)
    purpose = forms.CharField(
        label=tell("Purpose"), max_length=2000, widget=forms.Textarea(attrs={"rows": 3})
    )
    all_or_nothing = forms.BooleanField(
        label=tell("All or nothing"),
        required=False,
        help_text=tell("If one coin cannot be lent, lend none. Otherwise the other coins go on."),
    )
    auto_repay = forms.BooleanField(
        label=tell("Repay at expiry from the receiving account’s Spot"),
        required=False,
        help_text=tell("You can switch it until the loan expires."),
    )
    key = key_field()

    def __init__(self, *args: Any, choices: Choices, rows: int, most: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.choices, self.rows, self.most = choices, rows, most
        coins = [("", tell("Choose a coin")), *((symbol, symbol) for symbol in choices.loanable)]
        for number in range(1, rows + 1):
            self.fields[f"asset_{number}"] = forms.ChoiceField(
                label=tell("Coin"), choices=coins, required=False, widget=LongSelect
            )
            self.fields[f"amount_{number}"] = amount_field(required=False)
        for name in ("all", *choices.moving):
            self.fields[f"{FALL}{name}"] = _fall_field(name)
        self._offer("receiver", [(account.pk, str(account)) for account in choices.receivers])
        self._offer("accounts", [(a.pk, choices.secured_label(a)) for a in choices.secure])
        self._offer("coins", [(symbol, choices.coin_label(symbol)) for symbol in choices.collateral])
        self._offer("manager", [("", tell("None")), *((m.pk, m.name) for m in choices.managers)])
        self.wishes: dict[int, Wish] = {}

    def _offer(self, name: str, choices: list[tuple[Any, str]]) -> None:
        field = self.fields[name]
        assert isinstance(field, forms.ChoiceField)
        field.choices = choices

    @property
    def coin_rows(self) -> list[tuple[forms.BoundField, forms.BoundField]]:
        return [(self[f"asset_{number}"], self[f"amount_{number}"]) for number in range(1, self.rows + 1)]

    @property
    def fall_fields(self) -> list[forms.BoundField]:
        """What prices are supposed to do, all together and coin by coin. Asked about, never sent."""
        return [self[f"{FALL}{name}"] for name in ("all", *self.choices.moving)]

    @property
    def typed_errors(self) -> list[str]:
        """What is wrong in single fields, named: for where they are told away from the field."""
        fields = ((self[name], errors) for name, errors in self.errors.items() if name in self.fields)
        return [
            tell("{field}: {error}", field=field.label, error=error)
            for field, errors in fields
            for error in errors
        ]

    @property
    def moves(self) -> dict[str, Decimal]:
        """Signed changes in per cent by coin, "all" for those without one of their own; of a form that was judged."""
        names = ("all", *self.choices.moving)
        given = {name: self.cleaned_data.get(f"{FALL}{name}") for name in names}
        return {name: change for name, change in given.items() if change is not None}

    @property
    def receiver_name(self) -> str:
        uid = self.cleaned_data.get("receiver")
        return next((str(account) for account in self.choices.receivers if account.pk == uid), "")

    @property
    def may_grow(self) -> bool:
        return self.rows < self.most

    def clean(self) -> None:
        for number in range(1, self.rows + 1):
            self._read_wish(number)
        if not self.wishes and not self.errors:
            self.add_error("amount_1", tell("Say which coin to borrow, and how much of it."))

    def _read_wish(self, number: int) -> None:
        coin, amount = f"asset_{number}", f"amount_{number}"
        asset = self.choices.loanable.get(self.cleaned_data.get(coin, ""))
        typed = self.cleaned_data.get(amount)
        if asset is None and typed:
            self.add_error(coin, tell("Choose the coin of this amount."))
        if asset is None:
            return
        read = read_amount(self, amount, places=asset.places)
        if read is not None:
            self.wishes[number] = Wish(asset.pk, read)

    def outlined(self, *, customer_id: int, applicant_id: int) -> Request:
        """The request as far as it is filled in; what is missing is left open and has to be said before it is sent."""
        told = {"term": "30", "rate_type": RateType.FIXED.value} | self.cleaned_data
        return Request(
            customer_id=customer_id,
            applicant_id=applicant_id,
            receiver_uid=told.get("receiver") or 0,
            account_uids=tuple(told.get("accounts", ())),
            coins=tuple(told.get("coins", ())),
            wishes=tuple(self.wishes.values()),
            rate_type=told["rate_type"],
            term_days=None if told["term"] == OPEN else int(told["term"]),
            contact=told.get("contact", ""),
            purpose=told.get("purpose", ""),
            manager_id=told.get("manager"),
            all_or_nothing=bool(told.get("all_or_nothing")),
            auto_repay=bool(told.get("auto_repay")),
        )

    def forget_falls(self) -> None:
        """The what-if is no part of the request: what is wrong in it stops nothing."""
        for name in [name for name in self.errors if name.startswith(FALL)]:
            del self.errors[name]

    def forgive(self) -> list[str]:
        """Take back the errors of what nobody has filled in yet, and name those fields: they are still to be said."""
        empty = [name for name in self.errors if name in self.fields and not self[name].data]
        for name in empty:
            del self.errors[name]
        named = [str(self[name].label) for name in empty if name in ("contact", "purpose", "receiver")]
        return named if self.wishes else [tell("Coin and amount"), *named]

    def asked(self, *, customer_id: int, applicant_id: int) -> Request:
        """The request as the terms check reads it; for a valid form."""
        told = self.cleaned_data
        return Request(
            customer_id=customer_id,
            applicant_id=applicant_id,
            receiver_uid=told["receiver"],
            account_uids=tuple(told["accounts"]),
            coins=tuple(told["coins"]),
            wishes=tuple(self.wishes.values()),
            rate_type=told["rate_type"],
            term_days=None if told["term"] == OPEN else int(told["term"]),
            contact=told["contact"],
            purpose=told["purpose"],
            manager_id=told["manager"],
            all_or_nothing=told["all_or_nothing"],
            auto_repay=told["auto_repay"],
        )

    def add_problem(self, problem: Problem) -> None:
        """Show what stands in the way where it can be mended: at its field, else above the form. Values stay read."""
        read = dict(self.cleaned_data)
        self.add_error(self._place_of(problem.field), problem.message)
        self.cleaned_data = read

    def _place_of(self, field: str) -> str | None:
        if field.startswith("wishes."):
            symbol = field.partition(".")[2]
            numbers = [number for number, wish in self.wishes.items() if wish.asset == symbol]
            return f"amount_{numbers[-1]}" if numbers else None
        if field == "wishes":
            return "amount_1"
        return FIELDS.get(field)


def rows_of(typed: QueryDict, *, most: int) -> int:
    """How many rows of coins came in."""
    return max((number for number in range(1, most + 1) if f"asset_{number}" in typed), default=1)


def typed_values(typed: QueryDict) -> dict[str, Any]:
    """What was typed, as it was typed, to show the form again without judging it."""
    return {name: typed.getlist(name) if name in MANY else typed[name] for name in typed}


def draft_values(form: ApplyForm, typed: QueryDict) -> dict[str, Any]:
    """What of it is worth keeping: the fields of the request, without the form's own and the what-if."""
    told = typed_values(typed)
    return {n: v for n, v in told.items() if n in form.fields and n != "key" and not n.startswith(FALL)}


def outline_of(values: Mapping[str, Any]) -> QueryDict:
    """Kept or likely values as a browser would send them, to be judged like those."""
    typed = QueryDict(mutable=True)
    for name, value in values.items():
        if isinstance(value, list):
            typed.setlist(name, [str(one) for one in value])
        elif value not in (None, ""):
            typed[name] = str(value)
    return typed


def rows_of_draft(values: Mapping[str, Any], *, most: int) -> int:
    """How many rows of coins a draft has."""
    return max((number for number in range(1, most + 1) if f"asset_{number}" in values), default=1)


def with_coin(values: dict[str, Any], symbol: str, *, most: int) -> dict[str, Any]:
    """A draft with one more coin to borrow, where a link asked for it: in the first row that names none."""
    rows = range(1, most + 1)
    if not symbol or symbol in {values.get(f"asset_{number}") for number in rows}:
        return values
    free = next((number for number in rows if not values.get(f"asset_{number}")), None)
    return values if free is None else values | {f"asset_{free}": symbol}


def _fall_field(name: str) -> forms.DecimalField:
    field = forms.DecimalField(
        label=tell("All that move") if name == "all" else name,
        required=False,
        min_value=-99,
        max_value=100,
        max_digits=6,
        decimal_places=2,
    )
    field.widget.attrs |= {"inputmode": "decimal", "autocomplete": "off", "step": "any"}
    return field
