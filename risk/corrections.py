"""A wrong entry is never changed: another one undoes it, dated today, when two people say so (R-ADM-11).

The reversal is the entry's mirror: every transfer the other way, and every debt it moved moved back. So the books
show both, and the months that are closed stay closed. Not everything may be undone like this: what is a link of a
chain, what left the house and what a sale decided have ways of their own; `KINDS` says which and why.

    event     debit                     credit                   debt
    reversal  what the entry credited   what the entry debited   the entry's changes, negated
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from accounts import ledger, notices
from accounts.commands import Actor, FourEyes, command
from accounts.errors import Refused
from accounts.ledger import Line
from accounts.models import Customer, JournalEntry, LedgerAccount
from accounts.money import ZERO
from accounts.words import figure, joined, tell
from risk import accrual, book, debts, groups, insurance, residual
from risk.levels import Action
from risk.models import CollateralGroup, Debt, DebtEntry, Liquidation, RiskEvent, TrancheEntry
from risk.workout import RELEASE

LONGEST_REFERENCE: Final = 120  # characters; the width of the column


class NotReversible(Refused):
    """This entry is not undone by a reversal; the message says what to do instead."""

    code = "not_reversible"


class AlreadyReversed(Refused):
    code = "already_reversed"


class TakesTooMuch(Refused):
    """A wallet or a pool holds less than the reversal takes out of it."""

    code = "insufficient_balance"


@dataclass(frozen=True, slots=True)
class Kind:
    """What may happen to entries of a kind. `instead`: why they are not reversed, and what to do.

    `leaves_as`: coins that it takes out of collateral again pass the permission matrix as this, because the client
    could have had it undone at the gate as well. A deposit that never was secures nothing, whatever LTV is then.
    """

    instead: str = ""
    leaves_as: Action | None = None


KINDS: Final[Mapping[str, Kind]] = {
    "deposit": Kind(),
    "transfer": Kind(leaves_as=Action.MOVE_OUT),
    "trade": Kind(leaves_as=Action.TRADE),
    DebtEntry.Kind.REPAYMENT: Kind(),
    DebtEntry.Kind.INSURANCE: Kind(),  # set aside, drawn back, or paid on a residual debt
    RELEASE: Kind(),
    "funding": Kind(),
    "withdrawal": Kind(tell("The coins have left the house. When they come back, book them as a deposit.")),
    "borrow": Kind(tell("A loan that was paid out is undone by repaying it.")),
    "accrual": Kind(
        tell(
            "A day's charge is a link of a chain and stays. Set the right rate for the days to come"
            " on the client's terms page."
        )
    ),
    "minimum": Kind(
        tell("The one day that a loan pays at least belongs to the repayment that closed it, and stays.")
    ),
    DebtEntry.Kind.RENEWAL: Kind(
        tell("The new loan runs in place of the old one; repay it, or renew it again.")
    ),
    "seizure": Kind(
        tell(
            "A forced sale is not taken back: the coins were sold. What it left owing can be settled"
            " from the insurance fund, on the residual debt's page."
        )
    ),
    DebtEntry.Kind.LIQUIDATION: Kind(
        tell(
            "A forced sale is not taken back: the coins were sold. What it left owing can be settled"
            " from the insurance fund, on the residual debt's page."
        )
    ),
    DebtEntry.Kind.WRITE_OFF: Kind(tell("A debt that was written off is closed and owes nothing any more.")),
    ledger.REVERSAL: Kind(tell("It undoes another entry already. Book what is right as a new one.")),
}
"""By the kind of the journal entry; a kind that is not here is not reversed."""
UNKNOWN: Final = Kind(tell("Entries of this kind are not undone by a reversal. Use the page that made it."))


@command(
    "corrections.reverse",
    returns=JournalEntry,
    four_eyes=FourEyes(makers=insurance.FINANCE, checkers=insurance.FINANCE),
)
def reverse(*, entry_id: int, actor: Actor, at: datetime, key: str = "", reason: str = "") -> JournalEntry:
    """Undo one journal entry by its mirror, dated `at`. R-ADM-11

    Debts are brought up to date first: days that were charged on the wrong principal stay as they were charged.

    Raises:
        NotReversible: its kind, a closed debt, a payment plan or a sale under way stands against it.
        AlreadyReversed: it was undone before.
        TakesTooMuch: what it brought is not there any more.
        groups.PriceTooOld, groups.NotPermitted: undoing a transfer or trade would leave a group short (R-VIP-52).
        residual.NoReason: it says why.
    """
    entry = JournalEntry.objects.get(pk=entry_id)
    residual.refuse_unreasoned(reason, "reversed")
    held = groups.hold(uids=_uids(mirrored(entry)), group_ids=_groups_of(entry))
    moved = Debt.objects.locked(*entry.debt_entries.values_list("debt_id", flat=True))
    refuse_kind(entry)
    refuse_state(moved, held.groups.values(), at=at)
    debts.bring_up_to_date([debt for debt in moved if debt.residual_since is None], at=at)
    lines = mirrored(entry)  # with the balances as they are under the lock
    refuse_kind(entry)  # again: the slower of two hears what the other did, not that coins are missing
    _refuse_short(entry, lines)
    _permit(entry, lines, held, at=at)
    reversal = debts.undo(entry=entry, lines=lines, reference=_reference(entry), at=at)
    _record(entry, reversal, held.groups.values(), at=at)
    _tell(entry, reversal, lines, at=at)
    return reversal


# --- Reads ------------------------------------------------------------------------------------------------


def why_not(entry: JournalEntry, *, at: datetime) -> str:
    """Why the entry cannot be reversed now, in words; empty when only its balances and LTV can still refuse it."""
    moved = Debt.objects.filter(entries__entry=entry).select_related("asset").order_by("pk")
    pledged = groups.pledged_to(_uids(mirrored(entry))).values()
    ids = {*_groups_of(entry), *(group.pk for group in pledged)}
    try:
        refuse_kind(entry)
        refuse_state(list(moved), CollateralGroup.objects.filter(pk__in=ids), at=at)
    except Refused as refusal:
        return refusal.message
    return ""


def mirrored(entry: JournalEntry) -> list[Line]:
    """Its transfers the other way, in their order."""
    rows = entry.transfers.select_related("debit__account", "credit__account").order_by("pk")
    return [Line(debit=row.credit, credit=row.debit, amount=row.amount) for row in rows]


def deltas(lines: Iterable[Line]) -> dict[LedgerAccount, Decimal]:
    """By how much the lines change each account's balance, as its own side counts it."""
    found: dict[LedgerAccount, Decimal] = defaultdict(lambda: ZERO)
    for line in lines:
        for account, side in ((line.debit, "debit"), (line.credit, "credit")):
            found[account] += line.amount if account.normal == side else -line.amount
    return found


