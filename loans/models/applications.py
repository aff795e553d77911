"""Requests, the offers made about them, the sheet both sides signed, and enquiries of those who cannot apply."""

from typing import Self

from django.db import models
from django.db.models import Q

from accounts.models import Account, Asset, Customer, User, amount_field, rate_field
from accounts.words import tell
from loans.models.products import RateType
from risk.models import ProductCode


class ApplicationQuerySet(models.QuerySet["Application"]):
    def visible_to(self, user: User) -> Self:
        if user.role == User.Role.VIP_MANAGER:
            return self.filter(customer__manager=user)
        # Who acts for one account only neither asks nor negotiates for the master. R-VIP-02, R-GEN-95
        return self.filter(customer__memberships__user=user, customer__memberships__account=None)

    def locked(self, pk: int) -> "Application":
        return self.select_for_update(of=("self",)).get(pk=pk)


class Application(models.Model):
    """A request for one or more loans into one receiving account (R-VIP-10…12)."""

    class Status(models.TextChoices):
        DRAFT = "draft", tell("Draft")
        SUBMITTED = "submitted", tell("in review")
        NEGOTIATING = "negotiating", tell("in negotiation")
        OFFERED = "offered", tell("an offer waits for you")
        APPROVED = "approved", tell("Approved")
        PARTIALLY_APPROVED = "partially_approved", tell("approved in part")
        REJECTED = "rejected", tell("Rejected")
        CANCELLED = "cancelled", tell("Cancelled")
        EXPIRED = "expired", tell("Expired")
        DISBURSED = "disbursed", tell("paid out")

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
    all_or_nothing = models.BooleanField(default=False)  # R-VIP-19
    auto_repay = models.BooleanField(default=False)  # at expiry, from the receiver's Spot (R-VIP-47)
    status = models.CharField(max_length=20, choices=Status.choices, default=Status.DRAFT)
    terms = (
        models.JSONField()
    )  # the sheet of published terms it began with: rates, lines, fee, LTV before and after
    submitted_at = models.DateTimeField()
    accepted = models.ForeignKey("Offer", models.PROTECT, null=True, related_name="+")  # what both agreed on
    expires_at = models.DateTimeField(null=True)  # undecided until then, it lapses (R-VIP-18)
    decided_at = models.DateTimeField(null=True)
    decided_by = models.ForeignKey(User, models.PROTECT, null=True, related_name="+")
    decision_reason = models.TextField(max_length=2000, blank=True)

    objects = ApplicationQuerySet.as_manager()

    class Meta:
        constraints = (
            models.CheckConstraint(
                name="fixed_rate_needs_a_term",  # R-VIP-21
                condition=~Q(rate_type="fixed") | Q(term_days__isnull=False),
            ),
            models.CheckConstraint(
                name="term_is_open_or_1_to_365_days",  # published: 30 and 60; others by negotiation (R-VIP-20)
                condition=Q(term_days__isnull=True) | Q(term_days__gte=1, term_days__lte=365),
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
            models.Index(
                fields=["expires_at"],
                condition=Q(status__in=["negotiating", "offered"]),
                name="application_talks",
            ),
        )

    def __str__(self) -> str:
        return f"R-{self.pk:04d}"


class ApplicationLine(models.Model):
    """One coin and amount of a request, at the published rate. `declined` says why it cannot be lent online."""

    application = models.ForeignKey(Application, models.PROTECT, related_name="lines")
    asset = models.ForeignKey(Asset, models.PROTECT, related_name="+")
    amount = amount_field()
    annual_rate = rate_field(null=True)
    declined = models.TextField(blank=True)  # R-VIP-06: the other coins go on

    class Meta:
        constraints = (
            models.CheckConstraint(
                name="a_line_has_a_rate_or_is_declined",
                condition=Q(annual_rate__isnull=False) | ~Q(declined=""),
            ),
            models.UniqueConstraint(fields=["application", "asset"], name="one_line_per_coin"),
            models.CheckConstraint(name="line_amount_positive", condition=Q(amount__gt=0, amount__lt=10**18)),
        )

    def __str__(self) -> str:
        return tell("{amount} {asset}", amount=self.amount, asset=self.asset_id)


class Offer(models.Model):
    """One version of a request's term sheet, by either side (R-VIP-11). Its body never changes.

    `body` is canonical: the same keys for every version, so that two can be laid side by side. `sha256` is the
    digest of its canonical JSON (loans/vip/sheets.py).
    """

    class Side(models.TextChoices):
        BORROWER = "borrower", tell("Borrower")
        DESK = "desk", tell("Desk")

    class Status(models.TextChoices):
        OPEN = "open", tell("waiting for an answer")
        ACCEPTED = "accepted", tell("Accepted")
        DECLINED = "declined", tell("Declined")
        COUNTERED = "countered", tell("Countered")
        WITHDRAWN = "withdrawn", tell("Withdrawn")
        EXPIRED = "expired", tell("Expired")

    application = models.ForeignKey(Application, models.PROTECT, related_name="offers")
    version = models.PositiveIntegerField()
    side = models.CharField(max_length=8, choices=Side.choices)
    author = models.ForeignKey(User, models.PROTECT, null=True, related_name="+")  # NULL: as published
    made_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    body = models.JSONField()
    sha256 = models.CharField(max_length=64)
    message = models.TextField(max_length=2000, blank=True)
    status = models.CharField(max_length=9, choices=Status.choices, default=Status.OPEN)
    answered_at = models.DateTimeField(null=True)
    answered_by = models.ForeignKey(User, models.PROTECT, null=True, related_name="+")

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["application", "version"], name="one_offer_per_version"),
            models.UniqueConstraint(
                name="one_open_offer_per_request", fields=["application"], condition=Q(status="open")
            ),
        )

    def __str__(self) -> str:
        return tell("version {version} of {application}", version=self.version, application=self.application)


