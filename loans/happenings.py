"""What a line of a client's timeline says, one function per kind of row (loans/timeline.py, R-FTR-16).

Words only: figures stay figures, so that the page writes them as it writes all others.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final

from accounts.models import Approval, AuditRecord, Notice, Screening
from accounts.words import capital, joined, tell
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
    until = tell(", by {due_at}", due_at=_minute(row.due_at)) if row.due_at else ""
    is_done = tell(" Done {done_at}.", done_at=_minute(row.done_at)) if row.done_at else ""
    title = tell("{kind}{until}", kind=_capital(row.get_kind_display()), until=until)
    return Entry(
        Topic.NOTES,
        row.at,
        title,
        tell("{text}{done}", text=row.text, done=is_done),
        f"user:{row.written_by_id}",
        ("note", row.pk),
    )


def of_document(row: ClientDocument) -> Entry:
    words = tell("{file_name}, {size:,} bytes", file_name=row.file_name, size=row.size)
    by = f"user:{row.uploaded_by_id}"
    return Entry(
        Topic.DOCUMENTS, row.at, tell("Document: {row}", row=row.title), words, by, ("document", row.pk)
    )


REQUEST_WORDS: Final = {
    "submitted": "sent to review",
    "negotiating": tell("in negotiation, the desk’s move"),
    "countered": "the client wants other terms",
    "offered": tell("the desk offered other terms, the client’s move"),
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
    version = tell(", version {facts}", facts=row.facts["version"]) if row.facts.get("version") else ""
    title = tell(
        "{application}: {kind}{version}",
        application=row.application,
        kind=REQUEST_WORDS.get(row.kind, row.kind),
        version=version,
    )
    return Entry(Topic.REQUESTS, row.at, title, words, row.actor, ("request", row.application.pk))


def of_enquiry(row: Enquiry) -> Entry:
    by = f"user:{row.asked_by_id}"
    return Entry(
        Topic.REQUESTS,
        row.asked_at,
        tell("{row}: asked the desk", row=row),
        row.wish,
        by,
        ("enquiry", row.pk),
    )


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
        tell("{loan}: {kind}", loan=row.loan, kind=LOAN_WORDS.get(row.kind, row.kind.replace("_", " "))),
        str(row.facts.get("reason", "")),
        row.actor,
        ("loan", row.loan.pk),
        amount=Decimal(paid) if paid else None,
        asset=row.loan.asset_id,
    )


RISK_WORDS: Final = {
    RiskEvent.Kind.CALLED: "margin call",
    RiskEvent.Kind.CALL_REPEATED: tell("margin call, told again"),
    RiskEvent.Kind.CALL_ENDED: "margin call over",
    RiskEvent.Kind.WARNED: "early warning",
    RiskEvent.Kind.GRACE: "time after an outage",
    RiskEvent.Kind.GRACE_EXTENDED: "more time after an outage",
    RiskEvent.Kind.DELAY_STARTED: tell("liquidation call, the clock runs"),
    RiskEvent.Kind.DELAY_EXTENDED: "more time in the liquidation call",
    RiskEvent.Kind.DELAY_ENDED: "liquidation call over",
    RiskEvent.Kind.LIQUIDATION_STARTED: "liquidation begins",
    RiskEvent.Kind.LIQUIDATION_STEP: tell("liquidation, one step"),
    RiskEvent.Kind.LIQUIDATION_ENDED: "liquidation over",
    RiskEvent.Kind.DEBT_RESIDUAL: "something stays owed",
    RiskEvent.Kind.DEBT_SETTLED: "paid by the insurance fund",
    RiskEvent.Kind.DEBT_WRITTEN_OFF: "written off",
    RiskEvent.Kind.PLAN_AGREED: "instalments agreed",
    RiskEvent.Kind.FROZEN: "frozen",
    RiskEvent.Kind.UNFROZEN: "no longer frozen",
    RiskEvent.Kind.MEMBER_ADDED: "account added",
    RiskEvent.Kind.MEMBER_REMOVED: "account removed",
    RiskEvent.Kind.AUTO_CURE: tell("a rule of the client's acted"),
    RiskEvent.Kind.SOFT_SET: "de-leveraging set",
    RiskEvent.Kind.CORRECTED: "an entry was reversed",
    RiskEvent.Kind.OPENED: "group opened",
    RiskEvent.Kind.CLOSED: "group closed",
}
"""Events that are told; bands, blind spells and debts have their own lines or their own pages."""


def of_risk_event(row: RiskEvent) -> Entry:
    until = row.facts.get("until")
    said = [str(row.facts[name]) for name in ("ended", "reason") if row.facts.get(name)]
    words = joined(
        "; ",
        [*([tell("until {until}", until=_minute(datetime.fromisoformat(until)))] if until else []), *said],
    )
    # A step that the client chose is no liquidation.
    is_chosen = row.facts.get("cause") == Liquidation.Cause.SOFT
    what = tell("de-leveraging, one step") if is_chosen else RISK_WORDS[RiskEvent.Kind(row.kind)]
    title = tell("{group}: {what}", group=row.group.name, what=what)
    return Entry(Topic.RISK, row.at, title, words, link=("group", row.group_id), ltv=row.ltv)


def of_call_record(row: CallRecord) -> Entry:
    promise = tell(", by {promised_by}", promised_by=_minute(row.promised_by)) if row.promised_by else ""
    title = tell(
        "Margin call: {kind}, {way}{promise}",
        kind=row.get_kind_display().lower(),
        way=row.get_way_display().lower(),
        promise=promise,
    )
    by = f"user:{row.by_id}"
    return Entry(Topic.RISK, row.at, title, row.note, by, ("group", row.call.group_id))


def of_proposal(row: Approval) -> Entry:
    by = f"user:{row.proposed_by_id}"
    return Entry(
        Topic.APPROVALS,
        row.proposed_at,
        tell("{row} proposed: {row2}", row=row, row2=row.title),
        row.reason,
        by,
        ("approval", row.pk),
    )


def of_decision(row: Approval) -> Entry:
    assert row.decided_at is not None, "the source asks for decided ones"
    by = f"user:{row.decided_by_id}" if row.decided_by_id else ""
    title = tell("{row} {status}: {row2}", row=row, status=row.get_status_display().lower(), row2=row.title)
    return Entry(Topic.APPROVALS, row.decided_at, title, row.decision_reason, by, ("approval", row.pk))


def of_terms(row: ClientTerms) -> Entry:
    by = f"user:{row.set_by_id}" if row.set_by_id else ""
    title = tell(
        "Own terms, {asset}{ends_at}: {row}",
        asset=row.asset_id or tell("every coin"),
        ends_at=_until(row.ends_at),
        row=clients.in_words(row),
    )
    return Entry(Topic.TERMS, row.starts_at, title, row.reason, by, ("policy", row.customer_id))


def of_lines(row: Limits) -> Entry:
    levels = " / ".join(f"{one:.2%}" for one in (row.initial, row.margin_call, row.liquidation, row.cutoff))
    assert row.customer_id is not None, "the source asks for a customer's"
    title = tell("Own LTV lines{ends_at}: {levels}", ends_at=_until(row.ends_at), levels=levels)
    return Entry(Topic.TERMS, row.effective_at, title, link=("policy", row.customer_id))


def of_handling(row: HandlingRule) -> Entry:
    assert row.customer_id is not None, "the source asks for a customer's"
    title = tell(
        "Own handling{ends_at}: liquidated {mode}",
        ends_at=_until(row.ends_at),
        mode=row.get_mode_display().lower(),
    )
    return Entry(Topic.TERMS, row.effective_at, title, link=("policy", row.customer_id))


def of_enrolment(row: DelayEnrolment) -> Entry:
    title = tell(
        "Enrolled for delayed liquidation from {starts_at}{ends_at}",
        starts_at=_minute(row.starts_at),
        ends_at=_until(row.ends_at),
    )
    by = f"user:{row.granted_by_id}"
    return Entry(Topic.TERMS, row.granted_at, title, by=by, link=("policy", row.customer_id))


def of_screening(row: Screening) -> Entry:
    title = tell(
        "{kind}: {status}{valid_until}",
        kind=_capital(row.get_kind_display()),
        status=row.get_status_display().lower(),
        valid_until=_until(row.valid_until),
    )
    by = f"user:{row.recorded_by_id}" if row.recorded_by_id else ""
    return Entry(Topic.PAPERS, row.checked_at, title, row.note, by)


CUSTOMER_FIELDS: Final = ("name", "vip_level", "whitelisted", "manager_id")


def of_customer(row: AuditRecord) -> Entry:
    after = row.after or {}
    said = {
        "whitelisted": tell("let in without VIP level")
        if after.get("whitelisted")
        else tell("not let in without VIP level"),
        "vip_level": tell("VIP {value}", value=after.get("vip_level")),
        "manager_id": tell("another manager") if after.get("manager_id") else tell("no manager any more"),
        "name": tell("named {value}", value=after.get("name")),
    }
    title = joined(", ", (said[name] for name in CUSTOMER_FIELDS if name in after))
    return Entry(Topic.TERMS, row.recorded_at, tell("Client: {title}", title=title), row.reason, row.actor)


def of_notice(row: Notice) -> Entry:
    words = tell("dropped before it went out") if row.dropped_at else ""
    return Entry(Topic.NOTICES, row.at, tell("Told: {row}", row=row.title), words, link=("notice", row.pk))


def of_movement(row: Movement) -> Entry:
    got = (
        tell(
            " for {got_amount:f} {got_asset}",
            got_amount=row.got_amount.normalize(),
            got_asset=row.got_asset_id,
        )
        if row.got_amount is not None
        else ""
    )
    return Entry(
        Topic.MOVEMENTS,
        row.at,
        tell("{kind}{got}", kind=_capital(row.get_kind_display()), got=got),
        tell("to {address}", address=row.address) if row.address else "",
        link=("entry", row.entry_id),
        ltv=row.ltv_after,
        amount=row.amount,
        asset=row.asset_id,
    )


def of_statement(row: Statement) -> Entry:
    return Entry(
        Topic.PAPERS,
        row.made_at,
        tell("Statement {row} for {month:%B %Y}", row=row, month=row.month),
        tell("issued"),
    )


def of_confirmation(row: BalanceConfirmation) -> Entry:
    words = row.get_status_display().lower()
    return Entry(
        Topic.PAPERS,
        row.requested_at,
        tell("Balance confirmation {row} as of {as_of}", row=row, as_of=_minute(row.as_of)),
        words,
    )


def _until(instant: datetime | None) -> str:
    return tell(" until {instant}", instant=_minute(instant)) if instant else ""


def _capital(text: str) -> str:
    return capital(text)


def _minute(instant: datetime) -> str:
    return tell("{instant:%-d %b %Y, %H:%M} UTC", instant=instant)
