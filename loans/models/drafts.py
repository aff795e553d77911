"""Requests that somebody began and has not sent."""

from django.db import models

from accounts.models import Customer, User
from accounts.words import tell


class ApplicationDraft(models.Model):
    """What a person typed into the form of a request, as typed (R-VIP-10). It means nothing to the ledger or the desk.

    Theirs alone: another member of the same customer has a draft of their own. Judged anew whenever it is used.
    """

    user = models.ForeignKey(User, models.CASCADE, related_name="+")
    customer = models.ForeignKey(Customer, models.CASCADE, related_name="+")
    typed = models.JSONField()  # by field; lists where several are ticked
    begun_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["user", "customer"], name="one_draft_per_person_and_customer"),
        )

    def __str__(self) -> str:
        return tell("draft of {user}", user=self.user)
