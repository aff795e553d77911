"""What was done and said: the audit trail, idempotency keys, notices and their deliveries."""

from datetime import datetime, timedelta
from typing import Any, Self

from django.db import models
from django.db.models import Q

from accounts import reach
from accounts.models.fields import ClockTimestamp
from accounts.models.people import Customer, NoticeContact, User
from accounts.words import recalled, tell


class AuditRecord(models.Model):
    """Who did what, why, and what it was before and after (TRUST I-21). Append-only.

    `subject` is `table:pk` for a changed row (written by trigger) or the command's name (written by
    `accounts/commands.py`). Rows of one transaction share `xid` with the journal entries it made.
    """

    class Kind(models.TextChoices):
        COMMAND = "command", tell("Command")
        INSERT = "insert", tell("Insert")
        UPDATE = "update", tell("Update")
        DELETE = "delete", tell("Delete")
        VIEW = "view", tell("View")  # staff looked at a customer's personal data (R-ADM-07)

    kind = models.CharField(max_length=8, choices=Kind.choices)
    subject = models.CharField(max_length=120, db_index=True)
    actor = models.CharField(max_length=60)
    reason = models.TextField(blank=True)
    request = models.CharField(max_length=60, blank=True)
    before = models.JSONField(null=True)
    after = models.JSONField(null=True)
    recorded_at = models.DateTimeField(db_default=ClockTimestamp(), editable=False)

    class Meta:
        constraints = (models.CheckConstraint(name="audit_names_an_actor", condition=~Q(actor="")),)

    def __str__(self) -> str:
        return tell("{actor}: {kind} {subject}", actor=self.actor, kind=self.kind, subject=self.subject)


class AuditLink(models.Model):
    """One audit record's place in the chain of hashes: whoever changes one breaks all after it (R-ADM-07).

    `sha256` is of the link before and of the record (accounts/chain.py). Append-only; written behind, by one job.
    """

    position = models.PositiveBigIntegerField(primary_key=True)
    record = models.OneToOneField(AuditRecord, models.PROTECT, related_name="link")
    sha256 = models.CharField(max_length=64)

    def __str__(self) -> str:
        return tell("{position}: {sha256}", position=self.position, sha256=self.sha256[:12])


class IdempotencyKey(models.Model):
    """The first outcome of a caller's key; a repeat gets it again (R-GEN-06, TRUST I-25)."""

    caller = models.CharField(max_length=60)
    key = models.CharField(max_length=64)
    command = models.CharField(max_length=60)
    request_hash = models.CharField(max_length=64)
    result = models.CharField(max_length=40, null=True)  # noqa: DJ001  NULL = the command returns nothing
    recorded_at = models.DateTimeField(db_default=ClockTimestamp(), editable=False)

    class Meta:
        constraints = (models.UniqueConstraint(fields=["caller", "key"], name="one_effect_per_key"),)

    def __str__(self) -> str:
        return tell("{caller} {key}", caller=self.caller, key=self.key)


class NoticeQuerySet(models.QuerySet["Notice"]):
    def visible_to(self, user: User) -> Self:
        """Notices tell what the whole customer owes, so who acts for one account only has none. R-GEN-95"""
        return self.filter(customer__memberships__user=user, customer__memberships__account=None)


class Notice(models.Model):
    """A message to a customer, figures already in it (R-GEN-65). The row is the in-app inbox."""

    customer = models.ForeignKey(Customer, models.PROTECT, related_name="notices")
    event = models.CharField(max_length=120, unique=True)  # at most once per event
    kind = models.CharField(max_length=40)
    title = models.CharField(max_length=200)
    body = models.TextField()
    memory = models.JSONField(null=True)  # what title and body were made of, to say them in another language
    facts = models.JSONField(default=dict)  # LTV, prices, amounts needed, ids of what it is about
    at = models.DateTimeField()
    read_at = models.DateTimeField(null=True)
    dropped_at = models.DateTimeField(null=True)  # overtaken before it went out (R-GEN-61)
    acknowledged_at = models.DateTimeField(null=True)  # somebody of the customer has it in hand (R-FTR-03)
    acknowledged_by = models.ForeignKey(User, models.PROTECT, null=True, related_name="+")

    objects = NoticeQuerySet.as_manager()

    class Meta:
        indexes = (models.Index(fields=["customer", "-at"], name="notice_inbox"),)

    def __str__(self) -> str:
        return self.title

    @classmethod
    def from_db(cls, *row_of: Any, **how: Any) -> Self:
        """Title and body are words again, where it is remembered what they were made of."""
        row = super().from_db(*row_of, **how)
        memory = row.__dict__.get("memory") or {}
        for name in ("title", "body"):
            if name in memory and name in row.__dict__:
                setattr(row, name, recalled(row.__dict__[name], memory[name]))
        return row


