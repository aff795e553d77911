"""The margin-call workbench: who sees it, what it says, and what a manager does there. R-FTR-18"""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts import contacts, notices
from accounts.commands import Actor
from accounts.models import Notice, User
from loans.pages import call_rows
from risk import call_records, sweep
from risk.models import CallRecord, MarginCall
from tests import build
from tests.accounts.test_pages_notices import text_of
from tests.build import TEN
from tests.loans import desk as desks
from tests.loans import visit
from tests.loans.desk import Desk

pytestmark = pytest.mark.django_db
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


@pytest.fixture
def house() -> Iterator[Desk]:
    """A client in call since TEN: 1,000,000 USDT on 25 BTC at 50,000, LTV 80 %."""
    with visit.at(TEN):
        found = desks.set_up()
        desks.drawn(found)
        price("50000")
        yield found


def price(btc: str, at: datetime = TEN) -> None:
    desks.quote(at, BTC=btc)
    sweep.sweep(at=at)


def the_call() -> MarginCall:
    return MarginCall.objects.select_related("group").get()


def at(client: Client, name: str, *arguments: Any, **query: str) -> str:
    response = client.get(reverse(f"loans:{name}", args=arguments), query)
    assert response.status_code == 200
    return text_of(response)


def write(client: Client, call: MarginCall, **told: str) -> Any:
    asked = {"kind": "contacted", "way": "phone", "note": "", "key": str(uuid4())} | told
    return client.post(reverse("loans:margin_call_record", args=[call.pk]), asked)


def moved() -> tuple[int, int]:
    return CallRecord.objects.count(), Notice.objects.count()


# --- Who ----------------------------------------------------------------------------------------------


def test_managers_see_their_own_staff_read_all_and_borrowers_nothing(house: Desk) -> None:
    """R-FTR-18, R-ADM-01"""
    call = the_call()
    pages: list[tuple[str, list[Any]]] = [
        ("desk_calls", []),
        ("margin_call", [call.pk]),
        ("margin_call_message", [call.pk, "reminder"]),
    ]
    before = moved()

    def statuses(user: User) -> list[int]:
        client = visit.client_of(user)
        found = [client.get(reverse(f"loans:{name}", args=args)).status_code for name, args in pages]
        return [*found, write(client, call).status_code]

    assert statuses(house.applicant) == [404] * 4
    assert statuses(build.user("vip_manager")) == [200, 404, 404, 404]
    for role in ("risk_officer", "ops", "finance", "auditor", "admin"):
        assert statuses(build.user(role)) == [200, 200, 403, 403]
    assert moved() == before
    assert statuses(house.manager) == [200, 200, 200, 302]
    other = at(visit.client_of(build.user("vip_manager")), "desk_calls")
    assert "Nobody is called now." in other
    assert house.owner.name not in other


def test_staff_read_without_forms(house: Desk) -> None:
    """R-FTR-18"""
    text = at(visit.client_of(build.user("auditor")), "margin_call", the_call().pk)
    assert f"{house.manager.name} works on this call" in text
    assert "Write it down" not in text


# --- The list -----------------------------------------------------------------------------------------


def test_a_row_says_where_it_stands_what_cures_it_and_what_is_next(house: Desk) -> None:
    """R-FTR-18, R-GEN-65: the ways are the engine's"""
    price("50000", TEN + 5 * MINUTE)
    with visit.later(house.manager, TEN + 5 * MINUTE) as client:
        text = at(client, "desk_calls")
    assert "80.00 %" in text
    assert "call 77 %, sold 91 %" in text
    assert "repay 37,500.00 000001 USDT LTV then 76.99 % add 0.97 402598 BTC LTV then 76.99 %" in text
    assert "CALLED" in text
    assert "CALL called 5 min ago" in text
    assert "CALLED none Wait for the acknowledgement" in text


