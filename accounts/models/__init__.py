"""People and money: who may act, the account tree, the ledger, the audit trail and notices.

Facts only. Money is moved by `accounts/ledger.py` and the triggers of migration 0002; nothing else writes totals.
"""

from accounts.models.fields import ClockTimestamp, amount_field, rate_field
from accounts.models.jobs import JobRun
from accounts.models.keys import ApiKey, ApiKeyQuerySet, ApiKeyUse, UsedSignature
from accounts.models.money import Asset, ControlSum, JournalEntry, LedgerAccount, PeriodClose, Transfer
from accounts.models.people import (
    UID_LIMIT,
    Acceptance,
    Account,
    AccountQuerySet,
    Agreement,
    Customer,
    FirmPolicy,
    Membership,
    NoticeContact,
    Screening,
    User,
    UserManager,
)
from accounts.models.records import (
    Approval,
    ApprovalPolicy,
    AuditLink,
    AuditRecord,
    Delivery,
    Export,
    IdempotencyKey,
    Notice,
    NoticePreference,
    NoticeQuerySet,
)

__all__ = [
    "Acceptance",
    "Account",
    "AccountQuerySet",
    "Agreement",
    "ApiKey",
    "ApiKeyQuerySet",
    "ApiKeyUse",
    "Approval",
    "ApprovalPolicy",
    "Asset",
    "AuditLink",
    "AuditRecord",
    "ClockTimestamp",
    "ControlSum",
    "Customer",
    "Delivery",
    "Export",
    "FirmPolicy",
    "IdempotencyKey",
    "JobRun",
    "JournalEntry",
    "LedgerAccount",
    "Membership",
    "Notice",
    "NoticeContact",
    "NoticePreference",
    "NoticeQuerySet",
    "PeriodClose",
    "Screening",
    "Transfer",
    "UID_LIMIT",
    "UsedSignature",
    "User",
    "UserManager",
    "amount_field",
    "rate_field",
]
