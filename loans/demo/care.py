"""How the demo's clients help themselves and are looked after: firms of several people, contacts, calls, files, rules.

Each is one command with its time, like the stories; who acts is always somebody whose login shows it.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from accounts import approvals, contacts, firms
from accounts.commands import Actor
from accounts.models import LedgerAccount, NoticeContact
from accounts.words import tell
from loans import client_file, cure_rules
from loans.demo import cast
from loans.demo.cast import MAIN
from loans.demo.desk import Desk
from loans.demo.parts import MASTER
from loans.demo.plots import ADDRESS, Event
from loans.models import ClientNote
from risk import call_records, deleveraging
from risk.models import CallRecord, CureRule, MarginCall

CALLED: Final = "Kestrel Digital"
PROMISED_WITHIN: Final = timedelta(hours=6)
ESCALATED_AFTER: Final = 30  # minutes
WITHDRAWN: Final = Decimal(25_000)  # USDT
RESOLUTION: Final = """\
Alder Street Capital
Resolution of the board on borrowing

The board resolves that the firm may borrow up to the worth of 10,000,000 USD from the lending desk, secured by
coins in its sub-accounts. Nora Keller signs alone; withdrawals and the release of a collateral account need a
second signature of Nora Keller or Jan Vermeer.

This paper was made up for a demonstration and binds nobody.
"""


def events(desk: Desk) -> Iterator[Event]:
    """Everything of this kind, in no order."""
    return desk.told(
        (
            ("24.7", _meet),
            ("22.9", _keep_resolution),
            ("17.8", _name_contacts),
            ("17.6", _choose_de_leveraging),
            ("8.1", _plan_next_action),
            ("6.3", _ask_for_two),
            ("4.2", _set_rules),
            ("2.2", _note_promise),
            ("0.13", _telephone),
            ("0.12", _promise),
            ("0.16", _send_withdrawal),
        )
    )


# --- A firm of several people (R-ADM-09) ------------------------------------------------------------


def _ask_for_two(desk: Desk, at: datetime) -> None:
    firms.set_policy(
        customer_id=desk.residents[MAIN.name].customer.pk,
        apply=False,
        accept=False,
        withdraw=True,
        remove=True,
        actor=desk.residents[MAIN.name].actor,
        at=at,
    )


def _send_withdrawal(desk: Desk, at: datetime) -> None:
    """The treasurer's; it waits for the signatory."""
    who = desk.residents[MAIN.name]
    approvals.propose(
        command="gate.withdraw",
        arguments={
            "account_uid": who.accounts[MASTER].pk,
            "asset": "USDT",
            "amount": WITHDRAWN,
            "wallet": LedgerAccount.Kind.SPOT.value,
            "address": ADDRESS,
        },
        title=tell("Withdraw {amount:,} USDT from {account}", amount=WITHDRAWN, account=who.accounts[MASTER]),
        preview={"To": ADDRESS},
        reason="The auditors' invoice is due this week.",
        actor=Actor.user(who.colleagues["treasurer"]),
        at=at,
    )


# --- A called client (R-FTR-03, R-FTR-18) -----------------------------------------------------------


def _name_contacts(desk: Desk, at: datetime) -> None:
    """One is told at once, the other only when nobody has acknowledged a call for half an hour."""
    who = desk.residents[CALLED]
    for name, channel, address, minutes in (
        ("Treasury mailbox", NoticeContact.Channel.EMAIL, f"kestrel-treasury@{cast.MAIL}", 0),
        ("Tom Baker, deputy", NoticeContact.Channel.SMS, "+447700900149", ESCALATED_AFTER),
    ):
        contacts.add(
            customer_id=who.customer.pk,
            name=name,
            channel=channel,
            address=address,
            after_minutes=minutes,
            actor=who.actor,
            at=at,
        )


def _telephone(desk: Desk, at: datetime) -> None:
    call_records.contacted(
        call_id=_call(desk).pk,
        way=CallRecord.Way.PHONE,
        note="Reached Ines Duarte. She has seen the price of ETH, not our message.",
        actor=desk.residents[CALLED].decider,
        at=at,
    )


