"""The book as it was summed up beforehand: true at the time it names, and never shown as anything newer. R-ADM-06"""

from collections.abc import Iterator
from datetime import timedelta
from unittest import mock

import pytest
import redis
from django.conf import settings
from django.core.cache import cache
from django.db import connection
from django.template.loader import render_to_string
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils.safestring import SafeString

from accounts.commands import acting
from accounts.models import Customer
from loans import book_snapshot, dashboard
from loans.pages import desk_book
from risk import sweep
from tests import build
from tests.build import BUILDER, TEN
from tests.loans import desk, visit
from tests.loans.desk import Desk

pytestmark = pytest.mark.django_db

SOON = TEN + timedelta(minutes=1)


@pytest.fixture
def house() -> Iterator[Desk]:
    cache.clear()
    with visit.at(SOON):
        house = desk.set_up(btc="50")
        desk.drawn(house, "1000000")
        yield house
    cache.clear()


def owed(answer: object) -> object:
    return answer.context["book"].owed  # type: ignore[attr-defined]


def test_a_page_shows_the_snapshot_and_the_time_of_its_figures(house: Desk) -> None:
    """R-ADM-06: what happened since is not in it, until somebody asks to sum up now."""
    auditor, url = visit.client_of(build.user("auditor")), reverse("loans:book")
    assert book_snapshot.take(at=SOON - timedelta(seconds=40)) == 2  # everybody's, and the one manager's
    desk.drawn(house, "500000")
    page = auditor.get(url)
    assert owed(page) == 1_000_000
    assert "10:00:20" in page.content.decode()
    assert "sum up now" in page.content.decode()
    now = auditor.get(url, {"now": ""})
    assert owed(now) == 1_500_000
    assert "10:01:00" in now.content.decode()
    assert "sum up now" not in now.content.decode()


def test_a_snapshot_is_the_book_itself(house: Desk) -> None:
    """R-ADM-06"""
    book_snapshot.take(at=SOON)
    assert book_snapshot.newest(book_snapshot.EVERYBODY, at=SOON) == dashboard.book_of(
        Customer.objects.all(), at=SOON
    )


def test_each_manager_has_a_snapshot_of_their_own_clients(house: Desk) -> None:
    """R-ADM-01, R-ADM-06"""
    stranger = build.user("vip_manager")
    assert book_snapshot.take(at=SOON) == 3
    assert book_snapshot.scope_of(build.user("auditor")) == book_snapshot.EVERYBODY
    mine = book_snapshot.newest(book_snapshot.scope_of(house.manager), at=SOON)
    theirs = book_snapshot.newest(book_snapshot.scope_of(stranger), at=SOON)
    assert mine is not None
    assert theirs is not None
    assert mine.owed == 1_000_000
    assert theirs.owed == 0
    assert not theirs.clients


def test_a_client_who_has_another_manager_since_is_not_named(house: Desk) -> None:
    """R-ADM-01: whose client somebody is, is asked anew for every page."""
    book_snapshot.take(at=SOON)
    with acting(BUILDER):
        Customer.objects.filter(pk=house.owner.pk).update(manager=build.user("vip_manager"))
    page = visit.client_of(house.manager).get(reverse("loans:book"))
    assert house.owner.name not in page.content.decode()


