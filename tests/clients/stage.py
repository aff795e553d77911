"""Where a real client meets the desk: the site in a process of its own, the client in another, and the books here.

The business day of all three is moved together. The site writes down every answer it gave, so a step can be checked
three times over: what went over the wire, what the client made of it, and what the books say.
"""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from http import HTTPStatus
from pathlib import Path
from typing import Any

from config.embedded import free_port
from tests.clients import shapes

BASE = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
ENVIRONMENTS = BASE / ".venv-clients"
Told = dict[str, Any]
DEFAULT_TIMEOUT = 1000  # ms; what the official SDKs wait unless told otherwise


@dataclass
class Site:
    """The site on 127.0.0.1; `offset` is how many seconds its clock is away from the real one."""

    base: str
    clock: Path
    record: Path
    offset: float = 0
    _read: int = 0

    def now(self) -> datetime:
        return datetime.fromtimestamp(time.time() + self.offset, tz=UTC)

    def move(self, to: datetime) -> None:
        """The site's clock runs on from `to`, from its next request on."""
        self.offset = to.timestamp() - time.time()
        self.clock.write_text(repr(self.offset))

    def answered(self) -> list[Told]:
        """What was answered since this was last asked."""
        with self.record.open() as lines:
            lines.seek(self._read)
            text = lines.read()
            self._read += len(text.encode())
        found = [json.loads(line) for line in text.splitlines()]
        for line in found:
            line["body"] = json.loads(line["body"])
        return found


