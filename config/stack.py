"""`make run`: database, broker, web, workers and beat with one command; Ctrl-C stops all of it, in order.

The children die with this process even when it is killed. A child that dies alone is started again; a dead
database or broker stops everything, because nothing can be served without it.
"""

import contextlib
import fcntl
import http.client
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO

import psycopg

from config import embedded, roles

PYTHON = sys.executable
ENV_FILE = Path(os.environ.get("LOMBARD_ENV_FILE") or embedded.HOME / "env")
FIRST_PORT, LAST_PORT = 8000, 8099
STOP_SECONDS = 25  # a worker may finish the task in its hands
STEADY_SECONDS = 60  # a child that lived this long did not fail at its start
MAX_PAUSE_SECONDS = 30
COLOURS = {"web": 32, "worker": 33, "watch": 34, "beat": 36, "stack": 35}
BEHIND = 5  # how much nicer than the web process workers are: a page must answer while a crash is worked off


def say(text: str, *, name: str = "stack") -> None:
    tag = f"{name:>7} |"
    if sys.stdout.isatty():
        tag = f"\033[{COLOURS.get(name, 0)}m{tag}\033[0m"
    sys.stdout.write(f"{tag} {text.rstrip()}\n")
    sys.stdout.flush()


class Child:
    """One process of ours, started again with a growing pause whenever it ends by itself."""

    def __init__(self, name: str, *command: str, nice: int = 0) -> None:
        self.name, self.command, self.nice = name, command, nice
        self.failures, self.start_after = 0, 0.0
        self.process: subprocess.Popen[str] | None = None
        self.started_at = 0.0

    def start(self) -> None:
        self.started_at = time.monotonic()
        self.process = subprocess.Popen(
            self.command,
            cwd=embedded.BASE,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            bufsize=1,
            start_new_session=True,  # Ctrl-C reaches only us; we stop the children in order
            preexec_fn=partial(_prepare_child, self.nice),
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        assert self.process.stdout is not None
        threading.Thread(target=_relay, args=(self.name, self.process.stdout), daemon=True).start()

    def watch(self) -> None:
        """Start again what ended, after a pause that grows while it keeps failing."""
        now = time.monotonic()
        if self.process is None:
            if now >= self.start_after:
                self.start()
            return
        code = self.process.poll()
        if code is None:
            return
        self.kill()
        self.failures = 1 if now - self.started_at > STEADY_SECONDS else self.failures + 1
        pause = min(2 ** (self.failures - 1), MAX_PAUSE_SECONDS)
        say(f"{self.name} ended with {code}: starting it again in {pause} s")
        self.process, self.start_after = None, now + pause

    def ask_to_stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.terminate()

    def wait(self, deadline: float) -> None:
        if self.process is None:
            return
        try:
            self.process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            say(f"{self.name} did not stop in {STOP_SECONDS} s: killed")
        self.kill()

    def kill(self) -> None:
        """The whole process group: a killed master leaves pool processes behind that would hold its port."""
        if self.process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def _prepare_child(nice: int) -> None:
    embedded.die_with_parent(signal.SIGKILL)
    os.nice(nice)


def _relay(name: str, stream: IO[str]) -> None:
    for line in stream:
        say(line, name=name)


def run() -> int:
    started = time.monotonic()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    embedded.die_with_parent(signal.SIGTERM)  # make was killed: nobody is left to press Ctrl-C
    guard = _only_one()
    given = bool(os.environ.get("DATABASE_URL"))
    if given and not os.environ.get("DATABASE_OWNER_URL"):
        _make_application_role()
    with embedded.services() as servers:
        say(f"database and broker are up after {time.monotonic() - started:.1f} s")
        _write_env_file(is_embedded=not given)
        port = _web_port()
        _keep_mail(port)
        code = _prepare(stop)
        if code is None:
            code = _serve(stop, servers, port=port, since=started)
        say("stopping the database and the broker" if servers else "stopped; the database is yours")
    guard.close()
    return code


def _only_one() -> IO[str]:
    embedded.HOME.mkdir(parents=True, exist_ok=True)
    guard = (embedded.HOME / "run.lock").open("a+")
    try:
        fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise SystemExit("The desk is already running from this folder: stop it there first.") from None
    return guard


def _make_application_role() -> None:
    """The one address given is the owner's; the application gets a role of its own."""
    owner_url = os.environ["DATABASE_URL"]
    os.environ["DATABASE_OWNER_URL"] = owner_url
    known = embedded.read_env_file(ENV_FILE).get("DATABASE_URL")
    os.environ["DATABASE_URL"] = roles.application_url(owner_url, known_url=known)


def _write_env_file(*, is_embedded: bool) -> None:
    """Addresses and secrets as they are now; whatever else the file says stays."""
    known = embedded.read_env_file(ENV_FILE)
    values = {"DEMO": "1", "INSECURE_HTTP": "1"} | known
    for name in ("SECRET_KEY", "ALLOWED_HOSTS"):
        values[name] = known.get(name) or os.environ[name]
    for name in ("DATABASE_URL", "DATABASE_OWNER_URL", "REDIS_URL"):
        values[name] = os.environ[name]
    values["EMBEDDED"] = "1" if is_embedded else "0"
    for name in ("SECRET_KEY", "ALLOWED_HOSTS"):  # the file is the one source for the children too
        os.environ[name] = values[name]
    ENV_FILE.parent.mkdir(parents=True, exist_ok=True)
    embedded.write_private(ENV_FILE, "".join(f"{name}='{value}'\n" for name, value in sorted(values.items())))


def _keep_mail(port: int) -> None:
    """Letters link to here; without a mail server they stay in a folder, where people read them under /mail/."""
    os.environ.setdefault("SITE_URL", f"http://127.0.0.1:{port}")
    known = embedded.read_env_file(ENV_FILE)
    if not any(os.environ.get(name) or known.get(name) for name in ("EMAIL_URL", "EMAIL_BACKEND")):
        os.environ.setdefault("EMAIL_FOLDER", str(ENV_FILE.parent / "mail"))


def _web_port() -> int:
    """PORT when it is set (and must then be free), else the first free port from 8000."""
    if os.environ.get("PORT"):
        wanted = int(os.environ["PORT"])
        if _is_free(wanted):
            return wanted
        raise SystemExit(f"Port {wanted} is taken: choose another with make run PORT=...")
    for port in range(FIRST_PORT, LAST_PORT + 1):
        if _is_free(port):
            return port
    raise SystemExit(f"Ports {FIRST_PORT} to {LAST_PORT} are taken: choose one with make run PORT=...")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _prepare(stop: threading.Event) -> int | None:
    """Migrate and seed; the exit code when that ended the run, None to go on."""
    for step in (("migrate", "--noinput", "-v", "0"), ("seed_demo",)):
        if step == ("seed_demo",) and _is_seeded():
            continue
        began = time.monotonic()
        child = Child("stack", PYTHON, "manage.py", *step)
        child.start()
        assert child.process is not None
        while child.process.poll() is None and not stop.wait(0.05):
            pass
        if stop.is_set():
            child.ask_to_stop()
            child.wait(time.monotonic() + STOP_SECONDS)
            return 0
        if child.process.returncode:
            say(f"manage.py {step[0]} failed: nothing is served")
            return 1
        say(f"{step[0]} done in {time.monotonic() - began:.1f} s")
    return None


def _is_seeded() -> bool:
    """The demo is made whole or not at all, so any customer tells; starting Django to ask takes seconds."""
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        row = connection.execute("SELECT EXISTS (SELECT FROM accounts_customer)").fetchone()
    return bool(row and row[0])


def _serve(stop: threading.Event, servers: list[embedded.Server], *, port: int, since: float) -> int:
    beat = Child("beat", PYTHON, *shlex.split("-m celery -q -A config beat -l WARNING --pidfile="))
    web = Child(
        "web",
        PYTHON,
        *shlex.split(f"-m gunicorn config.wsgi -b 127.0.0.1:{port} -k gthread --threads 8"),
        *shlex.split("--graceful-timeout 10 --log-level warning --no-control-socket"),
    )
    # As root Celery warns at length; its messages are JSON only, which is what the warning is about.
    hush = "ignore:You're running the worker with superuser privileges"
    celery = shlex.split("-m celery -q -A config worker -l WARNING --without-mingle --without-gossip")
    worker = Child("worker", PYTHON, "-W", hush, *celery, "-c", "2", nice=BEHIND)
    # One process that keeps the book in memory and does nothing but watch it.
    alone = shlex.split("-c 1 -Q watch -n watch@%h")
    watch = Child("watch", PYTHON, "-W", hush, *celery, *alone, nice=BEHIND)
    in_order = (beat, web, watch, worker)  # beat stops first: nothing new is queued while the workers finish
    for child in (web, worker, watch, beat):
        child.start()
    announce = _announcer(port, since)
    code = 0
    while not stop.wait(0.2):
        dead = [server.name for server in servers if server.process and server.process.poll() is not None]
        if dead:
            say(f"{dead[0]} is gone: stopping; start again with make run, its data is kept")
            code = 1
            break
        announce()
        for child in in_order:
            child.watch()
    deadline = time.monotonic() + STOP_SECONDS
    for child in in_order:
        child.ask_to_stop()
    for child in in_order:
        child.wait(deadline)
    return code


def _announcer(port: int, since: float) -> Callable[[], None]:
    """Say once, when the first page can be had, where it is and who may sign in."""
    done = threading.Event()

    def announce() -> None:
        if done.is_set() or not _answers(port):
            return
        done.set()
        say(f"the desk is open after {time.monotonic() - since:.1f} s: http://127.0.0.1:{port}/")
        Child("logins", PYTHON, "manage.py", "demo_logins").start()

    return announce


def _answers(port: int) -> bool:
    """A page came back, whatever it says: the socket alone listens before the application is loaded."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(connection):
        connection.request("GET", "/accounts/login/")
        connection.getresponse()
        return True
    return False


if __name__ == "__main__":
    sys.exit(run())
