"""How fast pages and signed reads answer, with one loan and many in the database, and on a loan of years.

    python -m bench.requests --loans 10000 --accruals 700     # every page, and how much slower many loans make it
    make bench-reads                                          # signed reads alone

Real gunicorn, real PostgreSQL and Valkey, in a throw-away database. What counts are ratios: every address takes turns
with an empty one of its kind (a page that shows the price dot, a signed endpoint that answers nothing), so that both
meet the same machine, and growth is how much that ratio grew: of the tenth of the answers that nothing disturbed.
Queries are counted, not timed.

A list of more rows takes longer because there is more to show. So a list that fills its page is compared with one that
filled its page. Dashboards show the sums that the beat takes, drawn once.
"""

import argparse
import hashlib
import hmac
import http.client
import json
import multiprocessing
import statistics
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from bench import stand

if TYPE_CHECKING:
    from accounts.models import Customer, User
    from bench.request_world import People

EMPTY_PAGE, EMPTY_SIGNED = "empty page", "empty signed"
YOUNG, AGED = "loan, charged once", "loan, aged"
CONNECTIONS: Final = 16
PATIENCE: Final = 120.0  # seconds: an asker that is gone answers nothing
SUMMED_EVERY: Final = 15.0  # seconds; config/celery.py
GROWS_AT_MOST: Final = 1.2
SIGNED_GOAL: Final = 0.35  # of the empty signed endpoint's requests per second
OF_ONE_FIRM: Final = 50  # loans of the firm that has many
FILLS_A_PAGE: Final = 60  # firms


@dataclass(frozen=True, slots=True)
class Pace:
    """How often each address is asked: rounds, in each so many seconds by one alone, then by a crowd.

    Many short rounds rather than a few long ones: what the machine does meanwhile then meets every address alike.
    """

    rounds: int = 10
    alone: float = 0.3
    crowd: float = 0.2


QUICK: Final = Pace(rounds=1, alone=0.4, crowd=0.1)


@dataclass(frozen=True, slots=True)
class Asked:
    """An address and who asks: a session's cookie, or a key with its secret."""

    path: str
    cookie: str = ""
    key: str = ""
    secret: str = ""


