"""How fast a crash is drained: thousands of groups over their cut-off at once, two workers, and a desk in use.

    python -m bench.liquidation --groups 10000 --json FILE

The floor is bare `ledger.post` calls of two lines, in two processes on the same database before and after. The workers
run at a lower priority than the web process, as `make run` starts them. The book owes stable coins and others by turns,
so about half of the groups filled go over when the market falls by a third: `groups` is how many those are. Meanwhile
prices keep coming and the watch keeps looking, every few seconds, as in production.
"""

import argparse
import http.client
import json
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bench import stand

if TYPE_CHECKING:
    from accounts.models import User
    from bench.request_world import People

Page = tuple[str, str]  # its path, and the cookie of who asks

LTVS: Final = (Decimal("0.65"), Decimal("0.70"))
FALL: Final = Decimal("0.67")  # then every group that owes stable coins is above the cut-off
WORKERS: Final = 2
BEHIND: Final = 5  # config/stack.py
POSTS: Final = 1500  # of each process of the floor
PASS: Final = 5.0  # seconds between two passes of the watch
LOOK: Final = 0.1  # seconds between two looks at whether it is done
ASKS: Final = 0.5  # seconds between two pages
SPAN: Final = 600
GROWING: Final = (
    "accounts_journalentry",
    "accounts_transfer",
    "accounts_ledgeraccount",
    "accounts_controlsum",
    "risk_candidate",
    "risk_debt",
    "risk_debtentry",
    "risk_liquidation",
    "risk_sale",
    "risk_riskevent",
)


def main() -> int:
    asked = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    asked.add_argument("--groups", type=int, default=10_000)
    asked.add_argument("--json", type=Path)
    options = asked.parse_args()
    with stand.database():
        text = json.dumps(measured(groups=options.groups), indent=1)
    if options.json:
        options.json.write_text(text)
    else:
        sys.stdout.write(text + "\n")
    return 0


