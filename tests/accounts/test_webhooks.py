"""The way out to a customer's own program, against real servers that redirect, drip, lie or lead inside. R-FTR-03

Names are the outside's: what the resolver says is set here, and connections to public addresses are led to this
machine, so that what is tested is which address was asked for.
"""

import hashlib
import hmac
import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from django.core import mail

from accounts import channels, contacts, notices, webhooks
from accounts.commands import acting
from accounts.models import Customer, Delivery, Notice, NoticePreference
from tests import build
from tests.build import BUILDER, NOON

PUBLIC = "93.184.215.14"
HOST = "hooks.aare.example"


@dataclass
class Program:
    """What a customer's program answers, and what it was sent."""

    status: int = 200
    body: bytes = b"ok"
    headers: dict[str, str] = field(default_factory=dict)
    drip: bool = False
    got: list[dict[str, Any]] = field(default_factory=list)
    port: int = 0
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?team=1"


def serve(program: Program, context: ssl.SSLContext | None = None) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            program.got.append({"path": self.path, "headers": dict(self.headers), "body": body})
            with suppress(OSError):
                if program.drip:
                    self.do_drip()
                    return
                self.send_response(program.status)
                for name, value in program.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(program.body)))
                self.end_headers()
                self.wfile.write(program.body)

        do_GET = do_POST  # noqa: N815  a followed redirect would come as one

        def do_drip(self) -> None:
            """A byte now and then, so that no single read ever times out."""
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            while not program.stop.wait(0.05):
                self.wfile.write(b"x")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    program.port = server.server_port
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.fixture(autouse=True)
def _here(settings: Any) -> None:
    settings.WEBHOOKS_TO_THIS_MACHINE = True
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"


@pytest.fixture
def program() -> Iterator[Program]:
    is_now = Program()
    server = serve(is_now)
    yield is_now
    is_now.stop.set()
    server.shutdown()
    server.server_close()


def firm(url: str = "") -> Customer:
    """A firm told by mail, with a webhook when given."""
    owner = build.customer("Aare AG", member=build.user())
    with acting(BUILDER):
        NoticePreference.objects.create(customer=owner, by_sms=False)
    if url:
        hook(owner, url)
    return owner


def hook(owner: Customer, url: str) -> None:
    contacts.add(customer_id=owner.pk, name="Robot", channel="webhook", address=url, actor=BUILDER, at=NOON)


def send(owner: Customer, event: str = "call:1") -> Notice:
    return notices.send(
        customer=owner,
        event=event,
        kind="margin_call",
        title="<script>alert(1)</script> LTV is 78 %",
        body="Repay ₿.",
        facts={"ltv": "0.78"},
        at=NOON,
    )


def hooked(notice: Notice) -> Delivery:
    return notice.deliveries.get(channel="webhook")


# --- What it gets -----------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_program_gets_one_signed_notice_and_its_answer_is_kept(program: Program) -> None:
    """R-FTR-03, R-GEN-65: the receiver computes the signature from what it got and its secret"""
    owner = firm(program.url)
    notice = send(owner)
    assert notices.deliver_due(at=NOON) == 2
    assert notices.deliver_due(at=NOON) == 0

    [got] = program.got
    headers, secret = got["headers"], owner.notice_contacts.get().secret
    timestamp = headers["X-Lombard-Timestamp"]
    signed = hmac.new(secret.encode(), f"{timestamp}.".encode() + got["body"], hashlib.sha256).hexdigest()
    assert headers["X-Lombard-Signature"] == signed
    assert timestamp == str(int(NOON.timestamp()))
    assert headers["X-Lombard-Delivery"] == str(hooked(notice).pk)
    assert (got["path"], headers["Host"]) == ("/hook?team=1", f"127.0.0.1:{program.port}")
    assert json.loads(got["body"]) == {
        "event": "call:1",
        "kind": "margin_call",
        "title": "<script>alert(1)</script> LTV is 78 %",
        "body": "Repay ₿.",
        "facts": {"ltv": "0.78"},
        "at": "2026-01-01T12:00:00+00:00",
        "customer": {"id": owner.pk, "name": "Aare AG"},
    }
    assert (hooked(notice).status, hooked(notice).answer) == ("sent", "HTTP 200: ok")
    assert secret.encode() not in got["body"]


def test_the_signature_covers_time_and_body() -> None:
    """R-FTR-03: a fixed vector, so that receivers can test theirs"""
    signed = webhooks.signature(secret="0" * 64, timestamp="1767268800", body=b'{"a": 1}')
    assert signed == "8eb48a7827e50a1e3fecfd17d37176a391f7a96e4d295a5f2e3145da3e234117"
    assert signed != webhooks.signature(secret="0" * 64, timestamp="1767268801", body=b'{"a": 1}')
    assert signed != webhooks.signature(secret="1" * 64, timestamp="1767268800", body=b'{"a": 1}')


