"""What a line of a client's timeline says, one function per kind of row (loans/timeline.py, R-FTR-16).

Words only: figures stay figures, so that the page writes them as it writes all others.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final

from accounts.models import Approval, AuditRecord, Notice, Screening
from loans import clients
from loans.models import (
    BalanceConfirmation,
    ClientDocument,
    ClientNote,
    ClientTerms,
    Enquiry,
    LoanEvent,
    Statement,
)
from risk.models import CallRecord, DelayEnrolment, HandlingRule, Limits, Liquidation, Movement, RiskEvent


class Topic(StrEnum):
    """What a line is about; a reader may look at one of them."""

    NOTES = "notes"
    DOCUMENTS = "documents"
    REQUESTS = "requests"
    LOANS = "loans"
    RISK = "risk"
    APPROVALS = "approvals"
    TERMS = "terms"
    NOTICES = "notices"
    MOVEMENTS = "movements"
    PAPERS = "papers"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line. `link` names what it is about and its key; a page knows the address."""

    topic: Topic
    at: datetime
    title: str
    words: str = ""
    by: str = ""
    link: tuple[str, int] | None = None
    ltv: Decimal | None = None
    amount: Decimal | None = None
    asset: str = ""


def of_note(row: ClientNote) -> Entry:
    until = f", by {_minute(row.due_at)}" if row.due_at else ""
    is_done = f" Done {_minute(row.done_at)}." if row.done_at else ""
    title = f"{row.get_kind_display().capitalize()}{until}"
    return Entry(
        Topic.NOTES, row.at, title, f"{row.text}{is_done}", f"user:{row.written_by_id}", ("note", row.pk)
    )


def of_document(row: ClientDocument) -> Entry:
    words = f"{row.file_name}, {row.size:,} bytes"
    by = f"user:{row.uploaded_by_id}"
    return Entry(Topic.DOCUMENTS, row.at, f"Document: {row.title}", words, by, ("document", row.pk))


REQUEST_WORDS: Final = {
    "submitted": "sent to review",
    "negotiating": "in negotiation, the desk’s move",
    "countered": "the client wants other terms",
    "offered": "the desk offered other terms, the client’s move",
    "approved": "approved",
    "partially_approved": "approved in part",
    "rejected": "rejected",
    "cancelled": "taken back by the client",
    "expired": "lapsed: nobody answered in time",
    "disbursed": "paid out",
}


def of_request(row: LoanEvent) -> Entry:
    assert row.application is not None, "the source asks for events of a request"
    words = row.application.decision_reason if row.kind == "rejected" else ""
    version = f", version {row.facts['version']}" if row.facts.get("version") else ""
    title = f"{row.application}: {REQUEST_WORDS.get(row.kind, row.kind)}{version}"
    return Entry(Topic.REQUESTS, row.at, title, words, row.actor, ("request", row.application.pk))


def of_enquiry(row: Enquiry) -> Entry:
    by = f"user:{row.asked_by_id}"
    return Entry(Topic.REQUESTS, row.asked_at, f"{row}: asked the desk", row.wish, by, ("enquiry", row.pk))


LOAN_WORDS: Final = {
    "drawn": "paid out",
    "repayment": "repaid in part",
    "repaid": "repaid in full",
    "renewed": "renewed",
    "converted": "goes on at the flexible rate",
    "overdue": "overdue",
    "called": "called back",
    "auto_repay_on": "repays itself at expiry",
    "auto_repay_off": "does not repay itself any more",
}


def of_loan(row: LoanEvent) -> Entry:
    assert row.loan is not None, "the source asks for events of a loan"
    paid = row.facts.get("paid") or row.facts.get("amount")
    return Entry(
        Topic.LOANS,
        row.at,
        f"{row.loan}: {LOAN_WORDS.get(row.kind, row.kind.replace('_', ' '))}",
        str(row.facts.get("reason", "")),
        row.actor,
        ("loan", row.loan.pk),
        amount=Decimal(paid) if paid else None,
        asset=row.loan.asset_id,
    )


RISK_WORDS: Final = {
    RiskEvent.Kind.CALLED: "margin call",
    RiskEvent.Kind.CALL_REPEATED: "margin call, told again",
    RiskEvent.Kind.CALL_ENDED: "margin call over",
    RiskEvent.Kind.WARNED: "early warning",
    RiskEvent.Kind.GRACE: "time after an outage",
    RiskEvent.Kind.GRACE_EXTENDED: "more time after an outage",
    RiskEvent.Kind.DELAY_STARTED: "liquidation call, the clock runs",
    RiskEvent.Kind.DELAY_EXTENDED: "more time in the liquidation call",
    RiskEvent.Kind.DELAY_ENDED: "liquidation call over",
    RiskEvent.Kind.LIQUIDATION_STARTED: "liquidation begins",
    RiskEvent.Kind.LIQUIDATION_STEP: "liquidation, one step",
    RiskEvent.Kind.LIQUIDATION_ENDED: "liquidation over",
    RiskEvent.Kind.DEBT_RESIDUAL: "something stays owed",
    RiskEvent.Kind.DEBT_SETTLED: "paid by the insurance fund",
    RiskEvent.Kind.DEBT_WRITTEN_OFF: "written off",
    RiskEvent.Kind.PLAN_AGREED: "instalments agreed",
    RiskEvent.Kind.FROZEN: "frozen",
    RiskEvent.Kind.UNFROZEN: "no longer frozen",
    RiskEvent.Kind.MEMBER_ADDED: "account added",
    RiskEvent.Kind.MEMBER_REMOVED: "account removed",
    RiskEvent.Kind.AUTO_CURE: "a rule of the client's acted",
    RiskEvent.Kind.SOFT_SET: "de-leveraging set",
    RiskEvent.Kind.CORRECTED: "an entry was reversed",
    RiskEvent.Kind.OPENED: "group opened",
    RiskEvent.Kind.CLOSED: "group closed",
}
"""Events that are told; bands, blind spells and debts have their own lines or their own pages."""