KEPT_IN_SIGHT = timedelta(days=30)  # how long a delivery that failed is listed
LOST_AFTER = timedelta(minutes=10)  # a claim this old has died with its worker


class DeliveryQuerySet(models.QuerySet["Delivery"]):
    def undelivered(self, *, at: datetime) -> Self:
        """What did not leave in the last 30 days and is never tried again (R-GEN-60); not what a firm's people ask
        each other, which is not for the desk (R-ADM-09)."""
        status = Delivery.Status
        seen = self.filter(due_at__gt=at - KEPT_IN_SIGHT).exclude(notice__kind__in=reach.OWN_AFFAIRS)
        return seen.filter(Q(status=status.FAILED) | Q(status=status.SENDING, due_at__lt=at - LOST_AFTER))


class Delivery(models.Model):
    """One notice on one outside channel: the row is the queue, at most once, best effort (R-GEN-60)."""

    class Channel(models.TextChoices):
        EMAIL = "email", tell("e-mail")
        SMS = "sms", "SMS"
        WEBHOOK = "webhook", tell("Webhook")

    class Status(models.TextChoices):
        PENDING = "pending", tell("Pending")
        SENDING = "sending", tell("Sending")
        SENT = "sent", tell("Sent")
        FAILED = "failed", tell("Failed")
        DROPPED = "dropped", tell("Dropped")

    notice = models.ForeignKey(Notice, models.PROTECT, related_name="deliveries")
    channel = models.CharField(max_length=7, choices=Channel.choices)
    contact = models.ForeignKey(
        NoticeContact, models.PROTECT, null=True, related_name="deliveries"
    )  # NULL: the members, or the customer's phone
    due_at = models.DateTimeField()
    status = models.CharField(max_length=7, choices=Status.choices, default=Status.PENDING)
    sent_at = models.DateTimeField(null=True)
    answer = models.CharField(max_length=200, blank=True)  # what the channel said when it took it (R-GEN-65)
    error = models.CharField(max_length=200, blank=True)

    objects = DeliveryQuerySet.as_manager()

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["notice", "channel", "contact"],
                name="one_delivery_per_channel_and_contact",
                nulls_distinct=False,
            ),
        )
        indexes = (models.Index(fields=["due_at"], condition=Q(status="pending"), name="delivery_queue"),)

    def __str__(self) -> str:
        return tell("{channel}: {notice}", channel=self.channel, notice=self.notice)


class NoticePreference(models.Model):
    """How a customer wants to be told. Quiet hours hold back what can wait, never a call or a liquidation."""

    class Language(models.TextChoices):
        ENGLISH = "en", tell("English")
        SWEDISH = "sv", tell("Svenska")

    customer = models.OneToOneField(Customer, models.PROTECT, related_name="notice_preference")
    by_email = models.BooleanField(default=True)
    by_sms = models.BooleanField(default=True)
    phone = models.CharField(max_length=20, blank=True)
    quiet_from = models.TimeField(null=True)
    quiet_until = models.TimeField(null=True)
    time_zone = models.CharField(max_length=40, default="UTC")
    language = models.CharField(max_length=2, choices=Language.choices, default=Language.ENGLISH)

    class Meta:
        constraints = (
            models.CheckConstraint(
                name="quiet_hours_have_two_ends",
                condition=Q(quiet_from__isnull=True, quiet_until__isnull=True)
                | Q(quiet_from__isnull=False, quiet_until__isnull=False),
            ),
        )

    def __str__(self) -> str:
        return tell("how to tell {customer}", customer=self.customer_id)


class ApprovalPolicy(models.Model):
    """Whether a command needs four eyes, and above which worth, from `effective_at` (R-ADM-03). Append-only.

    Without a row every command that can need four eyes does.
    """

    command = models.CharField(max_length=60)
    effective_at = models.DateTimeField()
    required = models.BooleanField(default=True)
    above_usd = models.DecimalField(
        max_digits=38, decimal_places=18, null=True
    )  # NULL = whatever it is worth

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["command", "effective_at"], name="one_policy_per_time"),
        )

    def __str__(self) -> str:
        return tell(
            "{command}: {which}",
            command=self.command,
            which=tell("four eyes") if self.required else tell("one person"),
        )


