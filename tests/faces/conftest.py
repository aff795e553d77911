"""The seeded demo, committed and served for a whole file of tests, its clock standing still; and who is signed in."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import uuid4

import pytest
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from django.conf import settings
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.cache import cache
from django.test import Client, override_settings
from django.test.testcases import LiveServerThread
from django.urls import reverse
from pytest_django.plugin import DjangoDbBlocker

from accounts import exports, letters
from accounts.models import Notice, User
from config.heap import settle
from loans import book_snapshot
from loans.demo import cast
from risk import stress_runs
from tests import conftest as databases
from tests.demo import DEMO_NOW, DemoDatabase
from tests.faces.pages import NOBODY
from tests.loans import visit


@dataclass
class Desk:
    """Where the demo is served, and a client for each login."""

    url: str
    clients: dict[str, Client] = field(default_factory=dict)

    def client(self, who: str) -> Client:
        if who not in self.clients:
            self.clients[who] = Client()
            if who != NOBODY:
                form = {"login": f"{who}@{cast.MAIL}", "password": cast.PASSWORD}
                answer = self.clients[who].post(reverse("account_login"), form)
                assert answer.status_code == 302, f"{who} cannot sign in"
                again = {"password": cast.PASSWORD}  # some pages ask for it once more
                self.clients[who].post(reverse("account_reauthenticate"), again)
        return self.clients[who]

    def cookies(self, who: str) -> dict[str, str]:
        return {name: morsel.value for name, morsel in self.client(who).cookies.items()}


@pytest.fixture(scope="module")
def face(
    django_db_blocker: DjangoDbBlocker,
    demo_database: DemoDatabase,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Desk]:
    name = f"lombard_test_{databases.WORKER}_faces"
    on_copy = databases.default_connection_on(name, url=settings.DATABASE_URL)
    with django_db_blocker.unblock(), databases.copy(name, demo_database.name), on_copy:
        cache.clear()
        mail = {"EMAIL_BACKEND": "accounts.outbox.Folder", "EMAIL_FOLDER": tmp_path_factory.mktemp("mail")}
        with override_settings(DEMO=True, **mail), visit.at(DEMO_NOW):
            notice = Notice.objects.filter(kind="margin_call").latest("pk")
            assert letters.of_notice(notice).to([f"borrower@{cast.MAIL}"]).send() == 1
            thread = LiveServerThread("127.0.0.1", StaticFilesHandler, connections_override={})
            thread.daemon = True
            thread.start()
            thread.is_ready.wait()
            if thread.error:
                raise thread.error
            desk = Desk(f"http://127.0.0.1:{thread.port}")
            _ask(desk)
            assert book_snapshot.take(at=DEMO_NOW - timedelta(seconds=30))  # as beat does every minute
            settle()  # as the web process does
            yield desk
            thread.terminate()
            thread.join()


def _ask(desk: Desk) -> None:
    """What the demo has none of until somebody asks: a stress of the book, a file, and a second step of one login."""
    desk.client("viewer")
    viewer = User.objects.get(email=f"viewer@{cast.MAIL}")
    TOTP.activate(viewer, generate_totp_secret())
    RecoveryCodes.activate(viewer)
    shock = {"kind": "shock", "steps": "6", "moves": "BTC=-20%", "key": str(uuid4())}
    assert desk.client("risk").post(reverse("loans:stress"), shock).status_code == 302
    assert stress_runs.run_due(at=DEMO_NOW) == 1
    file = {"kind": "journal", "first": "2026-10-01", "last": "2026-10-31", "key": str(uuid4())}
    assert desk.client("finance").post(reverse("loans:books_export"), file).status_code == 302
    assert exports.run_due(at=DEMO_NOW) == 1
