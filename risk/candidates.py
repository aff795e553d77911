"""The queue of groups that need an exact look: a pass puts in what its screen found, any number of deciders claim it.

A claim is a row lock, held until the decision commits with the row's removal: a decider that dies gives its groups
back, none is decided twice, and whoever comes next gets the most dangerous that nobody holds. Candidate rows are
locked before everything else and never waited for. R-GEN-23, R-GEN-24, ARCHITECTURE 4 and 7
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection, transaction
from django.db.models import QuerySet

from risk.models import Candidate
from risk.screen import Screen

CHUNK = 20  # groups judged in one transaction: a borrower's command may have to wait for all of it
SALES = 8  # groups sold from in one transaction: everybody's house accounts are locked while it is written


@dataclass(frozen=True, slots=True)
class Claimed:
    """A group to be looked at as of `at`. `sells`: the screen or an earlier look says that it is to be sold from."""

    pk: int
    group_id: int
    sells: bool
    alone: bool
    at: datetime


def put(*, product: str, found: Screen, at: datetime) -> None:
    """Replace what nobody has claimed of the product's queue by what the pass of `at` has found.

    A claimed group is being decided; should it still be near a line afterwards, the next pass finds it again.
    """
    of: dict[str, Any] = {"product": product, "at": at}
    figures = of | {"ids": found.near, "dangers": found.danger, "sells": found.sells}
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_FORGET, of)
        if found.near:
            cursor.execute(_PUT, figures)


_FORGET = """
    DELETE FROM risk_candidate WHERE id IN (
        SELECT id FROM risk_candidate WHERE product = %(product)s AND at <= %(at)s FOR UPDATE SKIP LOCKED)
"""
# What is left is claimed, or of a later pass. It is not even tried: the insert would wait for a decision to commit.
_PUT = """
    INSERT INTO risk_candidate (product, group_id, danger, sells, at)
        SELECT %(product)s, f.id, f.danger, f.sells, %(at)s
        FROM unnest(%(ids)s::bigint[], %(dangers)s::float8[], %(sells)s::boolean[]) AS f(id, danger, sells)
        WHERE NOT EXISTS (SELECT FROM risk_candidate c WHERE c.group_id = f.id) ORDER BY f.id
    ON CONFLICT (group_id) DO NOTHING
"""


def claim(*, product: str, but_not: Collection[int] = (), since: datetime | None = None) -> list[Claimed]:
    """The most dangerous group that nobody holds, and some that follow it and are like it.

    Inside the transaction that decides them. Some are sold from together, or only looked at together; what was found
    by another pass, or needs a transaction of its own, waits for a claim of its own. `but_not`: groups that are left
    for now. `since`: only what a pass of then or later has found.
    """
    rows = _found(product, since).exclude(group__in=list(but_not)) if but_not else _found(product, since)
    found = _most_dangerous(rows, most=1)
    if not found or found[0].alone:
        return found
    [first] = found
    rows = rows.filter(sells=first.sells, alone=False, at=first.at)
    return _most_dangerous(rows, most=SALES if first.sells else CHUNK) or found


def decided(claimed: Iterable[Claimed]) -> None:
    """They need no look any more: inside the transaction that decided them, or after it failed for good."""
    Candidate.objects.filter(pk__in=[one.pk for one in claimed]).delete()


def set_apart(claimed: Collection[Claimed], *, alone: bool) -> None:
    """They are to be sold from, or each needs a transaction of its own; they stay in their place in the queue."""
    Candidate.objects.filter(pk__in=[one.pk for one in claimed]).update(sells=True, alone=alone)


def still_free(claimed: Collection[Claimed]) -> list[Claimed]:
    """Those that nobody else has claimed since their claim was rolled back; claimed again, so inside a transaction."""
    rows = Candidate.objects.filter(pk__in=[one.pk for one in claimed]).select_for_update(skip_locked=True)
    free = set(rows.values_list("pk", flat=True))
    return [one for one in claimed if one.pk in free]


def is_long(*, product: str, since: datetime | None = None) -> bool:
    """Whether there is more in the queue than one claim takes. `since`: as in `claim`."""
    return _found(product, since)[: CHUNK + 1].count() > CHUNK


def _found(product: str, since: datetime | None) -> QuerySet[Candidate]:
    rows = Candidate.objects.filter(product=product)
    return rows if since is None else rows.filter(at__gte=since)


def _most_dangerous(rows: QuerySet[Candidate], *, most: int) -> list[Claimed]:
    rows = rows.order_by("-danger", "group").select_for_update(skip_locked=True, of=("self",))
    return [
        Claimed(pk=row.pk, group_id=row.group_id, sells=row.sells, alone=row.alone, at=row.at)
        for row in rows[:most]
    ]