class SignedSheet(models.Model):
    """The term sheet a loan stands on: the agreed terms as canonical JSON and as PDF (R-VIP-15). Append-only."""

    customer = models.ForeignKey(Customer, models.PROTECT, related_name="signed_sheets")
    offer = models.OneToOneField(
        Offer, models.PROTECT, null=True, related_name="signed_sheet"
    )  # NULL: a renewal
    body = models.JSONField()
    sha256 = models.CharField(max_length=64, unique=True)
    pdf = models.BinaryField()
    pdf_sha256 = models.CharField(max_length=64)
    signed_by = models.CharField(max_length=60)  # who accepted: an actor's label
    signed_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"T-{self.pk:04d}"


class EnquiryQuerySet(models.QuerySet["Enquiry"]):
    def visible_to(self, user: User) -> Self:
        """A manager sees what is theirs and what is nobody's yet; a borrower what they asked."""
        if user.role == User.Role.VIP_MANAGER:
            return self.filter(Q(manager=user) | Q(manager__isnull=True))
        return self.filter(asked_by=user)


class Enquiry(models.Model):
    """A wish that the form for requests cannot take: no VIP level, or unlisted terms (R-VIP-17)."""

    class Status(models.TextChoices):
        OPEN = "open", tell("waiting for a manager")
        ANSWERED = "answered", tell("Answered")
        CLOSED = "closed", tell("Closed", context="state")

    customer = models.ForeignKey(Customer, models.PROTECT, related_name="enquiries")
    asked_by = models.ForeignKey(User, models.PROTECT, related_name="enquiries")
    contact = models.CharField(max_length=200)
    account = models.ForeignKey(Account, models.PROTECT, null=True, related_name="+")
    wish = models.TextField(max_length=2000)
    asked_at = models.DateTimeField()
    manager = models.ForeignKey(User, models.PROTECT, null=True, related_name="+")
    status = models.CharField(max_length=8, choices=Status.choices, default=Status.OPEN)
    answer = models.TextField(max_length=2000, blank=True)
    handled_at = models.DateTimeField(null=True)

    objects = EnquiryQuerySet.as_manager()

    def __str__(self) -> str:
        return f"E-{self.pk:04d}"
