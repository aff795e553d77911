"""The change feed: what moved since a look, and how it is kept short.

A look is remembered by the oldest transaction that was still running in its snapshot: every older one had ended, so
its changes were seen, and whatever that one or a later one changes is in the feed's rows from it on. So a commit that
comes late is missed by nobody. What such rows a look has seen already is remembered with it, and not told again.

Of one wallet or debt, whatever is new is newer than all that was seen, and the higher number is the newer row: a
number is drawn while its statement holds the row, and the next who changes it waits for that transaction to end.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from django.db import connection

KEPT: Final = timedelta(hours=1)

TOLD: Final = "xid >= %(since)s::xid8 AND id <> ALL (%(seen)s::bigint[])"
"""Which rows of the feed a look has not seen, for `Look.asked`."""

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
_SEEN = "SELECT id FROM risk_moved WHERE xid >= %s::xid8"
_HEARD = f"""
    SELECT EXISTS (SELECT FROM risk_moved WHERE xid <= %(since)s::xid8),
        coalesce((SELECT sum(cardinality(ids)) FROM risk_moved WHERE {TOLD}), 0)
"""  # noqa: S608
# The newest row that could go stays: as long as one is there that is no newer than a look, nothing after it is gone.
_FORGET = f"""
    DELETE FROM risk_moved WHERE xid < (
        SELECT max(xid) FROM risk_moved
        WHERE recorded_at < %(before)s AND xid < {_OLDEST}::xid8)
"""  # noqa: S608


class Look(NamedTuple):
    """A look: `since` which transaction all that moves is told, but for the rows `seen`; `server`: which run of which
    database was asked.

    Another one may be a standby that took over, or a restored copy: what it never had it tells nobody to forget.
    """

    since: str
    server: str
    seen: Sequence[int] = ()

    @property
    def asked(self) -> dict[str, Any]:
        """What `TOLD` needs to be told."""
        return {"since": self.since, "seen": list(self.seen)}


def look() -> Look:
    """How to remember a look that reads in this very snapshot."""
    with connection.cursor() as cursor:
        cursor.execute(_LOOK)
        since, server = cursor.fetchone() or ("", "")
        cursor.execute(_SEEN, [since])
        return Look(since, server, [row[0] for row in cursor.fetchall()])


def heard(look: Look) -> int | None:
    """How many ids moved since a look at this server, some of them twice; None: some may be forgotten already."""
    with connection.cursor() as cursor:
        cursor.execute(_HEARD, look.asked)
        remembers, ids = cursor.fetchone() or [False, 0]
        return int(ids) if remembers else None


def forget_moved(*, at: datetime) -> int:
    """Delete what was told more than an hour before `at` by transactions that everybody sees; how many rows."""
    with connection.cursor() as cursor:
        cursor.execute(_FORGET, {"before": at - KEPT})
        return int(cursor.rowcount)
