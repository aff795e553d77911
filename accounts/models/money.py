"""Assets and the ledger. Totals are moved by the triggers of migration 0002; nothing else writes them."""

from decimal import Decimal
from typing import ClassVar, Self

from django.db import models
from django.db.models import F, Q

from accounts.models.fields import ClockTimestamp, amount_field
from accounts.models.people import Account, User
from accounts.words import tell


class Asset(models.Model):
    """A coin or currency. `places` is how finely it is booked, and never changes once used."""

    class Kind(models.TextChoices):
        CRYPTO = "crypto", tell("Crypto")
        STABLE = "stable", tell("Stable")
        FIAT = "fiat", tell("Fiat")

    symbol = models.CharField(max_length=20, primary_key=True)
    name = models.CharField(max_length=80)
    places = models.PositiveSmallIntegerField(default=8)
    kind = models.CharField(max_length=6, choices=Kind.choices, default=Kind.CRYPTO)
    loanable = models.BooleanField(default=False)
    collateral = models.BooleanField(default=False)

    class Meta:
        constraints = (models.CheckConstraint(name="asset_places_0_to_8", condition=Q(places__lte=8)),)

    def __str__(self) -> str:
        return self.symbol


class LedgerAccountQuerySet(models.QuerySet["LedgerAccount"]):
    def house(self, *kinds: str) -> Self:
        """The desk's own accounts of these kinds, which are none of WALLETS.

        That they are nobody's follows from the kind. It is said so that they are found by the index of
        `one_wallet_per_kind_and_asset`, and not by reading every customer's wallets.
        """
        return self.filter(account__isnull=True, kind__in=kinds)


class LedgerAccount(models.Model):
    """One pile of one asset. `debits` and `credits` only ever grow, and only a trigger moves them."""

    class Normal(models.TextChoices):
        DEBIT = "debit", tell("Debit")  # what we hold or are owed
        CREDIT = "credit", tell("Credit")  # what we owe, and income

    class Kind(models.TextChoices):
        SPOT = "spot", tell("Spot")  # customer wallets: what we owe them, coin for coin
        FIAT = "fiat", tell("Fiat")
        FUNDING = "funding", tell("Funding")
        CUSTODY = "custody", tell("Custody")  # customers' coins, held; equals the sum of the wallets
        POOL = "pool", tell("Pool")  # the desk's own coins, free to lend
        PRINCIPAL = "principal", tell("Principal")  # control accounts: equal to the sum of the debts
        INTEREST = "interest", tell("Interest")
        LATE_FEE = "late_fee", tell("Late Fee")
        CAPITAL = "capital", tell("Capital")  # what finance put into the pools
        POSITION = "position", tell("Position")  # conversions on the desk's own books; may be short
        INTEREST_INCOME = "interest_income", tell("Interest Income")
        LATE_FEE_INCOME = "late_fee_income", tell("Late Fee Income")
        FEE_INCOME = "fee_income", tell("Fee Income")  # liquidation fees
        INSURANCE = (
            "insurance",
            tell("Insurance"),
        )  # set aside by finance to settle what liquidations leave owing (R-GEN-78)
        BAD_DEBT = "bad_debt", tell("Bad Debt")  # written off
        WORKOUT = (
            "workout",
            tell("Workout"),
        )  # collateral taken over from a thin market, not yet the pool's (R-GEN-79)
        LENDERS = "lenders", tell("Lenders")  # what others lent us for the pools (R-ADM-12)
        COST_OF_FUNDS = "cost_of_funds", tell("Cost Of Funds")  # what that costs
        COST_OWED = "cost_owed", tell("Cost Owed")  # and is not paid yet

    WALLETS: ClassVar = (Kind.SPOT, Kind.FIAT, Kind.FUNDING)
    CONTROLS: ClassVar = (Kind.PRINCIPAL, Kind.INTEREST, Kind.LATE_FEE)

    code = models.CharField(max_length=80, unique=True)
    kind = models.CharField(max_length=16, choices=Kind.choices)
    account = models.ForeignKey(Account, models.PROTECT, null=True, related_name="wallets")
    asset = models.ForeignKey(Asset, models.PROTECT, related_name="+")
    normal = models.CharField(max_length=6, choices=Normal.choices)
    may_overdraw = models.BooleanField(default=False)
    debits = amount_field(default=0)
    credits = amount_field(default=0)

    objects = LedgerAccountQuerySet.as_manager()

    class Meta:
        constraints = (
            models.CheckConstraint(
                name="ledger_account_not_overdrawn",
                condition=Q(may_overdraw=True)
                | Q(normal="credit", debits__lte=F("credits"))
                | Q(normal="debit", credits__lte=F("debits")),
            ),
            models.CheckConstraint(
                name="only_the_desk_position_may_be_short",
                condition=Q(may_overdraw=False) | Q(kind="position", account__isnull=True),
            ),
            models.CheckConstraint(
                name="wallets_belong_to_accounts",
                condition=Q(kind__in=["spot", "fiat", "funding"], account__isnull=False, normal="credit")
                | (~Q(kind__in=["spot", "fiat", "funding"]) & Q(account__isnull=True)),
            ),
            models.UniqueConstraint(
                name="one_wallet_per_kind_and_asset",
                fields=["account", "kind", "asset"],
                nulls_distinct=False,
            ),
        )

    def __str__(self) -> str:
        return self.code

    @property
    def balance(self) -> Decimal:
        net: Decimal = self.credits - self.debits
        return net if self.normal == self.Normal.CREDIT else -net