def test_the_tables_of_a_snapshot_are_made_once_for_all_who_see_the_same(
    house: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R-ADM-06: and anew when a client is called otherwise, for whoever sees other clients, and for newer sums."""
    auditor, url = visit.client_of(build.user("auditor")), reverse("loans:book")
    made: list[dict[str, object]] = []

    def render(template: str, context: dict[str, object]) -> SafeString:
        made.append(context)
        return render_to_string(template, context)

    monkeypatch.setattr(desk_book, "render_to_string", render)
    book_snapshot.take(at=SOON - timedelta(seconds=40))

    first, second = (visit.client_of(build.user(who)).get(url) for who in ("auditor", "risk_officer"))
    assert len(made) == 1
    for page in (first, second):
        assert f'<a href="/desk/clients/{house.owner.pk}/">{house.owner.name}</a>' in page.content.decode()
        assert "Groups by LTV" in page.content.decode()

    visit.client_of(house.manager).get(url)
    assert len(made) == 2
    with acting(BUILDER):
        Customer.objects.filter(pk=house.owner.pk).update(name="Renamed <b>Ltd</b>")
    assert "Renamed &lt;b&gt;Ltd&lt;/b&gt;" in auditor.get(url).content.decode()
    assert len(made) == 3
    book_snapshot.take(at=SOON - timedelta(seconds=1))
    auditor.get(url)
    assert len(made) == 4


@pytest.mark.parametrize("broken", ["get", "set"])
def test_tables_that_cannot_be_kept_are_shown(
    house: Desk, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """R-ADM-06: Valkey is away, or reads and takes nothing more"""
    book_snapshot.take(at=SOON - timedelta(seconds=40))
    book = book_snapshot.newest(book_snapshot.EVERYBODY, at=SOON)
    assert book is not None
    monkeypatch.setattr(book_snapshot.cache, broken, mock.Mock(side_effect=redis.ConnectionError("away")))
    made = book_snapshot.rendered("all", book, (), lambda: SafeString("<table>"))
    assert made == "<table>"


@pytest.mark.parametrize("rubbish", [7, "<b>x</b>", ["no"], {"book": 1}, b"1", None])
def test_rubbish_in_the_place_of_tables_is_not_shown(house: Desk, rubbish: object) -> None:
    """R-ADM-06"""
    book_snapshot.take(at=SOON - timedelta(seconds=40))
    auditor, url = visit.client_of(build.user("auditor")), reverse("loans:book")
    auditor.get(url)
    with redis.Redis.from_url(settings.REDIS_URL) as valkey:
        [name] = valkey.keys("*book-page*")
        if rubbish is None:
            valkey.set(name, b"not a pickle")
        else:
            cache.set(name.decode().split(":", 2)[2], rubbish, 60)
    assert "Groups by LTV" in auditor.get(url).content.decode()


def test_the_queue_counts_bands_by_itself(house: Desk) -> None:
    """R-ADM-01, R-ADM-06: at the time that its heading names, and of the clients that are the manager's then"""
    book_snapshot.take(at=SOON - timedelta(seconds=40))
    manager, url = visit.client_of(house.manager), reverse("loans:desk")
    desk.quote(SOON, BTC="25000")
    sweep.sweep(at=SOON)
    found = dict(manager.get(url).context["bands"])
    assert (found["SAFE"], found["CALL"]) == (0, 1)
    with acting(BUILDER):
        Customer.objects.filter(pk=house.owner.pk).update(manager=build.user("vip_manager"))
    assert sum(dict(manager.get(url).context["bands"]).values()) == 0


def test_an_old_snapshot_or_one_of_the_future_is_not_shown(house: Desk) -> None:
    """R-ADM-06"""
    book_snapshot.take(at=SOON)
    for at, is_shown in (
        (SOON + book_snapshot.OLDEST, True),
        (SOON + book_snapshot.OLDEST + timedelta(microseconds=1), False),
        (SOON - timedelta(microseconds=1), False),
    ):
        assert (book_snapshot.newest(book_snapshot.EVERYBODY, at=at) is not None) == is_shown


def test_summing_up_takes_a_tenth_of_the_time_at_most(house: Desk) -> None:
    """The next one waits ten times as long as the last one took."""
    book_snapshot.take(at=SOON)
    kept = cache.get("book:all")
    cache.set("book:all", kept | {"took": 3.0}, 60)
    assert book_snapshot.take(at=SOON + timedelta(seconds=29)) == 0
    assert book_snapshot.take(at=SOON + timedelta(seconds=30)) == 2


def test_what_takes_long_is_shown_until_the_next_is_due(house: Desk) -> None:
    """R-ADM-06: a page could not sum up in its time what took that long."""
    book_snapshot.take(at=SOON)
    cache.set("book:all", cache.get("book:all") | {"took": 30.0}, 600)
    due = SOON + timedelta(seconds=300)
    assert book_snapshot.newest(book_snapshot.EVERYBODY, at=due) is not None
    assert book_snapshot.newest(book_snapshot.EVERYBODY, at=due + timedelta(seconds=301)) is None
    assert book_snapshot.take(at=due) == 2


def test_what_another_version_wrote_is_no_snapshot(house: Desk) -> None:
    """A page that cannot read it sums up itself."""
    with redis.Redis.from_url(settings.REDIS_URL) as valkey:
        valkey.set(cache.make_key("book:all"), b"not a pickle")
    assert book_snapshot.newest(book_snapshot.EVERYBODY, at=SOON) is None
    page = visit.client_of(build.user("auditor")).get(reverse("loans:book"))
    assert owed(page) == 1_000_000
    for kept in ({"took": 1.0}, {"book": dashboard.Book(at=SOON)}, {"book": object(), "took": 1.0}):
        cache.set("book:all", kept, 60)
        assert book_snapshot.newest(book_snapshot.EVERYBODY, at=SOON) is None
    assert book_snapshot.take(at=SOON) == 2


def test_a_page_with_a_snapshot_does_not_sum_up(house: Desk) -> None:
    """STYLE 15"""
    auditor, url = visit.client_of(build.user("auditor")), reverse("loans:book")
    auditor.get(url)
    with CaptureQueriesContext(connection) as live:
        auditor.get(url)
    book_snapshot.take(at=SOON)
    with CaptureQueriesContext(connection) as kept:
        auditor.get(url)
    assert len(kept) < len(live)
    assert any("counted AS" in query["sql"] for query in live)
    assert not any("counted AS" in query["sql"] for query in kept)
