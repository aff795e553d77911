"""What was done and said: the audit trail, idempotency keys, notices and their deliveries."""

from typing import Self

from django.db import models
from django.db.models import Q

from accounts.models.fields import ClockTimestamp
from accounts.models.people import Customer, User


class AuditRecord(models.Model):
    """Who did what, why, and what it was before and after (TRUST I-21). Append-only.

    `subject` is `table:pk` for a changed row (written by trigger) or the command's name (written by
    `accounts/commands.py`). Rows of one transaction share `xid` with the journal entries it made.
    """

    class Kind(models.TextChoices):
        COMMAND = "command"
        INSERT = "insert"
        UPDATE = "update"
        DELETE = "delete"

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
        return f"{self.actor}: {self.kind} {self.subject}"


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
        return f"{self.caller} {self.key}"


class NoticeQuerySet(models.QuerySet["Notice"]):
    def visible_to(self, user: User) -> Self:
        return self.filter(customer__memberships__user=user)


class Notice(models.Model):
    """A message to a customer, figures already in it (R-GEN-65). The row is the in-app inbox."""

    customer = models.ForeignKey(Customer, models.PROTECT, related_name="notices")
    event = models.CharField(max_length=120, unique=True)  # at most once per event
    kind = models.CharField(max_length=40)
    title = models.CharField(max_length=200)
    body = models.TextField()
    facts = models.JSONField(default=dict)  # LTV, prices, amounts needed, ids of what it is about
    at = models.DateTimeField()
    read_at = models.DateTimeField(null=True)
    dropped_at = models.DateTimeField(null=True)  # overtaken before it went out (R-GEN-61)

    objects = NoticeQuerySet.as_manager()

    class Meta:
        indexes = (models.Index(fields=["customer", "-at"], name="notice_inbox"),)

    def __str__(self) -> str:
        return self.title


class Delivery(models.Model):
    """One notice on one outside channel: the row is the queue, at most once, best effort (R-GEN-60)."""

    class Channel(models.TextChoices):
        EMAIL = "email", "e-mail"
        SMS = "sms", "SMS"

    class Status(models.TextChoices):
        PENDING = "pending"
        SENDING = "sending"
        SENT = "sent"
        FAILED = "failed"
        DROPPED = "dropped"

    notice = models.ForeignKey(Notice, models.PROTECT, related_name="deliveries")
    channel = models.CharField(max_length=5, choices=Channel.choices)
    due_at = models.DateTimeField()
    status = models.CharField(max_length=7, choices=Status.choices, default=Status.PENDING)
    sent_at = models.DateTimeField(null=True)
    error = models.CharField(max_length=200, blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["notice", "channel"], name="one_delivery_per_channel"),
        )
        indexes = (models.Index(fields=["due_at"], condition=Q(status="pending"), name="delivery_queue"),)

    def __str__(self) -> str:
        return f"{self.channel}: {self.notice}"