KINDS = {
    "accrual": tell("accrual"),
    "borrow": tell("borrow", context="entry"),
    "collected": tell("collected"),
    "correction": tell("correction"),
    "cost_of_funds": tell("cost of funds"),
    "deposit": tell("deposit"),
    "funding": tell("funding"),
    "insurance": tell("insurance"),
    "liquidation": tell("liquidation"),
    "minimum": tell("minimum", context="entry"),
    "renewal": tell("renewal"),
    "repayment": tell("repayment"),
    "reversal": tell("reversal"),
    "seizure": tell("seizure"),
    "trade": tell("trade", context="entry"),
    "transfer": tell("transfer", context="entry"),
    "withdrawal": tell("withdrawal"),
    "workout_release": tell("release of coins taken over"),
    "write_off": tell("write-off"),
}
"""Kinds of journal entries in words; programs and files get the kind itself."""


class JournalEntry(models.Model):
    """One event in the books. Append-only, and sealed: transfers join it only in its own transaction."""

    kind = models.CharField(max_length=24)
    reference = models.CharField(max_length=120, unique=True)
    at = models.DateTimeField()
    reverses = models.OneToOneField("self", models.PROTECT, null=True, related_name="reversed_by")  # R-ADM-11
    recorded_at = models.DateTimeField(db_default=ClockTimestamp(), editable=False)

    def __str__(self) -> str:
        return self.reference

    @property
    def kind_words(self) -> str:
        return KINDS.get(self.kind, self.kind)


class Transfer(models.Model):
    """`amount` of one asset from the credit side to the debit side. Cannot be unbalanced."""

    entry = models.ForeignKey(JournalEntry, models.PROTECT, related_name="transfers")
    debit = models.ForeignKey(LedgerAccount, models.PROTECT, related_name="debited")
    credit = models.ForeignKey(LedgerAccount, models.PROTECT, related_name="credited")
    amount = amount_field()

    class Meta:
        constraints = (
            # The upper bound is what keeps NaN out: PostgreSQL sorts NaN above every number.
            models.CheckConstraint(
                name="transfer_amount_positive_and_bounded", condition=Q(amount__gt=0, amount__lt=10**18)
            ),
            models.CheckConstraint(name="transfer_between_two_accounts", condition=~Q(debit=F("credit"))),
        )

    def __str__(self) -> str:
        return f"{self.amount} {self.debit_id} <- {self.credit_id}"


class ControlSum(models.Model):
    """What one entry moved on a control account, by the ledger and by its sub-ledger; equal at commit."""

    entry = models.ForeignKey(JournalEntry, models.PROTECT, related_name="controls")
    account = models.ForeignKey(LedgerAccount, models.PROTECT, related_name="+")
    ledger = amount_field(default=0)
    subledger = amount_field(default=0)

    class Meta:
        constraints = (models.UniqueConstraint(fields=["entry", "account"], name="one_sum_per_control"),)

    def __str__(self) -> str:
        return tell(
            "{account}: {ledger} / {subledger}",
            account=self.account_id,
            ledger=self.ledger,
            subledger=self.subledger,
        )


class PeriodClose(models.Model):
    """The books are closed up to and including `through`: nothing is booked there any more (R-ADM-11). Append-only.

    A day's charge is booked at the 00:00 UTC that ends it, so a month is (its first 00:00, the next month's].
    """

    through = models.DateTimeField(unique=True)
    closed_at = models.DateTimeField()
    closed_by = models.ForeignKey(User, models.PROTECT, null=True, related_name="+")
    trial_balance = models.JSONField()  # code: [debits, credits] as text, at `through`
    sha256 = models.CharField(max_length=64)  # of the trial balance and of the close before it

    class Meta:
        constraints = (
            models.CheckConstraint(
                name="period_closed_after_it_ended", condition=Q(closed_at__gte=F("through"))
            ),
        )

    def __str__(self) -> str:
        return tell("closed through {through:%Y-%m-%d}", through=self.through)