@contextmanager
def serving(environment: dict[str, str], folder: Path, *, at: datetime) -> Iterator[Site]:
    """The site under gunicorn, as `make run` serves it, with its clock at `at`; stopped in the end."""
    port = free_port(None)
    site = Site(f"http://127.0.0.1:{port}", folder / "clock", folder / "record")
    site.record.touch()
    site.move(at)
    places = {"CLIENTS_CLOCK": str(site.clock), "CLIENTS_RECORD": str(site.record)}
    command = [sys.executable, "-m", "gunicorn", "tests.clients.live", "-b", f"127.0.0.1:{port}"]
    command += ["-k", "gthread", "--threads", "8", "--log-level", "warning", "--no-control-socket"]
    with (folder / "site.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=BASE, env=environment | places, stdout=log, stderr=log)
    try:
        _wait_for(site, process, folder / "site.log")
        yield site
    finally:
        process.terminate()
        process.wait(20)


def _wait_for(site: Site, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Until it answers, and has its connections and templates; the time of a first request is no client's."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{site.base}/api/v3/ping", timeout=30):  # noqa: S310 (our own site)
                site.answered()
                return
        except urllib.error.HTTPError:
            break
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"the site did not open:\n{log.read_text()[-1500:]}")


@dataclass
class Step:
    """One thing a client was asked to do, for the run's report."""

    name: str
    said: str
    ms: float


@dataclass
class Client:
    """A driver in its own environment, told over a pipe what to ask the site for."""

    name: str
    site: Site
    keys: dict[str, Told]
    process: "subprocess.Popen[str]"
    log: Path
    calls: set[str] = field(default_factory=set)
    by_hand: list[str] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    served: dict[str, int] = field(default_factory=dict)
    refused_by: dict[str, int] = field(default_factory=dict)
    slowest: float = 0
    last: list[Told] = field(default_factory=list)

    def knows(self, call: str) -> bool:
        return call in self.calls

    def ask(self, call: str, who: str = "master", **args: Any) -> Any:
        """What the client makes of the answer; the same, to the last digit, as what went over the wire."""
        said, lines = self._run(call, who, args)
        assert "got" in said, f"{self.name}: {call} {args} was refused: {said}"
        if call.partition(" ")[0] in ("GET", "POST", "DELETE"):
            assert len(lines) == 1, f"{self.name}: {call} took {len(lines)} requests: {lines}"
            assert same(said["got"], lines[0]["body"]), f"{call}: {said['got']} is not {lines[0]['body']}"
            assert lines[0]["endpoint"] == call
            return lines[0]["body"]
        return said["got"]

    def refused(self, call: str, code: int, who: str = "master", **args: Any) -> str:
        """The client raises its own exception, with this code of the dialect; returns what the desk said."""
        said, lines = self._run(call, who, args)
        assert "raised" in said, f"{self.name}: {call} {args} should be {code}, was served: {said}"
        raised, (line,) = said["raised"], lines
        assert (raised["code"], line["body"]["code"]) == (code, code), f"{call} {args}: {raised} for {line}"
        assert raised["type"] == exception_of(self.name, code), f"{call}: {raised}"
        assert line["body"]["msg"] in raised["msg"] or self.name == "typed", f"{call}: {raised} for {line}"
        return str(line["body"]["msg"])

    def _run(self, call: str, who: str, args: Told) -> tuple[Told, list[Told]]:
        assert call in self.calls, f"{self.name} has no call for {call}"
        said = self.tell({"base": self.site.base, "who": self.keys[who], "call": call, "args": args})
        lines = self.last = self.site.answered()
        outcome = "ok" if "got" in said else f"{said['raised']['type']} {said['raised']['code']}"
        self.steps.append(Step(call if who == "master" else f"{call} ({who})", outcome, said["ms"]))
        self.slowest = max(self.slowest, said["ms"])
        for line in lines:
            shapes.check(line)
            counts = self.served if line["status"] == HTTPStatus.OK else self.refused_by
            counts[line["endpoint"]] = counts.get(line["endpoint"], 0) + 1
        return said, lines

    def tell(self, what: Told) -> Told:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"the driver of {self.name} ended on {what}:\n{self.log.read_text()[-1500:]}"
        return dict(json.loads(line))

    def follow_the_clock(self, *, away: timedelta = timedelta()) -> None:
        """The client's clock where the site's is, or `away` from it."""
        self.tell({"offset": self.site.offset + away.total_seconds()})

    def report(self) -> Told:
        return {
            "client": self.name,
            "versions": self.versions,
            "served": self.served,
            "by_hand": self.by_hand,
            "refused": self.refused_by,
            "steps": len(self.steps),
            "slowest_ms": self.slowest,
        }


def environment_of(name: str) -> Path:
    """Where the client is installed; ccxt gets along with the official SDKs."""
    return ENVIRONMENTS / ("official" if name == "ccxt" else name)


def command_of(name: str) -> list[str]:
    return [str(environment_of(name) / "bin" / "python"), "-I", str(HERE / "start.py"), f"drive_{name}"]


@contextmanager
def driving(name: str, site: Site, keys: dict[str, Told], log: Path) -> Iterator[Client]:
    """The client's driver, with its clock where the site's is."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "DJANGO"))}
    with log.open("w") as errors:
        process = subprocess.Popen(
            command_of(name),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=plain,
        )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        hello = process.stdout.readline()
        assert hello, f"the driver of {name} did not start:\n{log.read_text()}"
        known = json.loads(hello)
        client = Client(
            name, site, keys, process, log, set(known["calls"]), known["by_hand"], known["versions"]
        )
        client.follow_the_clock()
        yield client
    finally:
        process.stdin.close()
        process.wait(20)
        process.stdout.close()


def exception_of(client: str, code: int) -> str:
    """The class a client raises for a code of the dialect."""
    if code == -1003:
        busy = {"official": "TooManyRequestsError", "typed": "RateLimited", "ccxt": "DDoSProtection"}
        return busy.get(client) or exception_of(client, 0)
    is_about_the_key = code in (-2014, -2015)
    if client == "official":
        return "UnauthorizedError" if is_about_the_key else "BadRequestError"
    if client == "typed":
        return "AuthError" if is_about_the_key or code in (-1021, -1022) else "BadRequest"
    if client == "ccxt":
        known = {-1021: "InvalidNonce", -1022: "AuthenticationError"} | dict.fromkeys(
            (-1102, -1104, -1127, -1130, -4026), "BadRequest"
        )
        return "AuthenticationError" if is_about_the_key else known.get(code, "ExchangeError")
    return {"pybinance": "BinanceAPIException", "connector": "ClientError"}[client]


def same(got: Any, sent: Any) -> bool:
    """Whether what a client made of an answer says the same: clients read numbers as text, text as numbers."""
    if isinstance(sent, dict):
        return isinstance(got, dict) and all(name in sent and same(got[name], sent[name]) for name in got)
    if isinstance(sent, list):
        is_as_long = isinstance(got, list) and len(got) == len(sent)
        return is_as_long and all(same(*pair) for pair in zip(got, sent, strict=True))
    if isinstance(sent, bool) or isinstance(got, bool):
        return str(got).lower() == str(sent).lower()
    try:
        return Decimal(str(got)) == Decimal(str(sent))
    except InvalidOperation:
        return str(got) == str(sent)
