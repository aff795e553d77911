"""The ways out of the house, against a real HTTP server that hangs, fails, redirects or talks too much. R-GEN-60"""

import datetime
import json
import logging
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend

from accounts import channels, notices, tasks
from accounts.models import Customer, Delivery, Notice, NoticePreference
from tests import build
from tests.build import NOON

TOKEN = "s3cret-t0ken"
PHONE = "+41791234567"


@dataclass
class Gateway:
    """A provider: what it answers, and what it was asked."""

    status: int = 200
    body: bytes = b'{"id": "m-1"}'
    headers: dict[str, str] = field(default_factory=dict)
    hold: threading.Event | None = None
    asked: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""
    reached: threading.Event = field(default_factory=threading.Event)


@pytest.fixture
def gateway(settings: Any) -> Iterator[Gateway]:
    is_now = Gateway()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            is_now.asked.append({"path": self.path, "token": self.headers["Authorization"], **said})
            is_now.reached.set()
            if is_now.hold is not None:
                is_now.hold.wait(20)
            self.send_response(is_now.status)
            for name, value in is_now.headers.items():
                self.send_header(name, value)
            with suppress(ConnectionError):  # who waits no longer, or reads no further, hangs up
                self.end_headers()
                self.wfile.write(is_now.body)

        do_GET = do_POST  # noqa: N815  a followed redirect would come as one

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    is_now.url = f"http://127.0.0.1:{server.server_port}/sms"
    settings.SMS_GATEWAY_URL, settings.SMS_GATEWAY_TOKEN, settings.SMS_SENDER = is_now.url, TOKEN, "Lombard"
    settings.SMS_BACKEND = "accounts.channels.sms_by_gateway"
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    yield is_now
    if is_now.hold is not None:
        is_now.hold.set()
    server.shutdown()
    server.server_close()
    thread.join()


def firm(**preference: Any) -> Customer:
    owner = build.customer(member=build.user())
    with build.acting(build.BUILDER):
        NoticePreference.objects.create(customer=owner, **({"phone": PHONE, "by_email": False} | preference))
    return owner


def send(owner: Customer, event: str = "call:1", kind: str = "margin_call") -> Notice:
    return notices.send(
        customer=owner, event=event, kind=kind, title="LTV is\n78 %", body="Repay.", facts={}, at=NOON
    )


def only(notice: Notice, channel: str = "sms") -> Delivery:
    return notice.deliveries.get(channel=channel)


# --- The gateway ------------------------------------------------------------------------------------------


def test_the_gateway_gets_number_text_and_sender_and_its_answer_is_kept(gateway: Gateway) -> None:
    """R-GEN-60"""
    assert channels.sms_by_gateway(PHONE, "LTV is 78 %") == 'HTTP 200: {"id": "m-1"}'
    assert gateway.asked == [
        {"path": "/sms", "token": f"Bearer {TOKEN}", "to": PHONE, "text": "LTV is 78 %", "from": "Lombard"}
    ]


@pytest.mark.parametrize("status", [400, 403, 500, 503])
def test_what_is_not_2xx_is_not_taken(gateway: Gateway, status: int) -> None:
    """R-GEN-60"""
    gateway.status, gateway.body = status, b"no credit"
    with pytest.raises(channels.NotTaken, match=f"HTTP {status}: no credit"):
        channels.sms_by_gateway(PHONE, "x")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(gateway: Gateway, status: int) -> None:
    """TRUST 7, outbound: the token stays with the address it was given for"""
    gateway.status, gateway.headers = status, {"Location": gateway.url.replace("/sms", "/elsewhere")}
    with pytest.raises(channels.NotTaken, match=f"HTTP {status}"):
        channels.sms_by_gateway(PHONE, "x")
    assert [asked["path"] for asked in gateway.asked] == ["/sms"]


def test_a_long_answer_is_cut_and_made_one_clean_line(gateway: Gateway) -> None:
    """R-GEN-60, TRUST 7: size cap"""
    gateway.body = f"id\x00 {TOKEN}\r\n".encode() + b"x" * 10_000_000
    answer = channels.sms_by_gateway(PHONE, "x")
    assert answer.startswith("HTTP 200: id … xxx")
    assert len(answer) == channels.ANSWER_KEPT


