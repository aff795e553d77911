"""Loans: contracts that opened a debt each, and what happened to them."""

from typing import Self

from django.db import models
from django.db.models import F, Q

from accounts.models import Asset, ClockTimestamp, Customer, User, amount_field, rate_field
from accounts.words import tell
from loans.models.applications import Application, ApplicationLine, SignedSheet
from loans.models.products import RateType
from risk.models import CollateralGroup, Debt, ProductCode


class LoanQuerySet(models.QuerySet["Loan"]):
    def visible_to(self, user: User) -> Self:
        if user.role == User.Role.VIP_MANAGER:
            return self.filter(customer__manager=user)
        mine = Q(customer__memberships__account__isnull=True) | Q(
            customer__memberships__account=F("group__receiver")
        )
        return self.filter(mine, customer__memberships__user=user)

    def with_debt(self) -> Self:
        return self.select_related("debt", "asset", "group", "group__receiver")


class Loan(models.Model):
    """One order: a contract that opened one debt. Its status is derived (loans/lifecycle.py)."""

    product = models.CharField(max_length=12, choices=ProductCode.choices)
    customer = models.ForeignKey(Customer, models.PROTECT, related_name="loans")
    line = models.ForeignKey(ApplicationLine, models.PROTECT, null=True, related_name="loans")
    group = models.ForeignKey(CollateralGroup, models.PROTECT, related_name="loans")
    debt = models.OneToOneField(Debt, models.PROTECT, related_name="loan")
    asset = models.ForeignKey(Asset, models.PROTECT, related_name="+")
    amount = amount_field()
    rate_type = models.CharField(max_length=8, choices=RateType.choices)
    annual_rate = rate_field()  # fixed: the rate; flexible: the rate on the day, shown as such
    term_days = models.PositiveSmallIntegerField(null=True)
    drawn_at = models.DateTimeField()
    due_at = models.DateTimeField(null=True)
    renews = models.OneToOneField("self", models.PROTECT, null=True, related_name="renewed_by")
    sheet = models.ForeignKey(SignedSheet, models.PROTECT, null=True, related_name="loans")
    sheet_sha256 = models.CharField(max_length=64, blank=True)  # of the sheet it stands on (R-VIP-15)

    objects = LoanQuerySet.as_manager()

    class Meta:
        constraints = (
            models.CheckConstraint(
                name="one_disbursal_per_line_or_a_renewal",
                condition=Q(line__isnull=False, renews__isnull=True)
                | Q(line__isnull=True, renews__isnull=False),
            ),
            models.UniqueConstraint(fields=["line"], name="one_disbursal_per_line"),  # TRUST I-23
        )

    def __str__(self) -> str:
        return f"L-{self.pk:04d}"


class LoanEvent(models.Model):
    """A status change of a request or loan. Append-only."""

    application = models.ForeignKey(Application, models.PROTECT, null=True, related_name="events")
    loan = models.ForeignKey(Loan, models.PROTECT, null=True, related_name="events")
    kind = models.CharField(max_length=24)
    at = models.DateTimeField()
    actor = models.CharField(max_length=60)
    facts = models.JSONField(default=dict)
    recorded_at = models.DateTimeField(db_default=ClockTimestamp(), editable=False)

    class Meta:
        constraints = (
            models.CheckConstraint(
                name="event_of_a_request_or_a_loan",
                condition=Q(application__isnull=False) | Q(loan__isnull=False),
            ),
        )

    def __str__(self) -> str:
        return tell("{kind} at {at:%Y-%m-%d %H:%M}", kind=self.kind, at=self.at)
