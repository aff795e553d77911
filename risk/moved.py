"""The change feed: what moved since a look, and how it is kept short.

A look is remembered by the oldest transaction that was still running in its snapshot: every older one had ended, so
its changes were seen, and whatever that one or a later one changes is in the feed's rows from it on. So a commit that
comes late is missed by nobody, and a change may be told twice.
"""

from datetime import datetime, timedelta
from typing import Final, NamedTuple

from django.db import connection

KEPT: Final = timedelta(hours=1)

SINCE: Final = "SELECT unnest(ids) FROM risk_moved WHERE kind = %(kind)s AND xid >= %(since)s::xid8"
"""The ids of a kind that moved since a look, some more than once; to be read into a statement."""

# The oldest transaction that may still change this database: not those that surely run in another one of the server,
# whose numbers come from the same row. One that has no lock on its number yet counts as ours.
_OLDEST = """(
    SELECT least(pg_snapshot_xmax(now.snapshot)::text::numeric, pg_current_xact_id_if_assigned()::text::numeric, (
        SELECT min(running.xid::text::numeric) FROM pg_snapshot_xip(now.snapshot) AS running (xid)
        WHERE mod(running.xid::text::numeric, 4294967296) NOT IN (
            SELECT l.transactionid::text::numeric FROM pg_locks l JOIN pg_stat_activity a USING (pid)
            WHERE l.locktype = 'transactionid' AND l.mode = 'ExclusiveLock' AND l.granted
                AND a.datname <> current_database())))::text
    FROM (SELECT pg_current_snapshot() AS snapshot) now)"""
_LOOK = f"""
    SELECT {_OLDEST}, pg_postmaster_start_time() || ' ' || oid
    FROM pg_database WHERE datname = current_database()
"""  # noqa: S608  our own text
_HEARD = """
    SELECT EXISTS (SELECT FROM risk_moved WHERE xid <= %(since)s::xid8),
        coalesce((SELECT sum(cardinality(ids)) FROM risk_moved WHERE xid >= %(since)s::xid8), 0)
"""
# The newest row that could go stays: as long as one is there that is no newer than a look, nothing after it is gone.
_FORGET = f"""
    DELETE FROM risk_moved WHERE xid < (
        SELECT max(xid) FROM risk_moved
        WHERE recorded_at < %(before)s AND xid < {_OLDEST}::xid8)
"""  # noqa: S608


class Look(NamedTuple):
    """A look: `since` which transaction all that moves is told; `server`: which run of which database was asked.

    Another one may be a standby that took over, or a restored copy: what it never had it tells nobody to forget.
    """

    since: str
    server: str


def look() -> Look:
    """How to remember a look that reads in this snapshot, or after it."""
    with connection.cursor() as cursor:
        cursor.execute(_LOOK)
        return Look(*(cursor.fetchone() or ("", "")))


def heard(since: str) -> int | None:
    """How many ids moved since a look at this server, told twice or once; None: some may be forgotten already."""
    with connection.cursor() as cursor:
        cursor.execute(_HEARD, {"since": since})
        remembers, ids = cursor.fetchone() or [False, 0]
        return int(ids) if remembers else None


def forget_moved(*, at: datetime) -> int:
    """Delete what was told more than an hour before `at` by transactions that everybody sees; how many rows."""
    with connection.cursor() as cursor:
        cursor.execute(_FORGET, {"before": at - KEPT})
        return int(cursor.rowcount)