@pytest.mark.django_db
@pytest.mark.parametrize("status", [400, 410, 500])
def test_what_is_not_2xx_is_noted_and_never_repeated(program: Program, status: int) -> None:
    """R-FTR-03, R-GEN-60"""
    program.status, program.body = status, b"no\x00pe\r\n" + b"x" * 100_000
    notice = send(firm(program.url))
    for minutes in (0, 5):
        notices.deliver_due(at=NOON + minutes * contacts.TESTED_EVERY)
    failed = hooked(notice)
    assert failed.status == "failed"
    assert failed.error.startswith(f"HTTP {status}: nope xxx")
    assert len(failed.error) == channels.ANSWER_KEPT
    assert len(program.got) == 1


@pytest.mark.django_db
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(program: Program, status: int) -> None:
    """R-FTR-03, TRUST 7: outbound"""
    program.status, program.headers = status, {"Location": f"http://127.0.0.1:{program.port}/inside"}
    notice = send(firm(program.url))
    notices.deliver_due(at=NOON)
    assert [got["path"] for got in program.got] == ["/hook?team=1"]
    assert hooked(notice).error.startswith(f"HTTP {status}")


@pytest.mark.django_db
def test_no_proxy_is_asked(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """R-FTR-03, TRUST 7: outbound"""
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    send(firm(program.url))
    assert notices.deliver_due(at=NOON) == 2


# --- When it is dead --------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_program_that_drips_is_given_up_as_a_whole(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R-FTR-03, TRUST E27: no single read takes long, all together do"""
    monkeypatch.setattr(webhooks, "TIMEOUT", 0.4)
    program.drip = True
    notice = send(firm(program.url))
    before = time.monotonic()
    assert notices.deliver_due(at=NOON) == 1
    assert time.monotonic() - before < 3
    assert hooked(notice).error == "TimeoutError: timed out"


@pytest.mark.django_db
def test_a_name_that_nobody_answers_for_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """R-FTR-03, TRUST E27: whoever owns the name owns its resolver, too"""
    ended = threading.Event()
    monkeypatch.setattr(webhooks, "TIMEOUT", 0.3)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: ended.wait(10))
    notice = send(firm(f"https://{HOST}/hook"))
    before = time.monotonic()
    notices.deliver_due(at=NOON)
    ended.set()
    assert time.monotonic() - before < 3
    assert hooked(notice).error == "TimeoutError: timed out looking the name up"