class Approval(models.Model):
    """One person proposes a command with its exact arguments; another releases or refuses it (R-ADM-03, I-24).

    `payload_hash` names command and arguments; releasing runs that and nothing else.
    """

    class Status(models.TextChoices):
        PENDING = "pending", tell("waiting")
        RELEASED = "released", tell("Released")
        REFUSED = "refused", tell("Refused")
        WITHDRAWN = "withdrawn", tell("Withdrawn")
        EXPIRED = "expired", tell("Expired")

    class Side(models.TextChoices):
        DESK = "desk", tell("Desk")
        FIRM = "firm", tell("Firm")  # a firm's own maker and checker (R-ADM-09); `customer` says whose

    side = models.CharField(max_length=4, choices=Side.choices, default=Side.DESK)
    command = models.CharField(max_length=60)
    payload = models.JSONField()
    payload_hash = models.CharField(max_length=64)
    title = models.CharField(max_length=200)
    preview = models.JSONField(default=dict)  # what the proposer was shown it would do
    memory = models.JSONField(
        null=True
    )  # what title and preview were made of, to say them in another language
    reason = models.TextField(max_length=2000)
    customer = models.ForeignKey(Customer, models.PROTECT, null=True, related_name="approvals")
    proposed_by = models.ForeignKey(User, models.PROTECT, related_name="proposals")
    proposed_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    status = models.CharField(max_length=9, choices=Status.choices, default=Status.PENDING)
    decided_by = models.ForeignKey(User, models.PROTECT, null=True, related_name="+")
    decided_at = models.DateTimeField(null=True)
    decision_reason = models.TextField(max_length=2000, blank=True)
    result = models.CharField(max_length=120, blank=True)  # `label:pk` of the row that running it made

    class Meta:
        constraints = (
            models.CheckConstraint(
                name="nobody_releases_their_own_proposal",
                condition=~Q(status="released")
                | (Q(decided_by__isnull=False) & ~Q(decided_by=models.F("proposed_by"))),
            ),
            models.CheckConstraint(
                name="a_firms_proposal_names_the_firm", condition=Q(side="desk") | Q(customer__isnull=False)
            ),
            models.UniqueConstraint(
                name="one_waiting_proposal_per_payload",
                fields=["payload_hash"],
                condition=Q(status="pending"),
            ),
        )

    def __str__(self) -> str:
        return f"A-{self.pk:04d}"

    @classmethod
    def from_db(cls, *row_of: Any, **how: Any) -> Self:
        """Title and preview are words again, where it is remembered what they were made of."""
        row = super().from_db(*row_of, **how)
        found = row.__dict__
        memory = found.get("memory") or {}
        if "title" in memory and "title" in found:
            row.title = recalled(row.title, memory["title"])
        if "preview" in memory and "preview" in found:
            told = {
                name: recalled(row.preview[name], one)
                for name, one in memory["preview"].items()
                if isinstance(row.preview.get(name), str)
            }
            row.preview = row.preview | told
        return row


class Export(models.Model):
    """A file somebody asked for, made by a job: the row is the queue, shows how far it is and keeps the result."""

    class Status(models.TextChoices):
        QUEUED = "queued", tell("waiting")
        RUNNING = "running", tell("being made")
        DONE = "done", tell("ready")
        FAILED = "failed", tell("Failed")

    kind = models.CharField(max_length=40)
    title = models.CharField(max_length=200)
    arguments = models.JSONField(default=dict)
    customer = models.ForeignKey(
        Customer, models.PROTECT, null=True, related_name="exports"
    )  # of whom it tells
    requested_by = models.ForeignKey(User, models.PROTECT, related_name="exports")
    requested_at = models.DateTimeField()
    status = models.CharField(max_length=7, choices=Status.choices, default=Status.QUEUED)
    done = models.PositiveIntegerField(default=0)
    total = models.PositiveIntegerField(default=0)  # 0 = not known yet
    heartbeat_at = models.DateTimeField(null=True)  # silent for long while running: its worker died
    finished_at = models.DateTimeField(null=True)
    file_name = models.CharField(max_length=120, blank=True)
    content_type = models.CharField(max_length=60, blank=True)
    content = models.BinaryField(null=True)
    sha256 = models.CharField(max_length=64, blank=True)
    error = models.CharField(max_length=300, blank=True)

    class Meta:
        indexes = (
            models.Index(
                fields=["requested_at"], condition=Q(status__in=["queued", "running"]), name="export_queue"
            ),
        )

    def __str__(self) -> str:
        return self.title
