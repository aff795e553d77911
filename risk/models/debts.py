"""Debts, their rates and their entries: the ledger's sub-ledger, guarded by migration 0002."""

from decimal import Decimal
from typing import Self

from django.db import models
from django.db.models import F, Q

from accounts.models import Asset, Customer, JournalEntry, amount_field, rate_field
from accounts.words import tell
from risk.models.groups import CollateralGroup
from risk.models.parameters import ProductCode


class DebtQuerySet(models.QuerySet["Debt"]):
    def open(self) -> Self:
        return self.filter(closed_at__isnull=True)

    def watched(self) -> Self:
        """Open and still in a group: what the sweep values (a residual debt has left it, R-GEN-78)."""
        return self.open().filter(residual_since__isnull=True)

    def locked(self, *pks: int) -> list["Debt"]:
        """The rows, FOR UPDATE, in primary-key order; after their groups' rows (ARCHITECTURE 4)."""
        rows = self.filter(pk__in=pks).select_related("asset")
        return list(rows.select_for_update(of=("self",)).order_by("pk"))


class Debt(models.Model):
    """What a group owes in one asset. Totals and `accrued_through` are moved by DebtEntry's trigger alone."""

    class Clock(models.TextChoices):
        DAILY = "daily", tell("Daily")  # 00:00 UTC, simple (R-VIP-30)

    class Closed(models.TextChoices):
        REPAID = "repaid", tell("Repaid")
        LIQUIDATED = "liquidated", tell("Liquidated")
        RENEWED = "renewed", tell("Renewed")
        WRITTEN_OFF = "written_off", tell("Written Off")

    product = models.CharField(max_length=12, choices=ProductCode.choices)
    group = models.ForeignKey(CollateralGroup, models.PROTECT, related_name="debts")
    customer = models.ForeignKey(Customer, models.PROTECT, related_name="debts")
    asset = models.ForeignKey(Asset, models.PROTECT, related_name="+")
    clock = models.CharField(max_length=8, choices=Clock.choices, default=Clock.DAILY)
    opened_at = models.DateTimeField()
    due_at = models.DateTimeField(null=True)  # NULL = open term
    late_multiplier = models.PositiveSmallIntegerField(default=3)
    overdue_hours = models.PositiveIntegerField(default=168)  # from expiry to forced sale (R-VIP-44)
    called_at = models.DateTimeField(null=True)  # an open loan the desk wants back; then it has a due date
    overdue_since = models.DateTimeField(null=True)
    residual_since = models.DateTimeField(null=True)
    closed_at = models.DateTimeField(null=True)
    closed_reason = models.CharField(max_length=12, choices=Closed.choices, blank=True)
    # Moved by trigger only:
    principal = amount_field(default=0)
    interest = amount_field(default=0)
    late_fee = amount_field(default=0)
    accrued_through = models.DateTimeField()

    objects = DebtQuerySet.as_manager()

    class Meta:
        constraints = (
            models.CheckConstraint(
                name="debt_parts_not_negative_and_bounded",
                condition=Q(principal__gte=0, principal__lt=10**18)
                & Q(interest__gte=0, interest__lt=10**18)
                & Q(late_fee__gte=0, late_fee__lt=10**18),
            ),
            models.CheckConstraint(
                name="closed_debt_owes_nothing",
                condition=Q(closed_at__isnull=True) | Q(principal=0, interest=0, late_fee=0),
            ),
            models.CheckConstraint(
                name="closed_debt_says_why",
                condition=Q(closed_at__isnull=True, closed_reason="")
                | (Q(closed_at__isnull=False) & ~Q(closed_reason="")),
            ),
            models.CheckConstraint(
                name="overdue_only_after_due",
                condition=Q(overdue_since__isnull=True) | Q(overdue_since__gte=F("due_at")),
            ),
        )
        indexes = (
            models.Index(fields=["group"], condition=Q(closed_at__isnull=True), name="debt_open_by_group"),
            models.Index(
                fields=["accrued_through"],
                condition=Q(closed_at__isnull=True, residual_since__isnull=True),
                name="debt_to_charge",
            ),
            # Of few debts, and on nothing that a midnight changes: they cost it nothing.
            models.Index(
                fields=["overdue_since"],
                condition=Q(closed_at__isnull=True, overdue_since__isnull=False),
                name="debt_overdue",
            ),
            models.Index(
                fields=["customer"],
                condition=Q(closed_at__isnull=True, residual_since__isnull=False),
                name="debt_residual",
            ),
            models.Index(
                fields=["due_at"],
                condition=Q(closed_at__isnull=True, overdue_since__isnull=True, due_at__isnull=False),
                name="debt_due",
            ),
        )

    def __str__(self) -> str:
        return f"D-{self.pk}"

    @property
    def booked(self) -> Decimal:
        """Principal, interest and late fee as of `accrued_through`, in the debt's asset."""
        total: Decimal = self.principal + self.interest + self.late_fee
        return total


