"""How fast a program reads its loans: signed `ongoing/orders` of ten against a signed endpoint that answers nothing.

    make bench-reads            # or: python -m bench.signed_reads --seconds 10 --connections 16

Real gunicorn, real PostgreSQL and Valkey, in a throw-away database; the two endpoints take turns, so that both meet the
same machine. The ratio is what counts: absolute figures are this machine's.
"""

import argparse
import hashlib
import hmac
import http.client
import multiprocessing
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from urllib.parse import urlencode

EMPTY = "/sapi/v1/account/status"
READ = "/sapi/v1/loan/vip/ongoing/orders"
LOANS = 10
ROUNDS = 4
GOAL = 0.35


def main() -> int:
    asked = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    asked.add_argument("--seconds", type=float, default=20, help="in all, for both endpoints together")
    asked.add_argument("--connections", type=int, default=16)
    options = asked.parse_args()

    from config import embedded

    with embedded.services(embedded.HOME / "bench", throwaway=True):
        os.environ |= {"LOMBARD_ENV_FILE": "", "INSECURE_HTTP": "1", "ALLOWED_HOSTS": "127.0.0.1"}
        os.environ |= {"SAPI_IP_WEIGHT": str(10**9), "SAPI_UID_WEIGHT": str(10**9), "LOG_LEVEL": "WARNING"}
        import django

        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
        django.setup()
        from loans.management.own_database import own_database

        with own_database() as analyse:
            key, secret = _world()
            analyse()
            with _site() as port:
                return _measured(port, key, secret, options.seconds, options.connections)


def _world() -> tuple[str, str]:
    """One firm with ten loans in one group; the key and secret of its program."""
    from django.utils import timezone

    from accounts import keys
    from accounts.commands import acting
    from loans.models import Application, ApplicationLine, Loan
    from tests import build
    from tests.programs import api_key

    now = timezone.now()
    for symbol in ("BTC", "ETH", "USDT"):
        build.asset(symbol)
        build.ratios(symbol)
    build.limits()
    build.fund_pool("USDT", "100000000")
    build.prices(now, BTC="100000", ETH="4000", USDT="1")
    build.prices(now - timedelta(minutes=1), BTC="100000", ETH="4000", USDT="1")
    build.flexible_rate("USDT", "0.08")
    member = build.user()
    owner = build.customer(member=member)
    sub = build.account(owner)
    build.deposit(sub, "BTC", "200", at=build.LONG_AGO)
    build.deposit(sub, "ETH", "100", at=build.LONG_AGO)
    group = build.group(build.master(owner), [sub], ("BTC", "ETH", "USDT"))
    for number in range(LOANS):
        is_fixed = number % 2 == 0
        debt = build.debt(group, amount="100000", rate="0.084" if is_fixed else None, at=now)
        with acting(build.BUILDER):
            application = Application.objects.create(
                product="vip",
                customer=owner,
                applicant=member,
                receiver=build.master(owner),
                rate_type="fixed" if is_fixed else "flexible",
                term_days=30,
                contact="bench",
                purpose="bench",
                terms={},
                submitted_at=now,
            )
            line = ApplicationLine.objects.create(
                application=application,
                asset_id="USDT",
                amount=Decimal(100000),
                annual_rate=Decimal("0.08"),
            )
            Loan.objects.create(
                product="vip",
                customer=owner,
                line=line,
                group=group,
                debt=debt,
                asset_id="USDT",
                amount=Decimal(100000),
                rate_type=application.rate_type,
                annual_rate=Decimal("0.08"),
                term_days=30,
                drawn_at=now,
            )
    row = api_key(build.master(owner), member, "can_read")
    return row.key, keys.secret_of(row)


@contextmanager
def _site() -> Iterator[int]:
    """The web process as `make run` starts it, on the throw-away database."""
    from django.conf import settings
    from django.db import connection

    here = connection.settings_dict
    url = f"postgresql://{here['USER']}:{here['PASSWORD']}@{here['HOST']}:{here['PORT']}/{here['NAME']}"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "config.wsgi", "-b", f"127.0.0.1:{port}", "-k", "gthread"]
        + ["--threads", "8", "--log-level", "warning", "--no-control-socket"],
        env=os.environ | {"DATABASE_URL": url, "REDIS_URL": settings.REDIS_URL},
        start_new_session=True,
    )
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield port
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)


def _measured(port: int, key: str, secret: str, seconds: float, connections: int) -> int:
    slice_seconds = seconds / (2 * ROUNDS)
    _load(port, key, secret, EMPTY, 1, connections)  # warm
    _load(port, key, secret, READ, 1, connections)
    per_second: dict[str, list[float]] = {EMPTY: [], READ: []}
    slow: dict[str, list[float]] = {EMPTY: [], READ: []}
    for _ in range(ROUNDS):
        for path in (EMPTY, READ):
            taken = _load(port, key, secret, path, slice_seconds, connections)
            per_second[path].append(len(taken) / slice_seconds)
            slow[path] += taken
    for path in (EMPTY, READ):
        taken = sorted(slow[path])
        print(  # noqa: T201
            f"{path:<38} {statistics.median(per_second[path]):7.1f} /s   median {taken[len(taken) // 2] * 1000:6.1f} ms"
            f"   p99 {taken[int(len(taken) * 0.99)] * 1000:6.1f} ms   {len(taken)} requests"
        )
    ratio = statistics.median(per_second[READ]) / statistics.median(per_second[EMPTY])
    print(f"ratio {ratio:.2f} (goal {GOAL}), {connections} connections, {LOANS} loans")  # noqa: T201
    return 0 if ratio >= GOAL else 1


def _load(port: int, key: str, secret: str, path: str, seconds: float, connections: int) -> list[float]:
    """Keep `connections` busy for a while; how long each request took. The askers share one core at most."""
    found: multiprocessing.Queue[list[float]] = multiprocessing.get_context("spawn").Queue()
    asker = multiprocessing.get_context("spawn").Process(
        target=_ask, args=(found, port, key, secret, path, seconds, connections)
    )
    asker.start()
    taken = found.get(timeout=seconds + 60)
    asker.join()
    return taken


def _ask(
    found: "multiprocessing.Queue[list[float]]",
    port: int,
    key: str,
    secret: str,
    path: str,
    seconds: float,
    connections: int,
) -> None:
    import threading

    taken: list[float] = []
    failed: list[str] = []

    def one(number: int) -> None:
        line = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            query = urlencode({"recvWindow": 60000, "timestamp": int(time.time() * 1000)})
            if path == READ:
                query = f"limit=10&{query}"
            signature = hmac.new(secret.encode(), query.encode(), hashlib.sha256).hexdigest()
            began = time.monotonic()
            line.request("GET", f"{path}?{query}&signature={signature}", headers={"X-MBX-APIKEY": key})
            answer = line.getresponse()
            body = answer.read()
            taken.append(time.monotonic() - began)
            if answer.status != 200 or (path == READ and body.count(b'"orderId"') != LOANS):
                failed.append(f"{answer.status} {body[:200]!r}")
                return

    threads = [threading.Thread(target=one, args=(number,)) for number in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise SystemExit(f"{path} failed: {failed[0]}")
    found.put(taken)


if __name__ == "__main__":
    sys.exit(main())
