"""What the desk keeps about a client, and tells them in writing: notes, documents, statements, confirmations."""

from django.db import models
from django.db.models import Q

from accounts.models import Customer, User
from accounts.words import tell


class ClientNote(models.Model):
    """A note, a contact, a promise or a next action about a client (R-ADM-02, R-FTR-16). Its text never changes."""

    class Kind(models.TextChoices):
        NOTE = "note", tell("Note")
        CALL = "call", tell("phone call")
        EMAIL = "email", tell("e-mail")
        MEETING = "meeting", tell("Meeting")
        PROMISE = "promise", tell("promise to pay")
        TASK = "task", tell("next action")

    customer = models.ForeignKey(Customer, models.PROTECT, related_name="notes")
    kind = models.CharField(max_length=7, choices=Kind.choices, default=Kind.NOTE)
    text = models.TextField(max_length=4000)
    due_at = models.DateTimeField(null=True)
    at = models.DateTimeField()
    written_by = models.ForeignKey(User, models.PROTECT, related_name="+")
    done_at = models.DateTimeField(null=True)
    done_by = models.ForeignKey(User, models.PROTECT, null=True, related_name="+")

    class Meta:
        constraints = (
            models.CheckConstraint(name="a_note_says_something", condition=~Q(text="")),
            models.CheckConstraint(
                name="promises_and_tasks_have_a_date",
                condition=~Q(kind__in=["promise", "task"]) | Q(due_at__isnull=False),
            ),
        )
        indexes = (models.Index(fields=["customer", "-at"], name="client_notes"),)

    def __str__(self) -> str:
        return tell(
            "{kind} about {customer} of {at:%Y-%m-%d}", kind=self.kind, customer=self.customer_id, at=self.at
        )


class ClientDocument(models.Model):
    """A file the desk keeps about a client, by its digest (R-ADM-02). Append-only; `replaced_by` a later one."""

    customer = models.ForeignKey(Customer, models.PROTECT, related_name="documents")
    title = models.CharField(max_length=120)
    file_name = models.CharField(max_length=120)
    content_type = models.CharField(max_length=60)
    size = models.PositiveIntegerField()
    sha256 = models.CharField(max_length=64)
    content = models.BinaryField()
    at = models.DateTimeField()
    uploaded_by = models.ForeignKey(User, models.PROTECT, related_name="+")

    class Meta:
        constraints = (models.UniqueConstraint(fields=["customer", "sha256"], name="one_copy_of_a_document"),)

    def __str__(self) -> str:
        return self.title


class Statement(models.Model):
    """A customer's month as it was issued (R-GEN-94). Append-only; the ledger makes the same body again any day."""

    customer = models.ForeignKey(Customer, models.PROTECT, related_name="statements")
    month = models.DateField()  # its first day
    body = models.JSONField()
    sha256 = models.CharField(max_length=64)
    pdf = models.BinaryField()
    made_at = models.DateTimeField()

    class Meta:
        constraints = (models.UniqueConstraint(fields=["customer", "month"], name="one_statement_per_month"),)

    def __str__(self) -> str:
        return f"S-{self.pk:04d}"


class BalanceConfirmation(models.Model):
    """What we say a customer holds and owes at an instant, for them to confirm or dispute (R-ADM-11)."""

    class Status(models.TextChoices):
        WAITING = "waiting", tell("waiting for an answer")
        CONFIRMED = "confirmed", tell("Confirmed")
        DISPUTED = "disputed", tell("Disputed")

    customer = models.ForeignKey(Customer, models.PROTECT, related_name="balance_confirmations")
    as_of = models.DateTimeField()
    body = models.JSONField()
    sha256 = models.CharField(max_length=64)
    pdf = models.BinaryField()
    requested_by = models.ForeignKey(User, models.PROTECT, null=True, related_name="+")
    requested_at = models.DateTimeField()
    status = models.CharField(max_length=9, choices=Status.choices, default=Status.WAITING)
    answered_by = models.ForeignKey(User, models.PROTECT, null=True, related_name="+")
    answered_at = models.DateTimeField(null=True)
    answer = models.TextField(max_length=2000, blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["customer", "as_of"], name="one_confirmation_per_time"),
            models.CheckConstraint(
                name="a_dispute_says_why", condition=~Q(status="disputed") | ~Q(answer="")
            ),
        )

    def __str__(self) -> str:
        return f"C-{self.pk:04d}"
