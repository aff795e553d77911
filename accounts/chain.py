"""The audit trail as a chain of hashes: each link is of the one before and of its record (R-ADM-07, TRUST I-22).

Records are written by triggers in everybody's transactions, so a chain on the way in would make the whole desk wait
in one line. Instead a job links what is finished, in the order of the transactions: `link` takes up every record whose
transaction, and every earlier one, has ended. Whoever changes, removes or slips in a record breaks the chain at that
place, and `problems` says where. Keep the head (`manage.py audit_chain`) somewhere this database's owner cannot write.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass

from django.db import connection, transaction

from accounts.models import AuditLink

ONE_LINKER = 60_007  # the advisory lock's number, after R-ADM-07
BATCH = 5_000
FIRST = "0" * 64  # what the first link is a link of

# As text made by the database, so that no number is read as a float on the way.
_RECORD = """
    r.id::text, r.kind, r.subject, r.actor, r.reason, r.request, coalesce(r.before::text, ''),
    coalesce(r.after::text, ''), to_char(r.recorded_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US')
"""
_UNLINKED = f"""
    SELECT {_RECORD} FROM accounts_auditrecord r
    WHERE r.xid < %s::text::xid8 AND (r.xid, r.id) > (
        coalesce((SELECT p.xid FROM accounts_auditlink l JOIN accounts_auditrecord p ON p.id = l.record_id
                  ORDER BY l.position DESC LIMIT 1), '0'::xid8),
        coalesce((SELECT l.record_id FROM accounts_auditlink l ORDER BY l.position DESC LIMIT 1), 0))
    ORDER BY r.xid, r.id LIMIT {BATCH}
"""  # noqa: S608  nothing from outside
# The first transaction that may still write here, as xid8: of this database's own, because others cannot. Sessions name
# theirs by its low 32 bits; the high ones are those of the next transaction to come, or one less.
_UNFINISHED = """
    WITH next AS (SELECT pg_snapshot_xmax(pg_current_snapshot())::text::numeric AS xid),
    running AS (
        SELECT trunc(next.xid / 4294967296) * 4294967296 + s.backend_xid::text::numeric AS xid
        FROM pg_stat_activity s, next WHERE s.datname = current_database() AND s.backend_xid IS NOT NULL
    )
    SELECT least(next.xid, (
        SELECT min(CASE WHEN running.xid > next.xid THEN running.xid - 4294967296 ELSE running.xid END) FROM running
    ))::text FROM next
"""
_LINKED = f"""
    SELECT l.position, l.sha256, {_RECORD} FROM accounts_auditlink l
    LEFT JOIN accounts_auditrecord r ON r.id = l.record_id WHERE l.position > %s ORDER BY l.position LIMIT {BATCH}
"""  # noqa: S608  nothing from outside
_SLIPPED_IN = """
    SELECT r.id FROM accounts_auditrecord r LEFT JOIN accounts_auditlink l ON l.record_id = r.id
    WHERE l.record_id IS NULL AND r.xid < (
        SELECT p.xid FROM accounts_auditlink k JOIN accounts_auditrecord p ON p.id = k.record_id
        ORDER BY k.position DESC LIMIT 1) ORDER BY r.id LIMIT 10
"""


@dataclass(frozen=True, slots=True)
class Head:
    """The newest link: with it written down elsewhere, nothing up to it can be changed unseen."""

    position: int
    sha256: str


def head() -> Head:
    last = AuditLink.objects.order_by("-position").first()
    return Head(0, FIRST) if last is None else Head(last.position, last.sha256)


def link() -> int:
    """Link what is finished and not linked yet; returns how many records. Safe to run twice, or two at once."""
    linked = 0
    while (more := _link_batch()) > 0:
        linked += more
    return linked


def problems() -> list[str]:
    """Where the chain does not hold: the first place only, since all after it hangs on it. R-ADM-07"""
    expected = FIRST
    for place, (position, sha256, record) in enumerate(_links(), start=1):
        if position != place:
            return [f"the audit chain has no link {place}"]
        if record[0] is None:
            return [f"audit link {position}: its record is gone"]
        expected = _sha256(expected, record)
        if sha256 != expected:
            return [f"audit record {record[0]} was changed: the chain breaks at link {position}"]
    with connection.cursor() as cursor:
        cursor.execute(_SLIPPED_IN)
        return [f"audit record {pk} was slipped in: it has no link" for (pk,) in cursor.fetchall()]


# --- Private ----------------------------------------------------------------------------------------


def _link_batch() -> int:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [ONE_LINKER])
        last = head()
        # Asked before the records are read, in a statement of its own: what has ended by now is seen by the next one.
        cursor.execute(_UNFINISHED)
        [unfinished] = cursor.fetchone()
        cursor.execute(_UNLINKED, [unfinished])
        records = cursor.fetchall()
        links, sha256 = [], last.sha256
        for position, record in enumerate(records, start=last.position + 1):
            sha256 = _sha256(sha256, record)
            links.append(AuditLink(position=position, record_id=int(record[0]), sha256=sha256))
        AuditLink.objects.bulk_create(links)
    return len(links)


def _links() -> Iterator[tuple[int, str, tuple[str | None, ...]]]:
    after = 0
    while True:
        with connection.cursor() as cursor:
            cursor.execute(_LINKED, [after])
            rows = cursor.fetchall()
        for position, sha256, *record in rows:
            yield position, sha256, tuple(record)
        if len(rows) < BATCH:
            return
        after = rows[-1][0]


def _sha256(before: str, record: tuple[str | None, ...]) -> str:
    told = json.dumps([before, *record], ensure_ascii=False)
    return hashlib.sha256(told.encode()).hexdigest()