def measured(*, groups: int) -> dict[str, Any]:
    """Drain a crash of `groups` groups, then one under a pace limit. On an empty database (bench.stand.database)."""
    from django.utils import timezone

    from bench import request_world as world

    at, people = timezone.now(), world.People()
    world.parameters(at)
    world.loans(at, groups=2 * groups, people=people, ltvs=LTVS)
    firm = world.reader(at)
    pages = [
        ("/desk/", _cookie(people.manager)),
        (f"/loans/{firm.loans.order_by('pk')[0].pk}/", _cookie(firm.memberships.get().user)),
    ]
    world.analyse()
    with stand.site() as port, _workers(), stand.tended(*GROWING):
        before, watch = _floor(), Watch()
        danger = watch.crash()
        with _asking(port, pages) as taken:
            seconds = watch.drained(groups=len(danger))
        after = _floor()
    floor = max(before, after)
    return {
        "groups": len(danger),
        "seconds": round(seconds, 2),
        "groups_per_second": round(len(danger) / seconds, 1),
        "posts_per_second": [round(before, 1), round(after, 1)],
        "ratio": round(len(danger) / seconds / floor, 4),
        "order": _order(danger),
        "pages": _told(taken),
        "pace": _paced(people, timezone.now() + timedelta(seconds=2 * SPAN), groups=min(groups // 10, 300)),
    }


# --- The crash --------------------------------------------------------------------------------------------


class Watch:
    """What the watch does in a process of its own: prices come, a pass queues who is near a line."""

    def __init__(self) -> None:
        from risk.arrays import Book

        self.book = Book()
        self.book.refresh()

    def crash(self) -> dict[int, float]:
        """Prices fall; how dangerous each group is that the first pass queues, by group."""
        from risk.models import Candidate

        assert self.look(wakes=False), "nothing is near a line"
        return dict(Candidate.objects.values_list("group", "danger"))

    def look(self, *, wakes: bool = True) -> int:
        """One pass that leaves the deciding to the workers; how many groups it found near a line."""
        from django.utils import timezone

        from bench import book
        from risk import sweep
        from risk.tasks import wake_decider

        at = timezone.now()
        book.quote(at, times=FALL)
        return sweep.sweep(at=at, book=self.book, seconds=0, more=wake_decider if wakes else None).near

    def drained(self, *, groups: int) -> float:
        """Seconds until the workers have emptied the queue."""
        from risk.models import Candidate
        from risk.tasks import wake_decider

        began = looked = time.monotonic()
        wake_decider()
        while Candidate.objects.exists():
            time.sleep(LOOK)
            if time.monotonic() >= looked + PASS:
                looked = time.monotonic()
                self.look()
            if looked > began + 60 + groups:
                raise SystemExit(f"{Candidate.objects.count()} groups are still queued.")
        return time.monotonic() - began


@contextmanager
def _workers() -> Iterator[None]:
    """Two Celery workers, warm, and behind the web process when both want a core."""
    from risk.tasks import wake_decider

    with stand.worker("one") as one, stand.worker("two") as two:
        _until_both_answer()
        for _ in range(4):  # each asks an empty queue
            wake_decider()
            time.sleep(0.25)
        for worker in (one, two):
            for pid in (worker.pid, *stand.children(worker.pid)):
                os.setpriority(os.PRIO_PROCESS, pid, BEHIND)
        yield


def _until_both_answer() -> None:
    from config.celery import app

    for _ in range(60):
        if len(app.control.ping(timeout=0.5) or ()) == WORKERS:
            return
    raise SystemExit("The workers did not start.")


def _order(danger: dict[int, float]) -> dict[str, float]:
    """How well the order of the sales is that of the danger: Spearman's rho, and how far out of place one was at most.

    1 but for what each worker holds at a time.
    """
    from risk.models import Liquidation

    sold = list(Liquidation.objects.order_by("pk").values_list("group", flat=True))
    wanted = {pk: place for place, pk in enumerate(sorted(sold, key=lambda pk: (-danger[pk], pk)))}
    apart = [place - wanted[pk] for place, pk in enumerate(sold)]
    count = len(sold)
    rho = 1 - 6 * sum(one * one for one in apart) / (count * (count * count - 1))
    return {"liquidated": count, "rho": round(rho, 6), "furthest": max(map(abs, apart))}


# --- The floor --------------------------------------------------------------------------------------------


def _floor() -> float:
    """Bare posts of two lines per second, by two processes."""
    spawn = multiprocessing.get_context("spawn")
    ready, done = spawn.Barrier(WORKERS + 1), spawn.Queue()
    environment = stand.environment()
    posters = [
        spawn.Process(target=_post, args=(environment, number, ready, done)) for number in range(WORKERS)
    ]
    for poster in posters:
        poster.start()
    ready.wait()
    began = time.monotonic()
    for _ in posters:
        done.get()
    seconds = time.monotonic() - began
    for poster in posters:
        poster.join()
    return WORKERS * POSTS / seconds


def _post(environment: dict[str, str], number: int, ready: Any, done: Any) -> None:
    """As a seizure books: a wallet against custody, the pool against the position; of a wallet of its own each."""
    os.environ |= environment
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    from django.utils import timezone

    from accounts import books, ledger
    from accounts.models import LedgerAccount

    os.setpriority(os.PRIO_PROCESS, os.getpid(), BEHIND)
    at, run, unit = timezone.now(), time.monotonic_ns(), Decimal("0.00000001")
    wallets = LedgerAccount.objects.filter(kind="spot", asset="BNB").order_by("pk")[number::WORKERS][:POSTS]
    custody, pool, position = books.custody("BNB"), books.pool("BNB"), books.position("BNB")
    found = list(wallets)
    found = (found * (POSTS // len(found) + 1))[:POSTS]
    ready.wait()
    for count, wallet in enumerate(found):
        lines = [ledger.Line(custody, wallet, unit), ledger.Line(pool, position, unit)]
        ledger.post(kind="bench", reference=f"floor:{run}:{number}:{count}", lines=lines, at=at)
    done.put(number)


# --- The desk meanwhile -----------------------------------------------------------------------------------


@contextmanager
def _asking(port: int, pages: list[Page]) -> Iterator[list[float]]:
    """One asker, two pages a second, by turns; how long each took."""
    taken: list[float] = []
    over = threading.Event()

    def ask() -> None:
        number = 0
        while not over.wait(ASKS):
            taken.append(_answered(port, pages[number % len(pages)]))
            number += 1

    for page in pages:
        for _ in range(3):  # warm
            _answered(port, page)
    asker = threading.Thread(target=ask)
    asker.start()
    try:
        yield taken
    finally:
        over.set()
        asker.join()


def _cookie(user: "User") -> str:
    from django.conf import settings
    from django.test import Client

    client = Client()
    client.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")
    return f"{settings.SESSION_COOKIE_NAME}={client.cookies[settings.SESSION_COOKIE_NAME].value}"


def _answered(port: int, page: Page) -> float:
    """Seconds until the whole page was there."""
    path, cookie = page
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    began = time.monotonic()
    line.request("GET", path, headers={"Cookie": cookie})
    answer = line.getresponse()
    answer.read()
    taken = time.monotonic() - began
    line.close()
    if answer.status != http.HTTPStatus.OK:
        raise SystemExit(f"{path} answered {answer.status}.")
    return taken


def _told(taken: list[float]) -> dict[str, float]:
    times = sorted(taken)
    if not times:
        return {"asked": 0}
    return {
        "asked": len(times),
        "median_ms": round(1000 * times[len(times) // 2], 1),
        "p99_ms": round(1000 * times[min(len(times) - 1, int(len(times) * 0.99))], 1),
    }


# --- Under a pace limit -----------------------------------------------------------------------------------


def _paced(people: "People", at: datetime, *, groups: int) -> dict[str, Any]:
    """A crash of another book under a limit for BTC, and three spans after it: what each half of a span saw sold."""
    from accounts.commands import Actor
    from bench import book
    from bench import request_world as world
    from risk import pace, parameters, sweep
    from risk.models import Liquidation, Sale

    first = Liquidation.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    book.quote(at, times=Decimal(1))
    world.loans(at, groups=2 * groups, people=people, ltvs=LTVS)
    most = Decimal(groups) * 10_000  # some sales' worth, and far less than there is to sell
    job = Actor.job("bench")
    parameters.publish_pace_limit(asset="BTC", most_usd=most, span_seconds=SPAN, actor=job, at=at)
    spans, waited = [], 0
    for _ in range(6):
        at += timedelta(seconds=SPAN / 2)
        book.quote(at, times=FALL)
        report = sweep.sweep(at=at)
        assert not report.failed
        waited = report.near
        spans.append(pace.paces_at(at, ["BTC"])["BTC"].sold_usd)
    sales: dict[int, Decimal] = {}
    for sale in Sale.objects.filter(coin="BTC", liquidation__gt=first).exclude(venue="netting"):
        sales[sale.liquidation_id] = sales.get(sale.liquidation_id, Decimal(0)) + sale.sold * sale.price
    largest = max(sales.values())
    return {
        "most_usd": float(most),
        "sold_usd": [float(sold) for sold in spans],
        "largest_sale_usd": float(largest),
        "held": all(sold < most + largest for sold in spans),
        "near_in_the_end": waited,
    }


if __name__ == "__main__":
    raise SystemExit(main())
