"""What the demo's house did in its own affairs: powers, lenders, a mistake and its correction, and a month closed.

Each takes two people, as on the pages; the last things said of a month are its statements and its close.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

from accounts import closing, keys
from accounts.models import ApiKey
from accounts.templatetags import figures
from accounts.words import tell
from loans import authority, confirmations, statements, supply
from loans.demo import company
from loans.demo.cast import MAIN
from loans.demo.company import JOB
from loans.demo.desk import Desk
from loans.demo.parts import MASTER
from loans.demo.past import SPAN
from loans.demo.plots import Event
from risk import corrections, gate
from risk.models import Movement

ALONE_USD: Final = Decimal(2_000_000)
ALONE_LTV: Final = Decimal("0.68")
LONG, SHORT = 45, 5  # days until a tranche matures
STATED_AFTER: Final = (timedelta(hours=2, minutes=10), timedelta(hours=31))  # the job's, and once more
CLOSED_AFTER: Final = timedelta(hours=33)
SETTLED: Final = timedelta(days=2)  # a month younger than that is left for finance to close
MISTAKEN: Final = ("Zenith Arcade", "Operations", "USDT", Decimal(42_000))


def events(desk: Desk) -> Iterator[Event]:
    """Everything of this kind, in no order."""
    yield from desk.told(
        (
            ("30.2", _borrow_long),
            ("25.3", _borrow_short),
            ("14.4", _book_twice),
            ("12.9", _correct),
            ("6.6", _offer_at_fixed_rate),
            ("6.5", _offer_for_longer),
            ("5.2", _give_a_program_a_key),
            ("3.1", _give_authority),
            ("0.4", _ask_to_confirm),
        )
    )
    ends = _month_ends(desk)
    for end in ends:
        for after in STATED_AFTER:
            yield Event(end + after, "statements", lambda at: statements.issue_due(at=at))
    yield desk.event(ends[-1] + CLOSED_AFTER, _close)


# --- Powers and pools -------------------------------------------------------------------------------


def _give_authority(desk: Desk, at: datetime) -> None:
    """R-ADM-10"""
    manager = desk.staff["manager2"]
    why = "In the desk for a year; larger and tighter loans are released by somebody else."
    company.release(
        command=authority.COMMAND,
        arguments={
            "manager_id": manager.pk,
            "max_amount_usd": ALONE_USD,
            "max_ltv": ALONE_LTV,
            "reason": why,
        },
        title=tell("Authority of {manager}", manager=manager.name),
        reason=why,
        maker=desk.actor("risk"),
        checker=desk.actor("risk2"),
        at=at,
        shown={"Manager": manager.name, "Until now": tell("no limits of their own")},
    )


def _borrow_long(desk: Desk, at: datetime) -> None:
    _fund(desk, at, lender="Skagen Savings Bank", amount=3_000_000, rate="0.05", days=LONG)


def _borrow_short(desk: Desk, at: datetime) -> None:
    _fund(desk, at, lender="Corran Cash Pool", amount=750_000, rate="0.0425", days=SHORT)


def _fund(desk: Desk, at: datetime, *, lender: str, amount: int, rate: str, days: int) -> None:
    """R-ADM-12"""
    company.release(
        command="funding.fund",
        arguments={
            "asset": "USDT",
            "amount": Decimal(amount),
            "lender": lender,
            "annual_rate": Decimal(rate),
            "matures_at": desk.midnight_after(days),
        },
        title=tell("Fund {amount} from {whose}", amount=figures.plain(Decimal(amount), "USDT"), whose=lender),
        reason="Asked for more than our own capital lends.",
        maker=desk.actor("finance"),
        checker=desk.actor("admin"),
        at=at,
        shown={"From": lender},
    )


def _offer_at_fixed_rate(desk: Desk, at: datetime) -> None:
    _offer(desk, at, asset="USDT", amount=2_000_000, rate="0.0725", days=30)


def _offer_for_longer(desk: Desk, at: datetime) -> None:
    _offer(desk, at, asset="USDC", amount=750_000, rate="0.0780", days=60)


def _offer(desk: Desk, at: datetime, *, asset: str, amount: int, rate: str, days: int) -> None:
    """R-VIP-26"""
    company.release(
        command=supply.ENTER,
        arguments={
            "asset": asset,
            "annual_rate": Decimal(rate),
            "term_days": days,
            "amount": Decimal(amount),
            "minimum": Decimal(50_000),
        },
        title=tell("Offer {amount:,} {asset} for {days} days", amount=amount, asset=asset, days=days),
        reason="The pool holds more than the flexible loans ask for.",
        maker=desk.actor("finance"),
        checker=desk.actor("risk"),
        at=at,
        shown={"On offer so far": "nothing"},
    )


def _give_a_program_a_key(desk: Desk, at: datetime) -> None:
    """It may look, and nothing else; nobody kept its secret."""
    who = desk.residents[MAIN.name]
    keys.create(
        account_uid=who.accounts[MASTER].pk,
        label="Treasury dashboard",
        kind=ApiKey.Kind.HMAC,
        permissions=["can_read"],
        networks=["192.0.2.0/24"],
        actor=who.actor,
        at=at,
    )


# --- Books (R-ADM-11) -------------------------------------------------------------------------------


def _book_twice(desk: Desk, at: datetime) -> None:
    """The custodian reported one deposit two times."""
    name, label, asset, amount = MISTAKEN
    for seconds in (0, 9):
        gate.deposit(
            account_uid=desk.residents[name].accounts[label].pk,
            asset=asset,
            amount=amount,
            actor=JOB,
            at=at + timedelta(seconds=seconds),
        )


def _correct(desk: Desk, at: datetime) -> None:
    name, label, _, amount = MISTAKEN
    account = desk.residents[name].accounts[label]
    deposits = Movement.objects.filter(kind=Movement.Kind.DEPOSIT, target=account, amount=amount)
    entry = deposits.select_related("entry").latest("pk").entry
    company.release(
        command="corrections.reverse",
        arguments={"entry_id": entry.pk},
        title=tell(
            "Reverse J-{row}: {kind}, {reference}",
            row=entry.pk,
            kind=entry.kind_words,
            reference=entry.reference,
        ),
        reason="The custodian reported this deposit two times; it arrived once.",
        maker=desk.actor("finance"),
        checker=desk.actor("admin"),
        at=at,
        shown={
            account.code: f"{delta:+,f} {account.asset_id}"
            for account, delta in corrections.deltas(corrections.mirrored(entry)).items()
        },
    )


def _ask_to_confirm(desk: Desk, at: datetime) -> None:
    """It waits for the client's answer."""
    confirmations.issue(
        customer_id=desk.residents["Alder Street Capital"].customer.pk,
        as_of=_month_ends(desk)[-1],
        actor=desk.actor("auditor"),
        at=at,
    )


def _close(desk: Desk, at: datetime) -> None:
    through = _month_ends(desk)[-1]
    company.release(
        command="books.close",
        arguments={"through": through},
        title=tell("Close the books through {through:%-d %B %Y}", through=through - timedelta(days=1)),
        reason="Every charge is booked, and the statements are out.",
        maker=desk.actor("finance"),
        checker=desk.actor("admin"),
        at=at,
        shown={"Closed so far": tell("nothing")},
    )


def _month_ends(desk: Desk) -> list[datetime]:
    """The ends of the months that ended within the past and are settled, oldest first; 45 days hold at least one."""
    start = (desk.world.end - SPAN).astimezone(UTC)
    found = [closing.next_month(closing.month_of(start))]
    while (following := closing.next_month(found[-1])) <= desk.world.end - SETTLED:
        found.append(following)
    return found
