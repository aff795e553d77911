"""E-mail over a real SMTP conversation on this machine: taken, refused, and a server that says nothing. R-GEN-60"""

import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from accounts import notices
from accounts.models import Customer, Notice, NoticePreference
from tests import build
from tests.build import NOON

pytestmark = pytest.mark.django_db
BASE = Path(__file__).resolve().parents[2]


@dataclass
class MailServer:
    """What it heard, and whom it refuses."""

    refuses: set[str] = field(default_factory=set)
    is_silent: bool = False
    letters: list[str] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)


@pytest.fixture
def server(settings: Any) -> Iterator[MailServer]:
    heard = MailServer()

    class Handler(socketserver.StreamRequestHandler):
        def say(self, line: str) -> None:
            self.wfile.write(f"{line}\r\n".encode())

        def handle(self) -> None:
            if heard.is_silent:
                heard.closing.wait(20)
                return
            self.say("220 test")
            while line := self.rfile.readline().decode().strip():
                if not self.answer(line):
                    return

        def answer(self, line: str) -> bool:
            verb = line.partition(" ")[0].upper()
            if verb == "RCPT" and any(address in line for address in heard.refuses):
                self.say("550 no such mailbox")
            elif verb == "DATA":
                self.say("354 go on")
                letter = []
                while (text := self.rfile.readline().decode().rstrip("\r\n")) != ".":
                    letter.append(text)
                heard.letters.append("\n".join(letter))
                self.say("250 taken")
            else:
                self.say("221 bye" if verb == "QUIT" else "250 ok")
            return verb != "QUIT"

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, daemon=True)
        thread.start()
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", listening.server_address[1]
        settings.EMAIL_USE_TLS = settings.EMAIL_USE_SSL = False
        settings.EMAIL_HOST_USER = settings.EMAIL_HOST_PASSWORD = ""
        yield heard
        heard.closing.set()
        listening.shutdown()
        thread.join()


def firm(members: int = 1) -> Customer:
    owner = build.customer(member=build.user())
    with build.acting(build.BUILDER):
        NoticePreference.objects.create(customer=owner, by_sms=False)
        for _ in range(members - 1):
            owner.memberships.create(user=build.user(), since=NOON)
    return owner


def sent(owner: Customer) -> Notice:
    notice = notices.send(
        customer=owner,
        event="call:1",
        kind="margin_call",
        title="LTV is 78 %",
        body="Repay.",
        facts={},
        at=NOON,
    )
    notices.deliver_due(at=NOON)
    return notice


def test_each_member_gets_a_letter_and_the_answer_names_it(server: MailServer) -> None:
    """R-GEN-60, R-GEN-65: the answer is that the server took it, under which id"""
    delivery = sent(firm(members=2)).deliveries.get()
    assert delivery.status == "sent"
    assert delivery.answer.startswith("accepted for 2 of 2, <")
    message_id = delivery.answer.rpartition(" ")[2]
    assert [f"Message-ID: {message_id}" in letter for letter in server.letters] == [True, True]
    assert all("Subject: LTV is 78 %" in letter and "Repay." in letter for letter in server.letters)


def test_a_refused_mailbox_does_not_keep_the_others_from_theirs(server: MailServer) -> None:
    """R-GEN-60"""
    owner = firm(members=2)
    first = owner.memberships.order_by("user__email").first()
    assert first is not None
    server.refuses.add(first.user.email)
    delivery = sent(owner).deliveries.get()
    assert (delivery.status, len(server.letters)) == ("sent", 1)
    assert delivery.answer.startswith("accepted for 1 of 2, <")


def test_a_letter_that_nobody_takes_has_failed_in_the_servers_words(server: MailServer) -> None:
    """R-GEN-60"""
    server.refuses.add("@example.com")
    delivery = sent(firm()).deliveries.get()
    assert (delivery.status, server.letters) == ("failed", [])
    assert "no such mailbox" in delivery.error


def test_a_mail_server_that_says_nothing_is_given_up(server: MailServer, settings: Any) -> None:
    """R-GEN-60, TRUST E27"""
    settings.EMAIL_TIMEOUT = 0.3
    server.is_silent = True
    before = time.monotonic()
    delivery = sent(firm()).deliveries.get()
    assert delivery.status == "failed"
    assert time.monotonic() - before < 3


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "console.EmailBackend accounts.channels.sms_to_console 5"),
        (
            {"EMAIL_URL": "smtp+tls://me:pw@mail.example.com:587"},
            "smtp.EmailBackend accounts.channels.sms_to_console 5 mail.example.com 587 True",
        ),
        (
            {"SMS_GATEWAY_URL": "https://sms.example.com/send"},
            "console.EmailBackend accounts.channels.sms_by_gateway 5",
        ),
    ],
)
def test_an_address_is_all_it_takes_to_send_for_real(environment: dict[str, str], said: str) -> None:
    """R-GEN-60: nothing leaves the house until an address is set"""
    code = (
        "from config import settings as s\n"
        "words = [s.EMAIL_BACKEND.removeprefix('django.core.mail.backends.'), s.SMS_BACKEND, str(s.EMAIL_TIMEOUT)]\n"
        "if hasattr(s, 'EMAIL_HOST'):\n"
        "    words += [s.EMAIL_HOST, str(s.EMAIL_PORT), str(s.EMAIL_USE_TLS)]\n"
        "print(' '.join(words))"
    )
    required = {
        "SECRET_KEY": "u",
        "ALLOWED_HOSTS": "localhost",
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none",
        "REDIS_URL": "redis://127.0.0.1:9/0",
        "LOMBARD_ENV_FILE": "",
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=BASE,
        env=required | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == said
