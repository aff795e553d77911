"""A client's timeline: one order over everything, cut by the database, told from the rows themselves."""

import re
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.http import HttpResponse
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts import approvals
from accounts.commands import Actor
from loans import auto_cure, client_file, clients, cure_rules, timeline
from loans.happenings import Entry, Topic
from loans.vip import origination
from risk import deleveraging, gate, sweep
from tests import build
from tests.build import TEN
from tests.loans import desk as desks
from tests.loans import talks
from tests.loans.desk import Desk
from tests.loans.visit import at, client_of

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)


@pytest.fixture
def desk(db: None) -> Desk:
    return desks.set_up()


def told(desk: Desk, *topics: Topic, instant: datetime = TEN + 24 * HOUR) -> list[Entry]:
    return timeline.told(timeline.index(desk.owner, topics=topics, at=instant))


def titles(desk: Desk, *topics: Topic) -> list[str]:
    return [entry.title for entry in told(desk, *topics)]


def note(desk: Desk, text: str, instant: datetime = TEN, kind: str = "call", **more: Any) -> None:
    client_file.note(customer_id=desk.owner.pk, kind=kind, text=text, actor=desk.decider, at=instant, **more)


def page(desk: Desk, query: str = "", *, instant: datetime = TEN + HOUR) -> HttpResponse:
    with at(instant):
        return client_of(desk.manager).get(f"/desk/clients/{desk.owner.pk}/timeline/{query}")


def text_of(response: HttpResponse) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()).replace("\xa0", " "))


def test_requests_offers_and_decisions_are_told(desk: Desk) -> None:
    """R-FTR-16: newest first."""
    application = talks.asked(desk)
    talks.move(
        "counter_offer", application, desk, at=TEN + timedelta(seconds=10), wanted=talks.wanted("0.082")
    )
    talks.move("decline_offer", application, desk, at=TEN + timedelta(seconds=20))
    origination.reject(
        application_id=application.pk, actor=desk.decider, at=TEN + HOUR, reason="Too concentrated"
    )
    assert titles(desk, Topic.REQUESTS) == [
        f"{application}: rejected",
        f"{application}: in negotiation, the desk’s move, version 3",
        f"{application}: the desk offered other terms, the client’s move, version 3",
        f"{application}: in negotiation, the desk’s move, version 2",
    ]
    last = told(desk, Topic.REQUESTS)[0]
    assert (last.words, last.by, last.link) == (
        "Too concentrated",
        desk.manager.name,
        ("request", application.pk),
    )


def test_loans_calls_and_sales_are_told(desk: Desk) -> None:
    """R-FTR-16: the loan with its amount, the call and the sale with their LTV."""
    loan = desks.drawn(desk)
    for minutes, btc in ((5, "50000"), (10, "42000")):
        desks.quote(TEN + timedelta(minutes=minutes), BTC=btc)
        sweep.sweep(at=TEN + timedelta(minutes=minutes))
    drawn = told(desk, Topic.LOANS)[-1]
    assert (drawn.title, drawn.amount, drawn.asset) == (f"{loan}: paid out", 1_000_000, "USDT")
    risk = told(desk, Topic.RISK)
    kinds = [entry.title.partition(": ")[2] for entry in risk]
    told_of = ["group opened", "margin call", "liquidation begins", "liquidation over", "margin call over"]
    assert [kind for kind in reversed(kinds) if kind in told_of] == told_of
    call = next(entry for entry in risk if entry.title.endswith("margin call"))
    assert (call.ltv, call.link) == (Decimal("0.8"), ("group", loan.group_id))


def test_a_chosen_step_and_a_rule_that_acted_are_told_as_what_they_are(desk: Desk) -> None:
    """R-FTR-16, R-FTR-04, R-FTR-05: neither is a liquidation"""
    group = desks.drawn(desk).group
    desks.spend(desk, "900000")
    choice = {"start": Decimal("0.8"), "target": Decimal("0.76"), "step_share": Decimal("0.1")}
    deleveraging.choose(group_id=group.pk, **choice, actor=desk.borrower, at=TEN)
    levels = {"trigger": Decimal("0.75"), "target": Decimal("0.72"), "most_each": Decimal(1000)}
    cure_rules.set_rule(group_id=group.pk, kind="repay", asset="USDT", **levels, actor=desk.borrower, at=TEN)
    for second in (0, 5):
        instant = TEN + HOUR + timedelta(seconds=second)
        build.prices(at=instant, BTC="48000", USDT="1")
        auto_cure.run_due(at=instant)
        sweep.sweep(at=instant)
    said = [title.partition(": ")[2] for title in titles(desk, Topic.RISK)]
    assert said.count("de-leveraging, one step") == said.count("a rule of the client's acted") == 1
    assert not any("liquidation" in title for title in said)


