"""`make drill`: the running demo, charged day after day while its processes are killed, and then the proof.

Starts the whole stack in a folder of its own, asks for the accrual of one more day every few seconds (by
command, beside the jobs of the timetable), and kills worker, beat, web or the accrual itself with SIGKILL
again and again. In the end the books must be whole and every loan must have exactly one charge per midnight.
"""

import argparse
import http.client
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg

BASE = Path(__file__).resolve().parents[2]
HOME = BASE / ".local" / "drill"
MARKS = {"web": "gunicorn", "worker": " worker ", "beat": " beat "}
PORT = 8790

# Every midnight from a debt's opening to where it is accrued, against the charges it has.
NIGHTS = """
    SELECT d.id, count(e.id), count(DISTINCT e.period_end),
        (d.accrued_through AT TIME ZONE 'UTC')::date - (d.opened_at AT TIME ZONE 'UTC')::date
    FROM risk_debt d LEFT JOIN risk_debtentry e ON e.debt_id = d.id AND e.kind = 'charge'
    GROUP BY d.id HAVING count(e.id) <> (d.accrued_through AT TIME ZONE 'UTC')::date
        - (d.opened_at AT TIME ZONE 'UTC')::date OR count(e.id) <> count(DISTINCT e.period_end)
"""
BEHIND = """
    SELECT count(*) FROM risk_debt WHERE closed_at IS NULL AND residual_since IS NULL AND principal > 0
        AND accrued_through < least(%s, CASE WHEN overdue_since IS NULL THEN date_trunc('day', due_at, 'UTC') END)
"""  # past its due date a debt waits for the expiry job, whose clock is the real one


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--kills", type=int, default=12, help="at least this many, spread over the minutes")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    shutil.rmtree(HOME, ignore_errors=True)
    environment = os.environ | {
        "LOMBARD_HOME": str(HOME),
        "LOMBARD_ENV_FILE": str(HOME / "env"),
        "PORT": str(PORT),
    }
    HOME.mkdir(parents=True)
    with (HOME / "stack.log").open("w") as log:
        stack = subprocess.Popen(
            [sys.executable, "-m", "config.stack"], cwd=BASE, env=environment, stdout=log, stderr=log
        )
    try:
        _wait_until_open(stack)
        killed, day = _drill(stack, environment, options)
        _accrue(environment, day).wait()  # what the last kill interrupted
        return _prove(environment, killed=killed, day=day, minutes=options.minutes)
    finally:
        stack.send_signal(signal.SIGINT)
        stack.wait(60)


def _drill(
    stack: "subprocess.Popen[bytes]", environment: dict[str, str], options: argparse.Namespace
) -> tuple[Counter[str], datetime]:
    chance = random.Random(options.seed)
    killed: Counter[str] = Counter()
    day = datetime.now(UTC)
    ends_at = time.monotonic() + options.minutes * 60
    between = options.minutes * 60 / (options.kills + 1)
    next_kill = time.monotonic() + between / 2
    while time.monotonic() < ends_at:
        day += timedelta(days=1)
        accrual = _accrue(environment, day)
        if chance.random() < 0.3:  # in the middle of its work: it takes about a second
            time.sleep(chance.uniform(0.3, 1.2))
            if accrual.poll() is None:
                accrual.kill()
                killed["accrual"] += 1
        if time.monotonic() >= next_kill:
            victim = list(MARKS)[sum(killed[name] for name in MARKS) % len(MARKS)]
            killed[victim] += _kill(stack.pid, victim)
            next_kill += between
        accrual.wait()
        time.sleep(2)
        if stack.poll() is not None:
            raise SystemExit(f"the stack ended with {stack.returncode}: see {HOME / 'stack.log'}")
    return killed, day


def _accrue(environment: dict[str, str], day: datetime) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "manage.py", "accrue", "--at", day.isoformat()]
    return subprocess.Popen(
        command, cwd=BASE, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def _kill(stack_pid: int, victim: str) -> int:
    """SIGKILL the named child of the stack and all it started. 1 when it was there."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
        if parent == stack_pid and MARKS[victim] in command:
            os.killpg(int(entry.name), signal.SIGKILL)
            return 1
    return 0


def _wait_until_open(stack: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline and stack.poll() is None:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=5)
            connection.request("GET", "/accounts/login/")
            if connection.getresponse().status == http.HTTPStatus.OK:
                return
        except OSError:
            pass
        time.sleep(0.5)
    raise SystemExit(f"the stack did not open: see {HOME / 'stack.log'}")


def _prove(environment: dict[str, str], *, killed: Counter[str], day: datetime, minutes: float) -> int:
    checked = subprocess.run(
        [sys.executable, "manage.py", "check_ledger"],
        cwd=BASE,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    sys.stdout.write(checked.stdout + checked.stderr)
    url = dict(
        line.split("=", 1)
        for line in (HOME / "env").read_text().splitlines()
        if line.startswith("DATABASE_URL=")
    )["DATABASE_URL"].strip("'")
    with psycopg.connect(url) as connection:
        wrong = connection.execute(NIGHTS).fetchall()
        midnight = day.replace(hour=0, minute=0, second=0, microsecond=0)
        row = connection.execute(BEHIND, [midnight]).fetchone()
        charges = connection.execute("SELECT count(*) FROM risk_debtentry WHERE kind = 'charge'").fetchone()
    behind = row[0] if row else -1
    for debt, found, distinct, nights in wrong:
        sys.stdout.write(f"D-{debt}: {found} charges ({distinct} nights) for {nights} midnights\n")
    good = checked.returncode == 0 and not wrong and not behind
    told = ", ".join(f"{name} {count}" for name, count in sorted(killed.items()))
    sys.stdout.write(
        f"drill: {'held' if good else 'BROKEN'}: {sum(killed.values())} kills ({told}) in {minutes:g} minutes,"
        f" {charges[0] if charges else 0} charges, {len(wrong)} loans with a wrong number of them,"
        f" {behind} behind, ledger {'whole' if checked.returncode == 0 else 'broken'}\n"
    )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