@pytest.mark.django_db
def test_a_dead_program_delays_nobodys_mail_and_its_own_rest_waits_a_minute(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R-FTR-03: people first, and a dead one is asked once a minute"""
    monkeypatch.setattr(webhooks, "TIMEOUT", 0.4)
    program.drip = True
    dead, alive = firm(program.url), Program()
    server = serve(alive)
    rows = [send(dead, f"call:{number}") for number in range(3)]
    fine = send(firm(alive.url), "call:9")
    try:
        assert notices.deliver_due(at=NOON) == 5
    finally:
        server.shutdown()
        server.server_close()
    assert len(mail.outbox) == 4
    assert hooked(fine).status == "sent"
    assert [(hooked(row).status, hooked(row).due_at - NOON) for row in rows] == [
        ("failed", 0 * notices.PUT_OFF),
        ("pending", notices.PUT_OFF),
        ("pending", notices.PUT_OFF),
    ]
    assert len(program.got) == 1


@pytest.mark.django_db
def test_mails_leave_before_any_program_is_asked(program: Program) -> None:
    """R-FTR-03: whatever is queued first"""
    robots = firm()
    owner = firm(program.url)
    first = send(owner)
    Delivery.objects.filter(notice=first, channel="email").delete()
    send(robots, "call:2")
    assert notices.deliver_due(at=NOON, most=1) == 2
    assert notices.deliver_due(at=NOON, enough=lambda: True) == 0
    assert (len(mail.outbox), len(program.got)) == (1, 1)


@pytest.mark.django_db
def test_a_port_that_nobody_listens_at_is_noted(program: Program) -> None:
    """R-FTR-03"""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    notice = send(firm(f"http://127.0.0.1:{port}/"))
    notices.deliver_due(at=NOON)
    assert hooked(notice).error.startswith("ConnectionRefusedError")


# --- Where it may lead ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",  # noqa: S104  judged, never bound
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "fec0::1",
        "4000::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::1",
        "2001:0:7f00:1::1",
        "not an address",
    ],
)
def test_addresses_that_are_not_public_are_known(address: str) -> None:
    """R-FTR-03, TRUST 7: outbound; ours, the neighbours' and those in disguise"""
    assert not webhooks.is_public(address)


@pytest.mark.parametrize("address", [PUBLIC, "8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8"])
def test_public_addresses_are_known(address: str) -> None:
    """R-FTR-03"""
    assert webhooks.is_public(address)


class Names:
    """The resolver: what it answers, one answer per question, and how often it was asked."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers, self.asked = list(answers), 0

    def __call__(self, host: str, port: int, **_: Any) -> list[Any]:
        self.asked += 1
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in found]


@pytest.mark.django_db
@pytest.mark.parametrize("found", [["127.0.0.1"], [PUBLIC, "10.0.0.7"], ["169.254.169.254"]])
def test_a_name_that_leads_inside_is_not_asked(
    program: Program, monkeypatch: pytest.MonkeyPatch, found: list[str]
) -> None:
    """R-FTR-03, TRUST 7: outbound; one private address among public ones is enough"""
    monkeypatch.setattr(socket, "getaddrinfo", Names(found))
    connected: list[Any] = []
    monkeypatch.setattr(socket.socket, "connect", lambda _, place: connected.append(place))
    notice = send(firm(f"https://{HOST}:{program.port}/"))
    notices.deliver_due(at=NOON)
    assert hooked(notice).error == f"{HOST} is not on the public internet; nothing was sent."
    assert (connected, program.got) == ([], [])


@pytest.fixture
def certified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Program]:
    """A program behind TLS at a public address, with a certificate for HOST that is trusted here."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    command += ["-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST}"]
    try:
        subprocess.run(
            [*command, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True
        )
    except FileNotFoundError:
        pytest.skip("openssl, which makes this test's certificate, is not installed")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    is_now = Program()
    server = serve(is_now, context)
    yield is_now
    server.shutdown()
    server.server_close()


@pytest.fixture
def connected(certified: Program, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Which addresses were asked for; what is public is led to the program on this machine."""
    places: list[Any] = []
    connect = socket.socket.connect

    def led_here(this: socket.socket, place: tuple[str, int]) -> None:
        places.append(place)
        connect(this, ("127.0.0.1", certified.port) if place[0] == PUBLIC else place)

    monkeypatch.setattr(socket.socket, "connect", led_here)
    return places


@pytest.mark.django_db
def test_the_connection_goes_to_the_address_that_was_judged(
    certified: Program, connected: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """R-FTR-03, TRUST 7: outbound; a name that changes its mind between two looks is looked at once"""
    names = Names([PUBLIC], ["127.0.0.1"])
    monkeypatch.setattr(socket, "getaddrinfo", names)
    notice = send(firm(f"https://{HOST}/hook"))
    notices.deliver_due(at=NOON)
    assert (hooked(notice).status, hooked(notice).answer) == ("sent", "HTTP 200: ok")
    assert (names.asked, connected) == (1, [(PUBLIC, 443)])
    assert certified.got[0]["headers"]["Host"] == HOST


@pytest.mark.django_db
def test_a_program_that_cannot_prove_its_name_is_told_nothing(
    certified: Program, connected: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """R-FTR-03"""
    monkeypatch.setattr(socket, "getaddrinfo", Names([PUBLIC]))
    notice = send(firm("https://other.aare.example/hook"))
    notices.deliver_due(at=NOON)
    assert hooked(notice).status == "failed"
    assert "certificate" in hooked(notice).error
    assert (len(connected), certified.got) == (1, [])


@pytest.mark.django_db
def test_this_machine_is_asked_only_where_settings_say_so(program: Program, settings: Any) -> None:
    """R-FTR-03: the switch is for tests and the demo; off, neither a new contact nor an old one gets there"""
    owner = firm(program.url)
    notice = send(owner)
    settings.WEBHOOKS_TO_THIS_MACHINE = False
    with pytest.raises(webhooks.BadAddress, match="https://"):
        hook(owner, f"http://127.0.0.1:{program.port}/other")
    notices.deliver_due(at=NOON)
    assert hooked(notice).status == "failed"
    assert program.got == []


@pytest.mark.parametrize(
    "url", ["http://10.0.0.1/", "http://127.0.0.2/", "http://localhost/", "http://127.0.0.1@aare.example/"]
)
def test_the_switch_opens_one_address_only(url: str) -> None:
    """R-FTR-03"""
    with pytest.raises(webhooks.BadAddress):
        webhooks.address_of(url)