def test_notes_terms_proposals_and_movements_are_told(desk: Desk) -> None:
    """R-FTR-16: each with who did it."""
    note(desk, "Promised to repay half", kind="promise", due_at=TEN + 48 * HOUR)
    client_file.add_document(
        customer_id=desk.owner.pk,
        title="Accounts 2025",
        file_name="a.csv",
        content=b"a,b\n",
        actor=desk.decider,
        at=TEN + timedelta(minutes=1),
    )
    clients.set_client_terms(
        customer_id=desk.owner.pk,
        reason="As agreed",
        spread=Decimal("0.005"),
        actor=desk.decider,
        at=TEN + timedelta(minutes=2),
    )
    approvals.propose(
        command="loans.set_client_terms",
        arguments={"customer_id": desk.owner.pk, "spread": Decimal("-0.005"), "reason": "x"},
        title="Own terms",
        preview={},
        reason="A good client",
        actor=desk.decider,
        at=TEN + timedelta(minutes=3),
        customer=desk.owner,
    )
    gate.withdraw(
        account_uid=desk.sub.pk,
        asset="BTC",
        amount=Decimal(1),
        address="bc1q",
        actor=desk.borrower,
        at=TEN + timedelta(minutes=4),
    )
    found = [(entry.topic, entry.title) for entry in told(desk) if entry.topic is not Topic.NOTICES]
    assert [topic for topic, _ in found][:5] == [
        Topic.MOVEMENTS,
        Topic.APPROVALS,
        Topic.TERMS,
        Topic.DOCUMENTS,
        Topic.NOTES,
    ]
    assert found[2][1] == "Own terms, every coin: +0.5 % a year on the published rate"
    assert found[4][1] == "Promise to pay, by 3 Jan 2026, 10:00 UTC"
    assert {entry.by for entry in told(desk, Topic.NOTES, Topic.TERMS, Topic.APPROVALS)} == {
        desk.manager.name
    }


def test_what_is_still_to_come_is_not_told(desk: Desk) -> None:
    """R-FTR-16: terms from tomorrow are on the policy page, not in the past."""
    clients.set_client_terms(
        customer_id=desk.owner.pk,
        reason="From tomorrow",
        starts_at=TEN + 24 * HOUR,
        overdue_hours=48,
        actor=desk.decider,
        at=TEN,
    )
    assert [entry.title for entry in told(desk, Topic.TERMS, instant=TEN + HOUR)] == []
    assert len(told(desk, Topic.TERMS, instant=TEN + 24 * HOUR)) == 1


def test_nothing_of_another_client_is_told(desk: Desk) -> None:
    """R-ADM-01, R-FTR-16"""
    desks.drawn(desk)
    note(desk, "Only about this one")
    other = build.customer(manager=desk.manager)
    lines = timeline.index(other, topics=[*set(Topic) - {Topic.PAPERS}], at=TEN + 24 * HOUR)
    assert lines.count() == 0


def test_a_page_is_cut_filtered_and_linked(desk: Desk) -> None:
    """R-FTR-16: 50 lines a page; a line leads to what it is about."""
    for number in range(60):
        note(desk, f"Note {number}", TEN + timedelta(seconds=number))
    loan = desks.drawn(desk, at=TEN)
    first, second = page(desk, "?topic=notes"), page(desk, "?topic=notes&page=2")
    assert (len(first.context["rows"]), len(second.context["rows"])) == (50, 10)
    assert first.context["rows"][0].entry.words == "Note 59"
    assert second.context["rows"][-1].entry.words == "Note 0"
    assert "topic=notes&amp;page=2" in first.content.decode()
    seen = page(desk, "?topic=loans").content.decode()
    assert reverse("loans:loan", args=[loan.pk]) in seen
    assert page(desk, "?topic=nonsense&page=x").status_code == 200


def test_every_link_of_a_timeline_can_be_opened_by_its_reader(desk: Desk) -> None:
    """R-ADM-01, R-FTR-16: a manager's links lead to the desk; staff get none to pages that are not theirs."""
    desks.drawn(desk)
    note(desk, "Hello")
    for user in (desk.manager, build.user("auditor"), build.user("risk_officer")):
        with at(TEN + HOUR):
            client = client_of(user)
            answer = client.get(f"/desk/clients/{desk.owner.pk}/timeline/")
            urls = {row.url for row in answer.context["rows"] if row.url}
            assert urls
            assert {client.get(url).status_code for url in urls} == {200}


def test_a_page_asks_no_more_questions_for_more_lines(desk: Desk) -> None:
    """STYLE 15, R-FTR-16"""

    def ask() -> int:
        with CaptureQueriesContext(connection) as asked:
            assert page(desk).status_code == 200
        return len(asked)

    desks.drawn(desk, "600000")
    note(desk, "One")
    ask()
    few = ask()
    for number in range(5):
        note(desk, f"More {number}")
    sub = build.account(desk.owner)
    build.deposit(sub, "BTC", "20", at=build.LONG_AGO)
    desks.drawn(desk, "100000", account_uids=(sub.pk,), receiver_uid=build.account(desk.owner).pk)
    assert ask() == few


def test_the_client_and_other_managers_do_not_read_it(desk: Desk) -> None:
    """R-ADM-01, R-FTR-16: a borrower never sees notes; for them these pages do not exist."""
    note(desk, "Between us")
    document = client_file.add_document(
        customer_id=desk.owner.pk, title="A", file_name="a.txt", content=b"a", actor=desk.decider, at=TEN
    )
    urls = [f"/desk/clients/{desk.owner.pk}/{page}/" for page in ("timeline", "file", "policy")]
    urls.append(f"/desk/documents/{document.pk}/")
    with at(TEN):
        for url in urls:
            assert client_of(desk.manager).get(url).status_code == 200
            assert client_of(build.user("auditor")).get(url).status_code == 200
            assert client_of(desk.applicant).get(url).status_code == 404
            assert client_of(build.user("vip_manager")).get(url).status_code == 404
        home = client_of(desk.applicant).get("/", follow=True).content.decode()
    assert "Between us" not in home


def test_a_job_signs_as_one(desk: Desk) -> None:
    """R-FTR-16"""
    desks.drawn(desk)
    entry = told(desk, Topic.LOANS)[0]
    assert entry.by == desk.manager.name
    names = timeline.names_of(["job:sweep", "user:0", "user:x", Actor.user(desk.manager).label])
    assert names == {f"user:{desk.manager.pk}": desk.manager.name}