class DebtRate(models.Model):
    """A dated rate segment of a debt: a fixed rate, or the flexible rate of its coin plus a spread."""

    debt = models.ForeignKey(Debt, models.PROTECT, related_name="rates")
    starts_at = models.DateTimeField()
    fixed_rate = rate_field(null=True)
    spread = rate_field(default=0)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["debt", "starts_at"], name="one_segment_per_start"),
            models.CheckConstraint(
                name="debt_rate_0_to_10",
                condition=Q(fixed_rate__isnull=True) | Q(fixed_rate__gte=0, fixed_rate__lt=10),
            ),
        )

    def __str__(self) -> str:
        return "flexible" if self.fixed_rate is None else f"{self.fixed_rate:.4%}"


class DebtEntry(models.Model):
    """One event on one debt, as three signed changes. Append-only; the debt's totals are their sums."""

    class Kind(models.TextChoices):
        BORROW = "borrow", tell("Borrow")
        CHARGE = "charge", tell("Charge")  # one period of the debt's clock
        MINIMUM = (
            "minimum",
            tell("Minimum"),
        )  # the one day owed by a loan repaid before its first midnight (R-VIP-31)
        REPAYMENT = "repayment", tell("Repayment")
        LIQUIDATION = "liquidation", tell("Liquidation")
        RENEWAL = "renewal", tell("Renewal")
        INSURANCE = "insurance", tell("Insurance")  # what the fund paid of a residual debt (R-GEN-78)
        WRITE_OFF = "write_off", tell("Write Off")
        CORRECTION = (
            "correction",
            tell("Correction"),
        )  # the other side of an entry that was reversed (R-ADM-11)

    debt = models.ForeignKey(  # found by the index of `one_charge_per_period`
        Debt, models.PROTECT, related_name="entries", db_constraint=False, db_index=False
    )
    entry = models.ForeignKey(
        JournalEntry, models.PROTECT, related_name="debt_entries", db_constraint=False, db_index=False
    )
    kind = models.CharField(max_length=11, choices=Kind.choices)
    at = models.DateTimeField()
    principal = amount_field(default=0)
    interest = amount_field(default=0)
    late_fee = amount_field(default=0)
    # For charges: the period, what it was charged on and at which rate.
    period_start = models.DateTimeField(null=True)
    period_end = models.DateTimeField(null=True)
    basis = amount_field(null=True)
    annual_rate = rate_field(null=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(name="one_charge_per_period", fields=["debt", "period_start"]),
            models.CheckConstraint(
                name="charges_have_a_period",
                condition=Q(kind="charge", period_start__lt=F("period_end"), principal=0)
                & Q(interest__gte=0, late_fee__gte=0, basis__isnull=False, annual_rate__isnull=False)
                | (~Q(kind="charge") & Q(period_start__isnull=True, period_end__isnull=True)),
            ),
        )

    def __str__(self) -> str:
        return tell("{kind} on {debt} at {at:%Y-%m-%d}", kind=self.kind, debt=self.debt_id, at=self.at)


class PaymentPlan(models.Model):
    """How a residual debt is to be paid back, as agreed with its borrower (R-GEN-78)."""

    debt = models.ForeignKey(Debt, models.PROTECT, related_name="payment_plans")
    agreed_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                name="one_running_plan_per_debt", fields=["debt"], condition=Q(ended_at__isnull=True)
            ),
        )

    def __str__(self) -> str:
        return tell("plan for {debt} of {agreed_at:%Y-%m-%d}", debt=self.debt_id, agreed_at=self.agreed_at)


class Instalment(models.Model):
    """One payment of a plan: taken from the receiver's Spot when due, or paid by hand."""

    plan = models.ForeignKey(PaymentPlan, models.PROTECT, related_name="instalments")
    due_at = models.DateTimeField()
    amount = amount_field()
    paid_at = models.DateTimeField(null=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["plan", "due_at"], name="one_instalment_per_time"),
            models.CheckConstraint(name="instalment_positive", condition=Q(amount__gt=0, amount__lt=10**18)),
        )

    def __str__(self) -> str:
        return tell("{amount} due {due_at:%Y-%m-%d}", amount=self.amount, due_at=self.due_at)
