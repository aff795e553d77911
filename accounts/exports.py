"""Files that take a while: asked for on a page, made by a job that says how far it is, kept with their digest.

The row is the queue, so a file asked for is made once, whatever happens to the workers: one that died is noticed by
its silence and the file begun again. Making one only reads, so beginning again costs nothing but time. Which files
there are is what the apps register in `makers`.
"""

import csv
import hashlib
import io
import itertools
import logging
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet

from accounts.commands import Actor, command
from accounts.errors import Refused
from accounts.models import ClockTimestamp, Customer, Export, Membership, User
from accounts.words import tell

logger = logging.getLogger(__name__)

SILENT_AFTER = timedelta(minutes=2)  # a running export that says nothing for so long is begun again
TOLD_EVERY = 1.0  # seconds between two writes of how far it is
FORMULAS = frozenset("=+-@\u2212")
MOST_WAITING = 5  # of one person
CSV_TYPE = "text/csv; charset=utf-8"
FAILED = tell(
    "It could not be made: something happened that it was not made for. Ask for it again; if that fails too, tell an"
    " admin, who finds the reason in the log under this file's number."
)


class UnknownExport(Refused):
    code = "unknown_export"


class TooManyExports(Refused):
    code = "too_many_exports"


@dataclass(frozen=True, slots=True)
class File:
    name: str
    content_type: str
    content: bytes


Progress = Callable[[int, int], None]
"""Called with how far it is and how far it goes, as often as it likes."""

Maker = Callable[[Mapping[str, Any], datetime, Progress], File]
"""Makes the file from the arguments it was asked with, which whoever asked had checked."""

makers: dict[str, Maker] = {}


@command("exports.ask", returns=Export)
def ask(
    *,
    kind: str,
    title: str,
    arguments: Mapping[str, Any],
    actor: Actor,
    at: datetime,
    customer: Customer | None = None,
    key: str = "",
    reason: str = "",
) -> Export:
    """Put a file into the queue. `arguments` must be JSON, and something the asker may see.

    Raises:
        UnknownExport: nobody makes such files.
        TooManyExports: this person waits for five already.
    """
    if kind not in makers:
        raise UnknownExport(tell("There is no export {kind!r}.", kind=kind))
    if actor.user_id is None:
        raise UnknownExport(tell("An export is asked for by a person."))
    user = User.objects.select_for_update(no_key=True).get(pk=actor.user_id)
    if user.exports.filter(status__in=[Export.Status.QUEUED, Export.Status.RUNNING]).count() >= MOST_WAITING:
        raise TooManyExports(
            tell(
                "{most_waiting} of your exports are being made; wait for one of them.",
                most_waiting=MOST_WAITING,
            )
        )
    return Export.objects.create(
        kind=kind,
        title=title[:200],
        arguments=dict(arguments),
        customer=customer,
        requested_by=user,
        requested_at=at,
    )


def visible_to(user: User) -> QuerySet[Export]:
    """One's own only, newest first, without the files; a customer's while one still may look at them. R-GEN-95"""
    rows = Export.objects.filter(requested_by=user).defer("content").order_by("-requested_at", "-pk")
    if user.role == User.Role.BORROWER:
        whole = Membership.objects.filter(user=user, account=None)
        return rows.filter(Q(customer=None) | Q(customer__in=whole.values("customer")))
    if user.role == User.Role.VIP_MANAGER:
        return rows.filter(Q(customer=None) | Q(customer__manager=user))
    return rows


def run_due(*, at: datetime, enough: Callable[[], bool] = lambda: False) -> int:
    """Make what waits, oldest first, until `enough`; returns how many were made. Safe to run many at once.

    Call it outside a transaction: others must see how far it is.
    """
    made = 0
    while (export := _claim(at)) is not None:
        made += _make(export, at)
        if enough():
            break
    return made


def as_csv(name: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> File:
    """Rows as a CSV file that a spreadsheet opens as text and numbers, never as formulas."""
    return File(name=name, content_type=CSV_TYPE, content=b"".join(csv_lines(header, rows)))


def csv_lines(header: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[bytes]:
    """The same line by line, for a file that is sent while it is read."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    for row in itertools.chain([header], rows):
        writer.writerow([cell(value) for value in row])
        yield out.getvalue().encode()
        out.seek(0)
        out.truncate()


def cell(value: object) -> str:
    """One value as CSV text: numbers plain, and text that a spreadsheet would run defused by an apostrophe.

    Spreadsheets skip blanks before a formula's sign and read its wide forms, so those are defused as well.
    """
    if value is None:
        return ""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if not isinstance(value, str):
        return f"{value:f}" if hasattr(value, "as_tuple") else str(value)
    runs = value[:1] in {"\t", "\r", "\n"} or unicodedata.normalize("NFKC", value).lstrip()[:1] in FORMULAS
    return f"'{value}" if runs else value


# --- Private ----------------------------------------------------------------------------------------


def _claim(at: datetime) -> Export | None:
    waiting = Q(status=Export.Status.QUEUED)
    silent = Q(status=Export.Status.RUNNING, heartbeat_at__lt=at - SILENT_AFTER)
    with transaction.atomic():
        rows = Export.objects.defer("content").filter(waiting | silent).order_by("requested_at", "pk")
        export = rows.select_for_update(skip_locked=True, of=("self",), no_key=True).first()
        if export is not None:
            Export.objects.filter(pk=export.pk).update(
                status=Export.Status.RUNNING, done=0, total=0, heartbeat_at=ClockTimestamp()
            )
    return export


def _make(export: Export, at: datetime) -> bool:
    try:
        file = makers[export.kind](export.arguments, at, _teller(export))
    except Exception as error:  # one that cannot be made must not hold up the others
        logger.exception("export %s of kind %s failed", export.pk, export.kind)
        told = error.message if isinstance(error, Refused) else FAILED
        _finish(export, status=Export.Status.FAILED, finished_at=at, error=told[:300])
        return False
    _finish(
        export,
        status=Export.Status.DONE,
        finished_at=at,
        file_name=file.name[:120],
        content_type=file.content_type,
        content=file.content,
        sha256=hashlib.sha256(file.content).hexdigest(),
    )
    return True


def _finish(export: Export, **figures: object) -> None:
    """Whoever was thought dead and comes back late writes the same file again, or nothing."""
    Export.objects.filter(pk=export.pk, status=Export.Status.RUNNING).update(**figures)


def _teller(export: Export) -> Progress:
    told_at = time.monotonic()

    def tell_it(done: int, total: int) -> None:
        nonlocal told_at
        if time.monotonic() - told_at < TOLD_EVERY:
            return
        told_at = time.monotonic()
        rows = Export.objects.filter(pk=export.pk, status=Export.Status.RUNNING)
        rows.update(done=done, total=total, heartbeat_at=ClockTimestamp())

    return tell_it
