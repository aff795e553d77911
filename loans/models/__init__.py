"""Contracts: products and rates, requests and offers, loans. A loan opens a debt in `risk` and prices it."""

from loans.models.applications import (
    Application,
    ApplicationLine,
    ApplicationQuerySet,
    Enquiry,
    EnquiryQuerySet,
    Offer,
    SignedSheet,
)
from loans.models.contracts import Loan, LoanEvent, LoanQuerySet
from loans.models.desk import BalanceConfirmation, ClientDocument, ClientNote, Statement
from loans.models.drafts import ApplicationDraft
from loans.models.products import Authority, ClientTerms, Product, RateCard, RateType
from loans.models.supply import SupplyOrder, SupplyTake

__all__ = [
    "Application",
    "ApplicationDraft",
    "ApplicationLine",
    "ApplicationQuerySet",
    "Authority",
    "BalanceConfirmation",
    "ClientDocument",
    "ClientNote",
    "ClientTerms",
    "Enquiry",
    "EnquiryQuerySet",
    "Loan",
    "LoanEvent",
    "LoanQuerySet",
    "Offer",
    "Product",
    "RateCard",
    "RateType",
    "SignedSheet",
    "Statement",
    "SupplyOrder",
    "SupplyTake",
]