def test_a_gateway_that_hangs_is_given_up(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """R-GEN-60, TRUST E27"""
    monkeypatch.setattr(channels, "GATEWAY_TIMEOUT", 0.2)
    gateway.hold = threading.Event()
    before = time.monotonic()
    with pytest.raises(OSError, match="timed out"):
        channels.sms_by_gateway(PHONE, "x")
    assert time.monotonic() - before < 2


@pytest.mark.parametrize(
    "url", ["http://sms.example.com/send", "http://127.0.0.1.example.com/", "file:///etc/passwd", ""]
)
def test_the_token_only_travels_encrypted(settings: Any, url: str) -> None:
    """TRUST 7, outbound: https, or this machine"""
    settings.SMS_GATEWAY_URL, settings.SMS_GATEWAY_TOKEN = url, TOKEN
    with pytest.raises(channels.GatewayNotSafe):
        channels.sms_by_gateway(PHONE, "x")


# --- The other adapters -----------------------------------------------------------------------------------


def test_the_file_adapter_appends_a_line_for_nobody_else_to_read(settings: Any, tmp_path: Path) -> None:
    """R-GEN-60"""
    settings.SMS_FILE = str(tmp_path / "out" / "sms.jsonl")
    assert channels.sms_to_file(PHONE, "LTV is 78 %") == "written to sms.jsonl"
    channels.sms_to_file("+12125550100", "größer\nals")
    path = Path(settings.SMS_FILE)
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"to": PHONE, "text": "LTV is 78 %"},
        {"to": "+12125550100", "text": "größer\nals"},
    ]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_console_adapter_does_not_log_the_number(caplog: pytest.LogCaptureFixture) -> None:
    """TRUST 7, logs"""
    with caplog.at_level(logging.INFO):
        assert channels.sms_to_console(PHONE, "LTV is 78 %") == "written to the log"
    assert "+41…567: LTV is 78 %" in caplog.text
    assert PHONE not in caplog.text


class HalfDead(BaseEmailBackend):
    """Takes the first message; then the connection is gone."""

    taken = 0

    def send_messages(self, email_messages: Any) -> int:
        if HalfDead.taken:
            raise ConnectionResetError("gone")
        HalfDead.taken += 1
        message: EmailMessage = email_messages[0]
        assert message.subject == "LTV is 78 %"  # one line, whatever the title was
        return 1


@pytest.mark.django_db
def test_an_email_that_one_member_got_counts_as_sent(settings: Any) -> None:
    """R-GEN-60: at most once; what has left is not reported as failed"""
    settings.EMAIL_BACKEND = f"{__name__}.HalfDead"
    HalfDead.taken = 0
    owner = firm(by_email=True, by_sms=False)
    with build.acting(build.BUILDER):
        owner.memberships.create(user=build.user(), since=NOON)
    notice = send(owner)
    assert notices.deliver_due(at=NOON) == 1
    assert only(notice, "email").answer.startswith("accepted for 1 of 2, <")
    dead = send(owner, "call:2")
    assert notices.deliver_due(at=NOON) == 0
    assert only(dead, "email").error == "ConnectionResetError: gone"


# --- What a provider's trouble does to the queue ----------------------------------------------------------


@pytest.mark.django_db
def test_what_the_gateway_said_is_stored_with_the_notice(gateway: Gateway) -> None:
    """R-GEN-65"""
    owner = firm()
    taken = send(owner)
    assert notices.deliver_due(at=NOON) == 1
    assert (only(taken).status, only(taken).answer, only(taken).sent_at) == (
        "sent",
        'HTTP 200: {"id": "m-1"}',
        NOON,
    )
    gateway.status, gateway.body = 402, b"no credit"
    refused = send(owner, "call:2")
    assert notices.deliver_due(at=NOON) == 0
    assert (only(refused).status, only(refused).error) == ("failed", "HTTP 402: no credit")
    assert notices.deliver_due(at=NOON) == 0
    assert len(gateway.asked) == 2  # at most once


