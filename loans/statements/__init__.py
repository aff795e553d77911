"""Monthly statements: made from the ledger, issued once, proved again any day, on paper and as rows (R-GEN-94)."""

from loans.statements.body import NotCharged, NothingOwed, NotOver, check, of
from loans.statements.files import CSV, PDF, as_csv, as_pdf, csv_of, lines
from loans.statements.issuing import Proof, issue, issue_due, recompute, tampered, verify
from loans.statements.month import Body, Month, digest, last_month

__all__ = [
    "Body",
    "CSV",
    "Month",
    "NotCharged",
    "NotOver",
    "NothingOwed",
    "PDF",
    "Proof",
    "as_csv",
    "as_pdf",
    "check",
    "csv_of",
    "digest",
    "issue",
    "issue_due",
    "last_month",
    "lines",
    "of",
    "recompute",
    "tampered",
    "verify",
]