def test_the_page_of_a_call_names_what_ends_it_not_only_what_leads_below_its_line(house: Desk) -> None:
    """R-GEN-62: the call ends half a point below its line, as the message to the client says"""
    price("50000", TEN + 5 * MINUTE)
    with visit.later(house.manager, TEN + 5 * MINUTE) as client:
        text = at(client, "margin_call", the_call().pk)
    assert "BTC at 43,956" in text
    assert "repay 37,500.00 000001 USDT LTV then 76.99 %" in text
    ending = text.partition("Below 76.5 %, where the call ends, either")[2]
    assert ending.startswith(" repay 43,750.00 000001 USDT LTV then 76.49 % add")


def test_an_unacknowledged_call_is_marked_after_half_an_hour(house: Desk) -> None:
    """R-FTR-18"""
    for minutes, marked in ((30, False), (31, True)):
        with visit.later(house.manager, TEN + minutes * MINUTE) as client:
            assert ("Telephone: nobody has acknowledged it" in at(client, "desk_calls")) is marked
            assert ("Nobody of" in at(client, "margin_call", the_call().pk)) is marked


def test_the_clients_acknowledgement_is_what_the_desk_sees(house: Desk) -> None:
    """R-FTR-18, R-FTR-03: one truth"""
    notice = Notice.objects.get(kind="margin_call")
    borrower = visit.client_of(house.applicant)
    assert borrower.post(reverse("accounts:acknowledge", args=[notice.pk])).status_code == 302
    with visit.later(house.manager, TEN + HOUR) as client:
        text = at(client, "desk_calls", state="acknowledged")
        assert f"ACKNOWLEDGED {house.applicant.name}, 1 h 0 min ago" in text
        assert "Ask by when it is cured" in text
        assert "No open call is in this state." in at(client, "desk_calls", state="called")
        assert f"acknowledged by {house.applicant.name}" in at(client, "margin_call", the_call().pk)


def test_a_promise_runs_breaks_or_is_kept(house: Desk) -> None:
    """R-FTR-18"""
    call, client = the_call(), visit.client_of(house.manager)
    assert (
        write(client, call, kind="promised", promised_by="2026-01-01 11:00", note="By wire").status_code
        == 302
    )
    assert "PROMISED by 1 Jan 2026, 11:00 UTC 1 h 0 min" in at(client, "desk_calls", state="promised")
    assert "Wait for what was promised" in at(client, "desk_calls")
    with visit.later(house.manager, TEN + HOUR + MINUTE) as later:
        text = at(later, "desk_calls", state="broken")
        assert "PROMISED broken , was for 1 Jan 2026, 11:00 UTC 1 min ago" in text
        assert "Telephone: the promise is broken" in text
        assert "Promise broken." in at(later, "margin_call", call.pk)
    price("60000", TEN + 30 * MINUTE)
    with visit.later(house.manager, TEN + 2 * HOUR) as later:
        text = at(later, "margin_call", call.pk)
        assert "CURED" in text
        assert "by 1 Jan 2026, 11:00 UTC : kept" in text
        assert "It took 30 min" in text
        assert "Send it" not in text


def more(house: Desk, *, amount: str = "1000000", btc: str = "20") -> None:
    """One more group of the same client."""
    sub, receiver = build.account(house.owner), build.account(house.owner)
    build.deposit(sub, "BTC", btc, at=build.LONG_AGO)
    desks.quote(TEN)
    desks.drawn(house, amount, account_uids=(sub.pk,), receiver_uid=receiver.pk)


def test_the_worst_call_comes_first(house: Desk) -> None:
    """R-FTR-18"""
    more(house, amount="863000")  # 863,000 on 20 BTC at 50,000: 86.3 %
    price("50000")
    text = at(visit.client_of(house.manager), "desk_calls")
    found = re.findall(r"8[06]\.\d\d %", text.split("Ended")[0])
    assert found.index("86.30 %") < found.index("80.00 %")