@pytest.mark.django_db
def test_a_silent_channel_is_left_alone_for_the_rest_of_the_run(gateway: Gateway, settings: Any) -> None:
    """TRUST E27: one wait per run, not one per message; the other channel goes on"""
    settings.SMS_GATEWAY_URL = "http://127.0.0.1:9/sms"  # nobody listens
    owner = firm(by_email=True)
    sent = [send(owner, f"call:{number}") for number in range(3)]
    assert notices.deliver_due(at=NOON) == 3
    states = [only(notice).status for notice in sent]
    assert states == ["failed", "pending", "pending"]
    assert [only(notice, "email").status for notice in sent] == ["sent"] * 3


@pytest.mark.django_db
def test_a_refused_message_does_not_stop_the_others(gateway: Gateway) -> None:
    """TRUST E27: a provider that says no is not a dead one"""
    gateway.status = 400
    owner = firm()
    for number in range(3):
        send(owner, f"call:{number}")
    assert notices.deliver_due(at=NOON) == 0
    assert set(Delivery.objects.values_list("status", flat=True)) == {"failed"}


@pytest.mark.django_db
def test_a_run_ends_when_its_time_is_over(gateway: Gateway) -> None:
    """TRUST E27: slow providers hold a worker for seconds, not for the length of the queue"""
    owner = firm()
    for number in range(3):
        send(owner, f"call:{number}")
    assert notices.deliver_due(at=NOON, enough=lambda: len(gateway.asked) == 2) == 2
    assert Delivery.objects.get(status="pending").notice.event == "call:2"


def test_money_moves_while_a_provider_hangs(
    committed_db: object, gateway: Gateway, in_threads: Callable[[list[Callable[[], Any]]], list[Any]]
) -> None:
    """R-GEN-60, TRUST E27: no lock is held while a message is on its way, and it goes out once"""
    gateway.hold = threading.Event()
    owner = firm()
    account = build.master(owner)
    first = send(owner)
    still_hanging: list[bool] = []

    def move_money() -> Decimal:
        assert gateway.reached.wait(10)
        build.deposit(account, "USDT", "100")
        send(owner, "call:2")
        still_hanging.append(only(first).status == "sending")
        moved = build.balance(account, "USDT")
        assert gateway.hold is not None
        gateway.hold.set()
        return moved

    sent, moved = in_threads([lambda: notices.deliver_due(at=NOON, most=1), move_money])
    assert (sent, moved, still_hanging) == (1, 100, [True])
    assert only(first).status == "sent"
    assert len(gateway.asked) == 1


def test_only_one_worker_at_a_time_waits_for_providers(
    committed_db: object, gateway: Gateway, in_threads: Callable[[list[Callable[[], Any]]], list[Any]]
) -> None:
    """TRUST E27: the others stay free for the sweep"""
    gateway.hold = threading.Event()
    owner = firm()
    send(owner)
    send(owner, "call:2")

    def second() -> float:
        assert gateway.reached.wait(10)
        before = time.monotonic()
        tasks.deliver_notices()
        took = time.monotonic() - before
        assert gateway.hold is not None
        gateway.hold.set()
        return took

    _, took = in_threads([tasks.deliver_notices, second])
    assert took < 2
    assert sorted(Delivery.objects.values_list("status", flat=True)) == ["sent", "sent"]
    assert len(gateway.asked) == 2


# --- Preferences at work ----------------------------------------------------------------------------------


@pytest.mark.django_db
def test_quiet_hours_hold_news_but_not_a_call(gateway: Gateway) -> None:
    """R-GEN-60, R-GEN-65"""
    owner = firm(quiet_from=datetime.time(11), quiet_until=datetime.time(14))
    call, news = send(owner), send(owner, "repayment:1", kind="repayment")
    assert (only(call).due_at, only(news).due_at) == (NOON, NOON + datetime.timedelta(hours=2))
    assert notices.deliver_due(at=NOON) == 1
    assert only(call).status == "sent"
    assert notices.deliver_due(at=NOON + datetime.timedelta(hours=2)) == 1


@pytest.mark.django_db
def test_a_channel_that_is_off_gets_nothing_except_a_call_that_would_reach_nobody(gateway: Gateway) -> None:
    """R-GEN-60"""
    owner = firm(by_email=False, by_sms=False)
    call, news = send(owner), send(owner, "repayment:1", kind="repayment")
    assert list(call.deliveries.values_list("channel", flat=True)) == ["email"]
    assert not news.deliveries.exists()
    assert Notice.objects.filter(customer=owner).count() == 2  # the inbox is never off
