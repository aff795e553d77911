"""Which coins of which wallets counted for a group, from when to when, and what moved in and out of them.

Collateral is not locked (R-VIP-56): it is what lies in the Spot wallets of a group's accounts, of its chosen coins,
while both belong to the group. So what a group held at one time and at another differs by exactly the flows here:
transfers while a wallet counted, and whole balances when it began or ceased to count.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import connection
from django.db.models import Q, QuerySet

from accounts.models import LedgerAccount, Transfer
from risk.book import WALLET
from risk.models import GroupCoin, Member

BALANCES = """
    SELECT w.id, w.at, coalesce(sum(CASE WHEN t.credit_id = w.id THEN t.amount ELSE -t.amount END), 0)
    FROM unnest(%(ids)s::bigint[], %(ats)s::timestamptz[]) AS w(id, at)
    JOIN LATERAL (
        SELECT credit_id, amount, entry_id FROM accounts_transfer WHERE credit_id = w.id
        UNION ALL
        SELECT credit_id, amount, entry_id FROM accounts_transfer WHERE debit_id = w.id
    ) t ON true
    JOIN accounts_journalentry e ON e.id = t.entry_id AND e.at <= w.at
    GROUP BY w.id, w.at
"""


@dataclass(frozen=True, slots=True)
class Span:
    """A wallet counted for a group after `since` (its balance of then came in whole) up to and at `released_at`."""

    wallet: int
    account: int
    asset: str
    group: int
    since: datetime
    released_at: datetime | None


@dataclass(frozen=True, slots=True)
class Change:
    """A wallet began to count (`amount` its whole balance, above 0) or ceased to (below 0)."""

    span: Span
    at: datetime
    amount: Decimal


def spans(groups: Iterable[int], *, since: datetime, until: datetime) -> list[Span]:
    """The wallets that counted at some instant of (since, until], with when. Three queries."""
    lasting = Q(released_at__isnull=True) | Q(released_at__gt=since)
    groups = list(groups)
    members = list(Member.objects.filter(lasting, group__in=groups, since__lte=until).order_by("pk"))
    coins: dict[int, list[GroupCoin]] = defaultdict(list)
    for coin in GroupCoin.objects.filter(lasting, group__in=groups, since__lte=until).order_by("pk"):
        coins[coin.group_id].append(coin)
    rows = LedgerAccount.objects.filter(account__in={row.account_id for row in members}, kind=WALLET)
    wallets = {(row.account_id, row.asset_id): row.pk for row in rows}
    found = [
        (member, coin, wallets[member.account_id, coin.asset_id])
        for member in members
        for coin in coins[member.group_id]
        if (member.account_id, coin.asset_id) in wallets
    ]
    made = [_span(member, coin, wallet) for member, coin, wallet in found]
    return [span for span in made if span.released_at is None or span.since < span.released_at]


def transfers(spans: Sequence[Span], *, side: str, since: datetime, until: datetime) -> QuerySet[Transfer]:
    """What came in (`side` credit) or went out (debit) of these wallets in (since, until], while they counted."""
    together: dict[tuple[datetime, datetime], list[int]] = defaultdict(list)
    for span in spans:
        ends = until if span.released_at is None else min(span.released_at, until)
        together[max(span.since, since), ends].append(span.wallet)
    wanted = Q(pk__in=[])
    for (start, end), wallets in together.items():
        wanted |= Q(**{f"{side}__in": wallets, "entry__at__gt": start, "entry__at__lte": end})
    return Transfer.objects.filter(wanted).select_related("entry", side)


def changes(spans: Iterable[Span], *, since: datetime, until: datetime) -> list[Change]:
    """Whole balances that began or ceased to count in (since, until], oldest first. One query."""
    asked = [(span, span.since, 1) for span in spans if since < span.since <= until]
    asked += [
        (span, span.released_at, -1)
        for span in spans
        if span.released_at is not None and since < span.released_at <= until
    ]
    if not asked:
        return []
    with connection.cursor() as cursor:
        pairs = {(span.wallet, at) for span, at, _ in asked}
        cursor.execute(BALANCES, {"ids": [pk for pk, _ in pairs], "ats": [at for _, at in pairs]})
        balances = {(pk, at): balance for pk, at, balance in cursor.fetchall()}
    made = [Change(span, at, sign * balances.get((span.wallet, at), Decimal(0))) for span, at, sign in asked]
    return sorted((one for one in made if one.amount), key=lambda one: (one.at, one.span.wallet))


def _span(member: Member, coin: GroupCoin, wallet: int) -> Span:
    ends = [at for at in (member.released_at, coin.released_at) if at is not None]
    return Span(
        wallet=wallet,
        account=member.account_id,
        asset=coin.asset_id,
        group=member.group_id,
        since=max(member.since, coin.since),
        released_at=min(ends, default=None),
    )
