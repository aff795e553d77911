"""Keys of customers' programs, and the signatures they used up."""

from typing import ClassVar, Self

from django.db import models
from django.db.models import F, Q

from accounts.models.people import Account, User
from accounts.words import tell


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    def visible_to(self, user: User) -> Self:
        """A member sees the keys of what they act for; staff see all, a manager their clients'. R-GEN-95"""
        if user.role == User.Role.VIP_MANAGER:
            return self.filter(account__customer__manager=user)
        if user.role != User.Role.BORROWER:
            return self.all()
        mine = Q(account__customer__memberships__account__isnull=True) | Q(
            account__customer__memberships__account=F("account")
        )
        return self.filter(mine, account__customer__memberships__user=user)


class ApiKey(models.Model):
    """One key of one account: a program that has it acts as the member who made it, within its permissions.

    Of an HMAC key and a token the desk holds the secret, sealed (accounts/vault.py); of an RSA or Ed25519 key only
    the public half.
    """

    class Kind(models.TextChoices):
        HMAC = "hmac", tell("HMAC-SHA256")
        RSA = "rsa", "RSA"
        ED25519 = "ed25519", tell("Ed25519")
        TOKEN = "token", tell("bearer token")  # noqa: S105  of our own API only

    PERMISSIONS: ClassVar = ("can_read", "can_borrow", "can_transfer", "can_withdraw")

    key = models.CharField(max_length=64, unique=True)
    kind = models.CharField(max_length=7, choices=Kind.choices, default=Kind.HMAC)
    label = models.CharField(max_length=60)
    account = models.ForeignKey(Account, models.PROTECT, related_name="api_keys")
    user = models.ForeignKey(User, models.PROTECT, related_name="api_keys")  # as whom it acts
    secret = models.TextField(blank=True)  # sealed
    public_key = models.TextField(blank=True)  # PEM
    can_read = models.BooleanField(default=False)
    can_borrow = models.BooleanField(default=False)  # borrow, renew and repay
    can_transfer = models.BooleanField(default=False)
    can_withdraw = models.BooleanField(default=False)
    networks = models.JSONField(default=list)  # addresses it may be used from; empty = any
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)
    revoked_by = models.ForeignKey(User, models.PROTECT, null=True, related_name="+")

    objects = ApiKeyQuerySet.as_manager()

    class Meta:
        constraints = (
            models.CheckConstraint(
                name="an_api_key_has_a_secret_or_a_public_half",
                condition=Q(kind__in=["hmac", "token"], public_key="") & ~Q(secret="")
                | Q(kind__in=["rsa", "ed25519"], secret="") & ~Q(public_key=""),
            ),
            models.UniqueConstraint(  # which key a request names is not signed (TRUST I-26)
                name="a_pair_has_one_key", fields=["public_key"], condition=~Q(public_key="")
            ),
        )

    def __str__(self) -> str:
        return tell("{label} ({key}…)", label=self.label, key=self.key[:8])


class ApiKeyUse(models.Model):
    """When and from where a key was used last, to the minute."""

    api_key = models.OneToOneField(ApiKey, models.PROTECT, primary_key=True, related_name="use")
    at = models.DateTimeField()
    address = models.CharField(max_length=45)

    def __str__(self) -> str:
        return tell("{api_key} at {at:%Y-%m-%d %H:%M}", api_key=self.api_key_id, at=self.at)


class UsedSignature(models.Model):
    """A signature that a write has used up: of one key, on whatever endpoint, once (TRUST I-26).

    `digest` is of the signature's bytes, so no other spelling of it passes. Rows are dropped when the longest window
    is long over (accounts/tasks.py).
    """

    api_key = models.ForeignKey(ApiKey, models.PROTECT, related_name="+")
    digest = models.CharField(max_length=64)
    at = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["api_key", "digest"], name="a_signature_is_used_once"),
        )
        indexes = (models.Index(fields=["at"], name="used_signature_age"),)

    def __str__(self) -> str:
        return tell("{api_key}: {digest}", api_key=self.api_key_id, digest=self.digest[:12])