def refuse_kind(entry: JournalEntry) -> None:
    """Whether such an entry may be undone at all, and was not before.

    Raises:
        AlreadyReversed, NotReversible.
    """
    before = JournalEntry.objects.filter(reverses=entry).first()
    if before is not None:
        raise AlreadyReversed(
            tell(
                "J-{entry} was reversed by J-{before} on {at:%-d %B %Y} already.",
                entry=entry.pk,
                before=before.pk,
                at=before.at,
            )
        )
    if TrancheEntry.objects.filter(entry=entry).exists():
        raise NotReversible(
            tell(
                "J-{entry} moved a tranche of funding. Give it back on the funding page instead.",
                entry=entry.pk,
            )
        )
    kind = KINDS.get(entry.kind, UNKNOWN)
    if kind.instead:
        raise NotReversible(
            tell(
                "J-{entry} ({kind}) is not reversed. {instead}",
                entry=entry.pk,
                kind=entry.kind,
                instead=kind.instead,
            )
        )


def refuse_state(moved: Sequence[Debt], touched: Iterable[CollateralGroup], *, at: datetime) -> None:
    """Whether its debts and groups are in a state in which they can be moved.

    Raises:
        NotReversible: the message names which is not, and what to wait for.
    """
    for debt in moved:
        if debt.closed_at is not None:
            raise NotReversible(
                tell(
                    "{debt} is {closed_reason}, and nothing is booked on a closed debt. What was paid"
                    " too much can be paid out to the client, what is owed after all needs a new"
                    " loan.",
                    debt=debt,
                    closed_reason=debt.get_closed_reason_display().lower(),
                )
            )
        if residual.running_plan(debt) is not None:
            raise NotReversible(
                tell(
                    "A payment plan for {debt} counts on this entry. End the plan first, then reverse it.",
                    debt=debt,
                )
            )
        if debt.residual_since is None and accrual.awaits_expiry(debt, at):
            raise NotReversible(
                tell("{debt} has just expired and is being settled. Try again in some minutes.", debt=debt)
            )
    ids = [group.pk for group in touched]
    running = Liquidation.objects.filter(group__in=ids, status=Liquidation.Status.RUNNING).first()
    if running is not None:
        raise NotReversible(
            tell("{group} is being liquidated. Try again when that is over.", group=running.group)
        )


# --- Private ----------------------------------------------------------------------------------------------


def _uids(lines: Iterable[Line]) -> set[int]:
    sides = (account.account_id for line in lines for account in (line.debit, line.credit))
    return {uid for uid in sides if uid is not None}