def of_risk_event(row: RiskEvent) -> Entry:
    until = row.facts.get("until")
    said = [str(row.facts[name]) for name in ("ended", "reason") if row.facts.get(name)]
    words = "; ".join([*([f"until {_minute(datetime.fromisoformat(until))}"] if until else []), *said])
    # A step that the client chose is no liquidation.
    is_chosen = row.facts.get("cause") == Liquidation.Cause.SOFT
    what = "de-leveraging, one step" if is_chosen else RISK_WORDS[RiskEvent.Kind(row.kind)]
    title = f"{row.group.name}: {what}"
    return Entry(Topic.RISK, row.at, title, words, link=("group", row.group_id), ltv=row.ltv)


def of_call_record(row: CallRecord) -> Entry:
    promise = f", by {_minute(row.promised_by)}" if row.promised_by else ""
    title = f"Margin call: {row.get_kind_display().lower()}, {row.get_way_display().lower()}{promise}"
    by = f"user:{row.by_id}"
    return Entry(Topic.RISK, row.at, title, row.note, by, ("group", row.call.group_id))


def of_proposal(row: Approval) -> Entry:
    by = f"user:{row.proposed_by_id}"
    return Entry(
        Topic.APPROVALS, row.proposed_at, f"{row} proposed: {row.title}", row.reason, by, ("approval", row.pk)
    )


def of_decision(row: Approval) -> Entry:
    assert row.decided_at is not None, "the source asks for decided ones"
    by = f"user:{row.decided_by_id}" if row.decided_by_id else ""
    title = f"{row} {row.get_status_display().lower()}: {row.title}"
    return Entry(Topic.APPROVALS, row.decided_at, title, row.decision_reason, by, ("approval", row.pk))


def of_terms(row: ClientTerms) -> Entry:
    by = f"user:{row.set_by_id}" if row.set_by_id else ""
    title = f"Own terms, {row.asset_id or 'every coin'}{_until(row.ends_at)}: {clients.in_words(row)}"
    return Entry(Topic.TERMS, row.starts_at, title, row.reason, by, ("policy", row.customer_id))


def of_lines(row: Limits) -> Entry:
    levels = " / ".join(f"{one:.2%}" for one in (row.initial, row.margin_call, row.liquidation, row.cutoff))
    assert row.customer_id is not None, "the source asks for a customer's"
    title = f"Own LTV lines{_until(row.ends_at)}: {levels}"
    return Entry(Topic.TERMS, row.effective_at, title, link=("policy", row.customer_id))


def of_handling(row: HandlingRule) -> Entry:
    assert row.customer_id is not None, "the source asks for a customer's"
    title = f"Own handling{_until(row.ends_at)}: liquidated {row.get_mode_display().lower()}"
    return Entry(Topic.TERMS, row.effective_at, title, link=("policy", row.customer_id))


def of_enrolment(row: DelayEnrolment) -> Entry:
    title = f"Enrolled for delayed liquidation from {_minute(row.starts_at)}{_until(row.ends_at)}"
    by = f"user:{row.granted_by_id}"
    return Entry(Topic.TERMS, row.granted_at, title, by=by, link=("policy", row.customer_id))


def of_screening(row: Screening) -> Entry:
    title = f"{_capital(row.get_kind_display())}: {row.get_status_display().lower()}{_until(row.valid_until)}"
    by = f"user:{row.recorded_by_id}" if row.recorded_by_id else ""
    return Entry(Topic.PAPERS, row.checked_at, title, row.note, by)


CUSTOMER_FIELDS: Final = ("name", "vip_level", "whitelisted", "manager_id")


def of_customer(row: AuditRecord) -> Entry:
    after = row.after or {}
    said = {
        "whitelisted": "let in without VIP level"
        if after.get("whitelisted")
        else "not let in without VIP level",
        "vip_level": f"VIP {after.get('vip_level')}",
        "manager_id": "another manager" if after.get("manager_id") else "no manager any more",
        "name": f"named {after.get('name')}",
    }
    title = ", ".join(said[name] for name in CUSTOMER_FIELDS if name in after)
    return Entry(Topic.TERMS, row.recorded_at, f"Client: {title}", row.reason, row.actor)


def of_notice(row: Notice) -> Entry:
    words = "dropped before it went out" if row.dropped_at else ""
    return Entry(Topic.NOTICES, row.at, f"Told: {row.title}", words, link=("notice", row.pk))


def of_movement(row: Movement) -> Entry:
    got = f" for {row.got_amount.normalize():f} {row.got_asset_id}" if row.got_amount is not None else ""
    return Entry(
        Topic.MOVEMENTS,
        row.at,
        f"{row.get_kind_display().capitalize()}{got}",
        f"to {row.address}" if row.address else "",
        link=("entry", row.entry_id),
        ltv=row.ltv_after,
        amount=row.amount,
        asset=row.asset_id,
    )


def of_statement(row: Statement) -> Entry:
    return Entry(Topic.PAPERS, row.made_at, f"Statement {row} for {row.month:%B %Y}", "issued")


def of_confirmation(row: BalanceConfirmation) -> Entry:
    words = row.get_status_display().lower()
    return Entry(
        Topic.PAPERS, row.requested_at, f"Balance confirmation {row} as of {_minute(row.as_of)}", words
    )


def _until(instant: datetime | None) -> str:
    return f" until {_minute(instant)}" if instant else ""


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _minute(instant: datetime) -> str:
    return f"{instant:%-d %b %Y, %H:%M} UTC"