@dataclass(slots=True)
class Timed:
    """Seconds that answers took: to one connection alone, and to sixteen at once; and how many of these a second."""

    alone: list[float] = field(default_factory=list)
    crowd: list[float] = field(default_factory=list)
    per_second: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.alone)

    @property
    def undisturbed(self) -> float:
        """A tenth of the answers were as fast: what disturbs one only ever makes it slower."""
        return sorted(self.alone)[len(self.alone) // 10]

    @property
    def p99(self) -> float:
        return sorted(self.crowd)[int(len(self.crowd) * 0.99)]

    @property
    def rate(self) -> float:
        return statistics.median(self.per_second)


def measured(*, loans: int, accruals: int, pace: Pace) -> dict[str, Any]:
    """Every page and signed read with one loan in the database, then with `loans` more of other firms.

    One of these has stood for `accruals` days, beside one that was charged once; one firm has fifty. Lists that fill
    their page are looked at before that too, with few loans. On an empty database (bench.stand.database).
    """
    from django.utils import timezone

    from bench import request_world as world

    at = timezone.now()
    world.parameters(at)
    people = world.People()
    world.loans(at, groups=1, people=people)
    addresses = _addresses(world.reader(at), people)
    world.analyse()
    with stand.site() as port:  # the same process throughout: one may be luckier with its memory than another
        one = _look(port, addresses, replace(pace, crowd=0))
        world.loans(at, groups=FILLS_A_PAGE, people=people)
        world.loans(at, groups=1, each=OF_ONE_FIRM, people=people)
        lists = _full_lists(world.reader(at), people)
        world.analyse()
        few = _look(port, _empties(addresses) | lists, replace(pace, crowd=0))
        world.loans(at, groups=loans, people=people)
        aged = {
            YOUNG: _loan(world.aged(people, at, days=1)),
            AGED: _loan(world.aged(people, at, days=accruals)),
        }
        world.analyse()
        many = _look(port, addresses | lists | aged, pace)
    # What a page is compared with: an earlier look at it, filled as it is now; of loans, the younger one now.
    before = {name: (few if name in lists else one, name) for name in (*addresses, *lists)}
    return _told(before | {AGED: (many, YOUNG)}, many, loans=loans, accruals=accruals)


def signed_reads(*, seconds: float = 20) -> dict[str, Any]:
    """A signed read of ten loans and of wallets against a signed endpoint that answers nothing."""
    from django.utils import timezone

    from bench import request_world as world

    at, people = timezone.now(), world.People()
    world.parameters(at)
    world.loans(at, groups=1, each=10, people=people)
    reader = world.reader(at)
    world.analyse()
    names = (EMPTY_SIGNED, "ongoing orders", "balances")
    addresses = {name: one for name, one in _addresses(reader, people).items() if name in names}
    pace = Pace()
    with stand.site() as port:
        times = _timed(port, addresses, replace(pace, crowd=seconds / pace.rounds / len(addresses)))
    empty = times[EMPTY_SIGNED]
    rows = {
        name: {
            "per_second": round(one.rate, 1),
            "median_ms": _ms(one.median),
            "p99_ms": _ms(one.p99),
            "ratio": round(one.rate / empty.rate, 2),
        }
        for name, one in times.items()
    }
    return {"rows": rows, "met": rows["ongoing orders"]["ratio"] >= SIGNED_GOAL}


# --- Who asks for what ------------------------------------------------------------------------------------


def _addresses(reader: "Customer", people: "People") -> dict[str, Asked]:
    member, loan = _member(reader), reader.loans.order_by("pk")[0]
    return {
        EMPTY_PAGE: _page("/live/", member),
        "home": _page("/", member),
        "loan": _page(f"/loans/{loan.pk}/", member),
        "loans list": _page("/loans/", member),
        "queue": _page("/desk/", people.manager),
        "calls workbench": _page("/desk/calls/", people.manager),
        "dashboard, manager": _page("/desk/book/", people.manager),
        "dashboard, auditor": _page("/desk/book/", people.auditor),
        "loans due": _page("/desk/book/due/", people.auditor),
        EMPTY_SIGNED: _signed("/sapi/v1/account/status", reader),
        "ongoing orders": _signed("/sapi/v1/loan/vip/ongoing/orders", reader),
        "balances": _signed("/sapi/v1/asset/wallet/balance", reader),
    }


def _empties(addresses: Mapping[str, Asked]) -> dict[str, Asked]:
    return {name: addresses[name] for name in (EMPTY_PAGE, EMPTY_SIGNED)}


def _full_lists(firm: "Customer", people: "People") -> dict[str, Asked]:
    """Of a firm with fifty loans, and of a manager with as many clients as a page shows."""
    member = _member(firm)
    return {
        "home, 50 loans": _page("/", member),
        "loans list, 50 loans": _page("/loans/", member),
        "ongoing orders, 50 loans": _signed("/sapi/v1/loan/vip/ongoing/orders", firm),
        "clients": _page("/desk/clients/", people.manager),
    }


def _loan(firm: "Customer") -> Asked:
    return _page(f"/loans/{firm.loans.get().pk}/", _member(firm))


def _member(firm: "Customer") -> "User":
    return firm.memberships.get().user


def _page(path: str, user: "User") -> Asked:
    from django.conf import settings
    from django.test import Client

    client = Client()
    client.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")
    session = client.cookies[settings.SESSION_COOKIE_NAME].value
    return Asked(path, cookie=f"{settings.SESSION_COOKIE_NAME}={session}")


def _signed(path: str, firm: "Customer") -> Asked:
    from accounts import keys
    from tests import build
    from tests.programs import api_key

    row = api_key(build.master(firm), _member(firm), "can_read")
    return Asked(path, key=row.key, secret=keys.secret_of(row))


def _sent(asked: Asked) -> tuple[str, dict[str, str]]:
    """The address with its signature, made now, and the headers."""
    if not asked.key:
        return asked.path, {"Cookie": asked.cookie}
    query = urlencode({"recvWindow": 60000, "timestamp": int(time.time() * 1000)})
    signature = hmac.new(asked.secret.encode(), query.encode(), hashlib.sha256).hexdigest()
    return f"{asked.path}?{query}&signature={signature}", {"X-MBX-APIKEY": asked.key}


# --- Measuring --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Looked:
    queries: Mapping[str, int]
    times: Mapping[str, Timed]


def _look(port: int, addresses: Mapping[str, Asked], pace: Pace) -> Looked:
    _sum_up()
    queries = {name: _queries(asked) for name, asked in addresses.items()}
    return Looked(queries, _timed(port, addresses, pace))


def _queries(asked: Asked) -> int:
    """Of a request like those before it: what is written down once in a while is written down already."""
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    for _ in range(2):
        path, headers = _sent(asked)
        with CaptureQueriesContext(connection) as captured:
            answer = Client().get(path, headers=headers)
        assert answer.status_code == 200, f"{asked.path}: {answer.status_code} {answer.content[:300]!r}"
    return len(captured)


def _timed(port: int, addresses: Mapping[str, Asked], pace: Pace) -> dict[str, Timed]:
    found, summed = {name: Timed() for name in addresses}, time.monotonic()
    # Asked from a process of its own, so that the asking takes one core at most.
    with multiprocessing.get_context("spawn").Pool(1) as asker:
        for asked in addresses.values():
            asker.apply_async(_ask, (port, asked, 1), {"requests": 3}).get(PATIENCE)  # warm
        for _ in range(pace.rounds):
            for name, asked in addresses.items():
                if time.monotonic() >= summed + SUMMED_EVERY:
                    _sum_up()
                    summed = time.monotonic()
                found[name].alone += asker.apply_async(_ask, (port, asked, 1, pace.alone)).get(PATIENCE)
                if pace.crowd:
                    crowd = asker.apply_async(_ask, (port, asked, CONNECTIONS, pace.crowd)).get(PATIENCE)
                    found[name].crowd += crowd
                    found[name].per_second.append(len(crowd) / pace.crowd)
    return found


def _sum_up() -> None:
    """As the beat does, as often as it would, but between two requests, so that it disturbs none."""
    from django.utils import timezone

    from loans import book_snapshot

    book_snapshot.take(at=timezone.now())


def _ask(
    port: int, asked: Asked, connections: int, seconds: float = 30, requests: int = 10**9
) -> list[float]:
    """How long each request took to that many connections, for some seconds or some requests each."""
    taken: list[float] = []
    failed: list[str] = []

    def one() -> None:
        line = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        until = time.monotonic() + seconds
        for _ in range(requests):
            if time.monotonic() >= until:
                return
            path, headers = _sent(asked)
            began = time.monotonic()
            line.request("GET", path, headers=headers)
            answer = line.getresponse()
            body = answer.read()
            taken.append(time.monotonic() - began)
            if answer.status != 200:
                failed.append(f"{answer.status} {body[:200]!r}")
                return

    threads = [threading.Thread(target=one) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise RuntimeError(f"{asked.path} failed: {failed[0]}")
    return taken


# --- Telling ----------------------------------------------------------------------------------------------


def _told(
    before: Mapping[str, tuple[Looked, str]], many: Looked, *, loans: int, accruals: int
) -> dict[str, Any]:
    """Each page now beside what it is compared with: a look, and the name that it had there."""
    rows = {}
    for name, (look, then) in before.items():
        if name in (EMPTY_PAGE, EMPTY_SIGNED):
            continue
        empty, timed = _empty(name), many.times[name]
        ratio_now = timed.undisturbed / many.times[empty].undisturbed
        ratio_then = look.times[then].undisturbed / look.times[empty].undisturbed
        rows[name] = {
            "queries": [look.queries[then], many.queries[name]],
            "median_ms": [_ms(look.times[then].median), _ms(timed.median)],
            "p99_ms": _ms(timed.p99),
            "per_second": round(timed.rate, 1),
            "p99_to_empty": round(timed.p99 / many.times[empty].p99, 2),
            "growth": round(ratio_now / ratio_then, 2),
        }
    empties = {
        name: {"p99_ms": _ms(many.times[name].p99), "per_second": round(many.times[name].rate, 1)}
        for name in (EMPTY_PAGE, EMPTY_SIGNED)
    }
    return {"loans": loans, "accruals": accruals, "empty": empties, "rows": rows}


def _empty(name: str) -> str:
    return EMPTY_SIGNED if name.startswith(("ongoing", "balances")) else EMPTY_PAGE


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)


def _print(found: Mapping[str, Any], write: Callable[[str], object]) -> None:
    for name, row in found["rows"].items():
        write(f"{name:<26} " + "  ".join(f"{key} {value}" for key, value in row.items()) + "\n")
    write(json.dumps({key: value for key, value in found.items() if key != "rows"}) + "\n")


def main() -> int:
    asked = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    asked.add_argument("--loans", type=int, default=10_000)
    asked.add_argument("--accruals", type=int, default=700)
    asked.add_argument("--quick", action="store_true", help="ask less often")
    asked.add_argument("--json", type=Path)
    asked.add_argument("--reads", action="store_true", help="signed reads of ten loans alone")
    options = asked.parse_args()
    with stand.database():
        if options.reads:
            found = signed_reads()
            _print(found, sys.stdout.write)
            return 0 if found["met"] else 1
        pace = QUICK if options.quick else Pace()
        found = measured(loans=options.loans, accruals=options.accruals, pace=pace)
        if options.json:
            options.json.write_text(json.dumps(found, indent=1))
        else:
            _print(found, sys.stdout.write)
        return 0


if __name__ == "__main__":
    sys.exit(main())
