"""Contracts: products, rate cards, applications and loans. A loan opens a debt in `risk` and prices it."""

from typing import Self

from django.db import models
from django.db.models import Q

from accounts.models import Account, Asset, ClockTimestamp, Customer, User, amount_field, rate_field
from risk.models import CollateralGroup, Debt, ProductCode, usd_field


class Product(models.Model):
    """A product's own terms, in force from `effective_at` (RULES.md section 12)."""

    code = models.CharField(max_length=12, choices=ProductCode.choices)
    effective_at = models.DateTimeField()
    max_coins = models.PositiveSmallIntegerField(default=10)  # R-VIP-05
    max_accounts = models.PositiveSmallIntegerField(default=50)  # R-VIP-04
    first_minimum = usd_field(default=500000)  # R-VIP-07
    later_minimum = usd_field(default=50000)
    renewal_days = models.PositiveSmallIntegerField(default=7)  # R-VIP-40
    overdue_hours = models.PositiveIntegerField(default=168)  # R-VIP-44
    late_multiplier = models.PositiveSmallIntegerField(default=3)  # R-VIP-43

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["code", "effective_at"], name="one_product_terms_per_time"),
        )

    def __str__(self) -> str:
        return f"{self.code} from {self.effective_at:%Y-%m-%d}"


class RateType(models.TextChoices):
    FIXED = "fixed"
    FLEXIBLE = "flexible"


class RateCard(models.Model):
    """A published fixed annual rate by product, coin, term and VIP level (R-VIP-22). Append-only.

    The flexible rate is not a card: it is `risk.FlexibleRate`, which debts read directly.
    """

    product = models.CharField(max_length=12, choices=ProductCode.choices)
    asset = models.ForeignKey(Asset, models.PROTECT, related_name="+")
    term_days = models.PositiveSmallIntegerField()
    vip_level = models.PositiveSmallIntegerField()
    effective_at = models.DateTimeField()
    annual_rate = rate_field()

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["product", "asset", "term_days", "vip_level", "effective_at"],
                name="one_card_per_time",
            ),
            models.CheckConstraint(
                name="card_rate_0_to_10", condition=Q(annual_rate__gte=0, annual_rate__lt=10)
            ),
            models.CheckConstraint(name="fixed_terms_are_30_or_60", condition=Q(term_days__in=[30, 60])),
        )

    def __str__(self) -> str:
        return f"{self.asset_id} {self.term_days} d VIP {self.vip_level}: {self.annual_rate:.4%}"


class ApplicationQuerySet(models.QuerySet["Application"]):
    def visible_to(self, user: User) -> Self:
        if user.role == User.Role.VIP_MANAGER:
            return self.filter(customer__manager=user)
        return self.filter(customer__memberships__user=user)

    def locked(self, pk: int) -> "Application":
        return self.select_for_update(of=("self",)).get(pk=pk)


class Application(models.Model):
    """A request for one or more loans into one receiving account (R-VIP-10…12)."""

    class Status(models.TextChoices):
        SUBMITTED = "submitted", "in review"
        APPROVED = "approved"
        REJECTED = "rejected"
        CANCELLED = "cancelled"
        DISBURSED = "disbursed", "paid out"

    product = models.CharField(max_length=12, choices=ProductCode.choices)
    customer = models.ForeignKey(Customer, models.PROTECT, related_name="applications")
    applicant = models.ForeignKey(User, models.PROTECT, related_name="+")
    receiver = models.ForeignKey(Account, models.PROTECT, related_name="+")
    collateral_accounts = models.ManyToManyField(Account, related_name="+")
    collateral_coins = models.ManyToManyField(Asset, related_name="+")
    rate_type = models.CharField(max_length=8, choices=RateType.choices)
    term_days = models.PositiveSmallIntegerField(null=True)  # NULL = open
    manager = models.ForeignKey(User, models.PROTECT, null=True, related_name="+")
    contact = models.CharField(max_length=200)
    purpose = models.TextField(max_length=2000)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.SUBMITTED)
    terms = models.JSONField()  # the sheet the applicant accepted: rates, lines, fee, LTV before and after
    submitted_at = models.DateTimeField()
    decided_at = models.DateTimeField(null=True)
    decided_by = models.ForeignKey(User, models.PROTECT, null=True, related_name="+")
    decision_reason = models.TextField(max_length=2000, blank=True)

    objects = ApplicationQuerySet.as_manager()

    class Meta:
        constraints = (
            models.CheckConstraint(
                name="fixed_rate_needs_a_term",  # R-VIP-21
                condition=~Q(rate_type="fixed") | Q(term_days__in=[30, 60]),
            ),
            models.CheckConstraint(
                name="term_is_open_30_or_60", condition=Q(term_days__isnull=True) | Q(term_days__in=[30, 60])
            ),
            models.CheckConstraint(
                name="nobody_decides_their_own_request",
                condition=Q(decided_by__isnull=True) | ~Q(decided_by=models.F("applicant")),
            ),
            models.CheckConstraint(
                name="a_rejection_says_why", condition=~Q(status="rejected") | ~Q(decision_reason="")
            ),
        )
        indexes = (
            models.Index(fields=["submitted_at"], condition=Q(status="submitted"), name="application_queue"),
        )

    def __str__(self) -> str:
        return f"R-{self.pk:04d}"


class ApplicationLine(models.Model):
    """One coin and amount of a request, at the rate shown when it was accepted."""

    application = models.ForeignKey(Application, models.PROTECT, related_name="lines")
    asset = models.ForeignKey(Asset, models.PROTECT, related_name="+")
    amount = amount_field()
    annual_rate = rate_field()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["application", "asset"], name="one_line_per_coin"),
            models.CheckConstraint(name="line_amount_positive", condition=Q(amount__gt=0, amount__lt=10**18)),
        )

    def __str__(self) -> str:
        return f"{self.amount} {self.asset_id}"


class LoanQuerySet(models.QuerySet["Loan"]):
    def visible_to(self, user: User) -> Self:
        if user.role == User.Role.VIP_MANAGER:
            return self.filter(customer__manager=user)
        return self.filter(customer__memberships__user=user)

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
        return f"{self.kind} at {self.at:%Y-%m-%d %H:%M}"