def _groups_of(entry: JournalEntry) -> list[int]:
    return list(Debt.objects.filter(entries__entry=entry).values_list("group_id", flat=True).distinct())


def _refuse_short(entry: JournalEntry, lines: Sequence[Line]) -> None:
    """In words, before the posting; what moves at the same moment is refused by the ledger."""
    for account, delta in deltas(lines).items():
        if not account.may_overdraw and account.balance + delta < 0:
            raise TakesTooMuch(
                tell(
                    "{account} holds {balance:f} {asset}; reversing J-{entry} would take {delta:f}"
                    " out of it. Nothing was moved; it can be reversed once that much is there.",
                    account=account.code,
                    balance=account.balance,
                    asset=account.asset_id,
                    entry=entry.pk,
                    delta=-delta,
                )
            )


def _permit(entry: JournalEntry, lines: Sequence[Line], held: groups.Held, *, at: datetime) -> None:
    """Coins that would leave a group's collateral again must be allowed to. R-VIP-52, R-VIP-53"""
    action = KINDS[entry.kind].leaves_as
    if action is None:
        return
    by_group: dict[int, dict[tuple[int, str], Decimal]] = defaultdict(dict)
    for account, delta in deltas(lines).items():
        if account.kind == book.WALLET and account.account_id in held.pledged:
            by_group[held.pledged[account.account_id].pk][account.account_id, account.asset_id] = delta
    for group_id, changes in sorted(by_group.items()):
        if all(delta >= 0 for delta in changes.values()):
            continue
        before = book.state_of(held.groups[group_id], at=at)
        is_inside = action is Action.MOVE_OUT and sum(changes.values(), ZERO) == 0
        groups.permit(
            action=Action.MOVE_INSIDE if is_inside else action,
            before=before,
            after=before.changed(balances=changes),
            at=at,
            confirmed=True,  # by two people
        )


def _reference(entry: JournalEntry) -> str:
    reference = f"{ledger.REVERSAL}:{entry.reference}"
    return reference if len(reference) <= LONGEST_REFERENCE else f"{ledger.REVERSAL}:J-{entry.pk}"


def _record(
    entry: JournalEntry, reversal: JournalEntry, touched: Collection[CollateralGroup], *, at: datetime
) -> None:
    facts = {"entry": entry.pk, "reversal": reversal.pk, "kind": entry.kind}
    by_group: dict[int, Debt] = {}
    for row in DebtEntry.objects.filter(entry=reversal).select_related("debt").order_by("-pk"):
        by_group[row.debt.group_id] = row.debt
    for group in touched:
        RiskEvent.objects.create(
            group=group, debt=by_group.get(group.pk), kind=RiskEvent.Kind.CORRECTED, at=at, facts=facts
        )


def _tell(entry: JournalEntry, reversal: JournalEntry, lines: Sequence[Line], *, at: datetime) -> None:
    """Whose debt or wallet it moved is told what changed, with figures."""
    told: dict[Customer, list[str]] = defaultdict(list)
    for account, delta in deltas(lines).items():
        if account.account is not None and delta:
            wallet = tell("{kind} of {account}", kind=account.get_kind_display(), account=account.account)
            told[account.account.customer].append(
                tell("{wallet}: {delta} {asset}", wallet=wallet, delta=_signed(delta), asset=account.asset_id)
            )
    for row in reversal.debt_entries.select_related("debt__customer", "debt__asset").order_by("pk"):
        parts = (("principal", row.principal), ("interest", row.interest), ("late fee", row.late_fee))
        moved = joined(
            ", ", (tell("{delta} {name}", delta=_signed(delta), name=name) for name, delta in parts if delta)
        )
        told[row.debt.customer].append(
            tell(
                "{debt}: {moved}; {booked} is owed now",
                debt=row.debt,
                moved=moved,
                booked=residual.said(row.debt.booked, row.debt),
            )
        )
    for customer, changes in told.items():
        notices.send(
            customer=customer,
            event=f"corrected:{reversal.pk}:{customer.pk}",
            kind="corrected",
            title=tell("An entry of {at:%-d %B %Y} was corrected", at=entry.at),
            body=joined(
                "\n",
                [
                    tell(
                        "J-{entry} was wrong and is reversed by J-{reversal}:",
                        entry=entry.pk,
                        reversal=reversal.pk,
                    ),
                    *changes,
                ],
            ),
            facts={"entry": entry.pk, "reversal": reversal.pk, "changes": changes},
            at=at,
        )


def _signed(delta: Decimal) -> str:
    text = tell("{delta:+,f}", delta=delta)
    return figure(text.rstrip("0").rstrip(".") if "." in text else text)