def test_the_worst_call_is_on_the_first_page_however_late_it_came(
    house: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R-FTR-18: ranked over all of them, and each is on some page."""
    monkeypatch.setattr(call_rows, "PER_PAGE", 1)
    more(house, amount="863000")
    more(house, amount="800000")
    price("50000")
    client = visit.client_of(house.manager)
    pages = [at(client, "desk_calls", open=number).split("Ended")[0] for number in "1234"]
    assert [re.findall(r"8[06]\.\d\d %", page)[0] for page in pages] == ["86.30 %", *["80.00 %"] * 3]
    assert all("All 3 Called 3" in page for page in pages)
    assert "Page 1 of 3 Less far gone" in pages[0]
    assert "Worse Page 3 of 3" in pages[2]
    called = [re.findall(r"Call of G-\d+", page)[0] for page in pages]
    assert len(set(called[:3])) == 3
    assert called[3] == called[2]  # beyond the last it is the last


@pytest.mark.parametrize("minutes", [0, 29, 30, 31, 60, 61, 90])
def test_the_database_counts_calls_as_each_of_them_says_of_itself(house: Desk, minutes: int) -> None:
    """R-FTR-18: called, acknowledged, promised (again), broken at the instant after, unanswered after 30 minutes."""
    more(house, amount="863000")
    more(house, amount="800000")
    price("50000")
    known, promised, _ = MarginCall.objects.order_by("pk")
    notice = Notice.objects.filter(kind="margin_call", facts__margin_call=known.pk).latest("pk")
    notices.acknowledge(notice_id=notice.pk, actor=house.borrower, at=TEN)
    for hours in (1, 2):
        call_records.promised(
            call_id=promised.pk, promised_by=TEN + hours * HOUR / 2, way="phone", actor=house.decider, at=TEN
        )
    now = TEN + minutes * MINUTE
    calls = MarginCall.objects.filter(ended_at=None)
    followed = call_records.followed(calls.select_related("group"), at=now)
    for kind, condition in call_records.kinds(at=now).items():
        of_itself = {
            "broken": [pk for pk, one in followed.items() if one.is_broken],
            "unanswered": [pk for pk, one in followed.items() if one.is_unanswered],
        }.get(kind, [pk for pk, one in followed.items() if one.stage == kind])
        counted = call_records.marked(calls).filter(condition).values_list("pk", flat=True)
        assert sorted(counted) == sorted(of_itself), kind


def test_the_list_asks_no_more_for_more_calls(house: Desk) -> None:
    """R-FTR-18"""

    def ask() -> int:
        client = visit.client_of(house.manager)
        with CaptureQueriesContext(connection) as asked:
            at(client, "desk_calls")
        return len(asked)

    def one_more() -> None:
        more(house, amount="863000")
        price("50000")
        for call in MarginCall.objects.all():
            call_records.noted(call_id=call.pk, note="x", actor=house.decider, at=TEN)

    one_more()
    few = ask()
    one_more()
    one_more()
    assert MarginCall.objects.count() == 4
    assert ask() == few


# --- A call's page --------------------------------------------------------------------------------------


def test_the_record_tells_events_notices_channels_and_what_was_said(house: Desk, settings: Any) -> None:
    """R-FTR-18, R-GEN-65, TRUST B-16"""
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    contacts.add(
        customer_id=house.owner.pk,
        name="Night <b>desk</b>",
        channel="email",
        address="night@aare.example",
        after_minutes=30,
        actor=house.borrower,
        at=TEN,
    )
    price("60000", TEN + MINUTE)
    price("50000", TEN + 2 * MINUTE)
    notices.deliver_due(at=TEN + 10 * MINUTE)
    call = MarginCall.objects.get(ended_at__isnull=True)
    with visit.at(TEN + 10 * MINUTE):
        client = visit.client_of(house.manager)
        write(client, call, note="<script>alert(1)</script> spoke to Mia")
        response = client.get(reverse("loans:margin_call", args=[call.pk]))
    assert b"<script>alert(1)" not in response.content
    assert b"<b>desk" not in response.content
    text = text_of(response)
    assert "Margin call the engine LTV 80.00 %" in text
    assert "E-mail: sent, accepted for 1 of 1" in text
    assert (
        "E-mail to Night <b>desk</b>: waits, until it is due, unless somebody acknowledges it before" in text
    )
    assert f"Contacted {house.manager.name} Phone <script>alert(1)</script> spoke to Mia" in text


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"kind": "promised"}, "Say by when"),
        ({"kind": "promised", "promised_by": "soon"}, "Write the time in UTC"),
        ({"kind": "promised", "promised_by": "2026-01-01 09:00"}, "A promise names a time after now"),
        ({"kind": "promised", "promised_by": "2026-02-01 09:00"}, "8 January 2026, 10:00 UTC"),
        ({"kind": "note", "note": "  "}, "Write what is to be remembered"),
        ({"kind": "acknowledged"}, "acknowledged is not one of"),
        ({"way": "pigeon"}, "pigeon is not one of"),
    ],
)
def test_what_cannot_be_written_is_said_at_the_form(house: Desk, told: dict[str, str], words: str) -> None:
    """R-FTR-18: that the client knows is for the client to say"""
    before = moved()
    response = write(visit.client_of(house.manager), the_call(), **told)
    assert response.status_code == 422
    assert words in text_of(response)
    assert moved() == before


def test_a_note_stays_possible_and_a_contact_does_not(house: Desk) -> None:
    """R-FTR-18"""
    call = the_call()
    price("60000", TEN + MINUTE)
    with visit.later(house.manager, TEN + 2 * MINUTE) as client:
        refused = write(client, call)
        assert refused.status_code == 422
        assert "it is cured. You can still leave a note." in text_of(refused)
        assert write(client, call, kind="note", note="Paid by wire").status_code == 302
        assert "Paid by wire" in at(client, "margin_call", call.pk)


# --- Messages -------------------------------------------------------------------------------------------


def test_a_message_is_looked_at_and_then_sent_with_the_figures_of_then(house: Desk) -> None:
    """R-FTR-18"""
    call, client = the_call(), visit.client_of(house.manager)
    path = reverse("loans:margin_call_message", args=[call.pk, "reminder"])
    before = moved()
    shown = text_of(client.get(path))
    assert "LTV is 80 % now" in shown
    assert f"Send it to {house.owner.name}" in shown
    assert moved() == before
    price("48000", TEN + MINUTE)
    key = str(uuid4())
    with visit.later(house.manager, TEN + MINUTE) as later:
        for _ in range(2):  # pressed twice
            assert later.post(path, {"key": key}).status_code == 302
        again = later.post(path, {"key": str(uuid4())})
        assert again.status_code == 422
        assert "the next can go at 1 January 2026, 11:01 UTC" in text_of(again)
        assert "again 1 Jan 2026, 11:01 UTC" in at(later, "margin_call", call.pk)
    [notice] = Notice.objects.filter(kind="call_message")
    assert "LTV is 83.33 % now" in notice.body
    assert Decimal(notice.facts["ltv"]).quantize(Decimal("1e-4")) == Decimal("0.8333")
    assert notice.deliveries.filter(due_at=TEN + MINUTE, channel="email").exists()


def test_a_message_that_is_none_does_not_exist(house: Desk) -> None:
    """R-FTR-18"""
    path = reverse("loans:margin_call_message", args=[the_call().pk, "threat"])
    assert visit.client_of(house.manager).get(path).status_code == 404


def test_after_the_call_nothing_is_sent(house: Desk) -> None:
    """R-FTR-18"""
    call = the_call()
    price("60000", TEN + MINUTE)
    before = moved()
    path = reverse("loans:margin_call_message", args=[call.pk, "help"])
    with visit.later(house.manager, TEN + 2 * MINUTE) as client:
        shown = text_of(client.get(path))
        assert "This call ended on 1 Jan 2026, 10:01 UTC" in shown
        assert "Send it to" not in shown
        assert client.post(path, {"key": str(uuid4())}).status_code == 422
    assert moved() == before


def test_the_desk_sees_whom_a_client_wants_told(house: Desk) -> None:
    """R-FTR-03"""
    contacts.add(
        customer_id=house.owner.pk,
        name="Night desk",
        channel="sms",
        address="+41791234567",
        after_minutes=15,
        actor=Actor.user(house.applicant),
        at=TEN,
    )
    text = at(visit.client_of(house.manager), "client_notices", house.owner.pk)
    assert "Night desk SMS, urgent, after 15 min without an acknowledgement +41791234567" in text