def _promise(desk: Desk, at: datetime) -> None:
    call_records.promised(
        call_id=_call(desk).pk,
        promised_by=desk.world.end + PROMISED_WITHIN,
        way=CallRecord.Way.PHONE,
        note="Will add SOL from their staking account as soon as it is unlocked.",
        actor=desk.residents[CALLED].decider,
        at=at,
    )


def _call(desk: Desk) -> MarginCall:
    return MarginCall.objects.get(group=desk.group(CALLED), ended_at__isnull=True)


# --- A client's file (R-FTR-16) ---------------------------------------------------------------------


def _meet(desk: Desk, at: datetime) -> None:
    _write(
        desk,
        at,
        ClientNote.Kind.MEETING,
        "At their office. They bridge until a fund closes, and trade neutral.",
    )
    _write(desk, at, ClientNote.Kind.NOTE, "Nora Keller prefers to be called before 16:00 UTC.")


def _keep_resolution(desk: Desk, at: datetime) -> None:
    who = desk.residents[MAIN.name]
    client_file.add_document(
        customer_id=who.customer.pk,
        title="Board resolution on borrowing",
        file_name="board-resolution.txt",
        content=RESOLUTION.encode(),
        actor=who.decider,
        at=at,
    )


def _plan_next_action(desk: Desk, at: datetime) -> None:
    """Its day is over, and nobody has ticked it off."""
    text = "Ask for the fund's latest accounts before the bridge is renewed."
    _write(desk, at, ClientNote.Kind.TASK, text, due_at=desk.midnight_after(-1))
    _write(desk, at, ClientNote.Kind.NOTE, "Asked for a lower rate on the next loan; the yield allows 0.2 %.")


def _note_promise(desk: Desk, at: datetime) -> None:
    """One kept, one that still runs."""
    kept = _write(
        desk, at, ClientNote.Kind.PROMISE, "Sends the signed resolution.", due_at=desk.midnight_after(-1)
    )
    client_file.done(note_id=kept.pk, actor=desk.residents[MAIN.name].decider, at=at + timedelta(hours=2))
    text = "Repays the bridge when the fund closes, at its expiry at the latest."
    _write(desk, at, ClientNote.Kind.PROMISE, text, due_at=desk.midnight_after(6))


def _write(
    desk: Desk, at: datetime, kind: ClientNote.Kind, text: str, *, due_at: datetime | None = None
) -> ClientNote:
    who = desk.residents[MAIN.name]
    return client_file.note(
        customer_id=who.customer.pk, kind=kind, text=text, due_at=due_at, actor=who.decider, at=at
    )


# --- Help prepared for a fall (R-FTR-04, R-FTR-05) --------------------------------------------------


def _set_rules(desk: Desk, at: datetime) -> None:
    """One only writes down what it would do; the other acts, but from above where a push of -3 % in BTC leads."""
    who = desk.residents[MAIN.name]
    group = desk.group(MAIN.name, "Trading")
    cure_rules.set_rule(
        group_id=group.pk,
        kind=CureRule.Kind.REPAY,
        asset="USDT",
        trigger=Decimal("0.75"),
        target=Decimal("0.72"),
        most_each=Decimal(100_000),
        cooling_minutes=24 * 60,
        is_dry_run=True,
        actor=who.actor,
        at=at,
    )
    cure_rules.set_rule(
        group_id=group.pk,
        kind=CureRule.Kind.TOP_UP,
        asset="BTC",
        source_uid=who.accounts["Spare"].pk,
        source_wallet=LedgerAccount.Kind.SPOT.value,
        account_uid=who.accounts["Margin book"].pk,
        trigger=Decimal("0.8"),
        target=Decimal("0.76"),
        most_each=Decimal(3),
        most_daily=Decimal(6),
        cooling_minutes=60,
        actor=who.actor,
        at=at,
    )


def _choose_de_leveraging(desk: Desk, at: datetime) -> None:
    who = desk.residents[CALLED]
    deleveraging.choose(
        group_id=desk.group(CALLED).pk,
        start=Decimal("0.84"),
        target=Decimal("0.76"),
        step_share=Decimal("0.1"),
        actor=who.actor,
        at=at,
    )
