"""What was said about a margin call, who may say it, and what is sent with the engine's figures. R-FTR-18"""

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts import contacts, notices
from accounts.commands import Actor, acting
from accounts.errors import Refused
from accounts.models import AuditRecord, Customer, Notice, User
from risk import book, call_messages, call_records, margin_calls, sweep
from risk.models import CallRecord, MarginCall, RiskEvent
from tests import build
from tests.build import BUILDER, NOON

pytestmark = pytest.mark.django_db
D = Decimal
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


@pytest.fixture
def manager() -> User:
    return build.user("vip_manager", name="Vera Kern")


@pytest.fixture
def member() -> User:
    return build.user(name="Mia Halden")


@pytest.fixture
def call(manager: User, member: User) -> MarginCall:
    """1,000,000 USDT on 25 BTC at 50,000: LTV 80 %, called at NOON."""
    group = build.secured_debt(rate="0").group
    with acting(BUILDER):
        Customer.objects.filter(pk=group.customer_id).update(manager=manager)
        group.customer.memberships.create(user=member, since=NOON)
    price("50000", at=NOON)
    return MarginCall.objects.get(group=group)


def price(btc: str, *, at: datetime) -> None:
    build.prices(at, BTC=btc, USDT="1")
    sweep.sweep(at=at)


def follow(call: MarginCall, at: datetime = NOON) -> call_records.Followed:
    return call_records.followed([MarginCall.objects.select_related("group").get(pk=call.pk)], at=at)[call.pk]


def promise(call: MarginCall, manager: User, by: datetime, at: datetime = NOON) -> CallRecord:
    return call_records.promised(
        call_id=call.pk, promised_by=by, way="phone", note="", actor=Actor.user(manager), at=at
    )


def acknowledge(call: MarginCall, member: User, at: datetime = NOON) -> Notice:
    [notice] = Notice.objects.filter(kind="margin_call", facts__margin_call=call.pk)
    return notices.acknowledge(notice_id=notice.pk, actor=Actor.user(member), at=at)


def everything() -> tuple[int, int, int]:
    return CallRecord.objects.count(), Notice.objects.count(), RiskEvent.objects.count()


# --- The record -------------------------------------------------------------------------------------------


def test_a_call_goes_from_called_to_promised_and_cured(call: MarginCall, manager: User, member: User) -> None:
    """R-FTR-18: every step of it derived"""
    assert (follow(call).stage, follow(call).promise) == ("called", None)
    acknowledge(call, member, NOON + 5 * MINUTE)
    known = follow(call, NOON + 5 * MINUTE)
    assert known.stage == "acknowledged"
    assert known.acknowledged is not None
    assert (known.acknowledged.acknowledged_by, known.minutes) == (member, 5)
    promise(call, manager, by=NOON + HOUR, at=NOON + 10 * MINUTE)
    assert (follow(call, NOON + HOUR).stage, follow(call, NOON + HOUR).promise) == ("promised", "running")
    late = follow(call, NOON + HOUR + MINUTE)
    assert (late.promise, late.is_broken) == ("broken", True)
    price("60000", at=NOON + 30 * MINUTE)
    cured = follow(call, NOON + 2 * HOUR)
    assert (cured.stage, cured.promise, cured.is_broken, cured.minutes) == ("cured", "kept", False, 30)


def test_a_sale_breaks_a_promise(call: MarginCall, manager: User) -> None:
    """R-FTR-18"""
    promise(call, manager, by=NOON + HOUR)
    with acting(BUILDER):
        margin_calls.end(call=call, how="liquidated", ltv=None, at=NOON + MINUTE)
    sold = follow(call, NOON + 2 * MINUTE)
    assert (sold.stage, sold.promise) == ("liquidated", "broken")


def test_a_later_promise_takes_the_place_of_the_one_before(call: MarginCall, manager: User) -> None:
    """R-FTR-18: both stay on the record, each judged by its own time"""
    promise(call, manager, by=NOON + MINUTE)
    promise(call, manager, by=NOON + HOUR, at=NOON + 10 * MINUTE)
    now = follow(call, NOON + 20 * MINUTE)
    assert [now.state_of(row) for row in now.promises] == ["broken", "running"]
    assert (now.promise, now.is_broken) == ("running", False)


def test_each_record_keeps_who_when_and_how_and_is_an_event(call: MarginCall, manager: User) -> None:
    """R-FTR-18, TRUST I-21"""
    row = call_records.contacted(
        call_id=call.pk, way="phone", note=" Spoke to Mia. ", actor=Actor.user(manager), at=NOON, key="k"
    )
    same = call_records.contacted(
        call_id=call.pk, way="phone", note=" Spoke to Mia. ", actor=Actor.user(manager), at=NOON, key="k"
    )
    assert (row, row.by, row.at, row.way, row.note) == (same, manager, NOON, "phone", "Spoke to Mia.")
    event = RiskEvent.objects.get(kind="call_record")
    assert event.facts == {"margin_call": call.pk, "record": row.pk, "kind": "contacted", "promised_by": None}
    assert AuditRecord.objects.filter(
        subject=f"risk_callrecord:{row.pk}", actor=f"user:{manager.pk}"
    ).exists()
    call_records.noted(call_id=call.pk, note="Prefers mail", actor=Actor.user(manager), at=NOON + MINUTE)
    assert follow(call).last_contact == row  # a note is no contact


Act = Callable[[MarginCall, User], Any]
ACTS: dict[str, Act] = {
    "contact": lambda call, user: call_records.contacted(
        call_id=call.pk, way="phone", actor=Actor.user(user), at=NOON
    ),
    "promise": lambda call, user: promise(call, user, by=NOON + HOUR),
    "note": lambda call, user: call_records.noted(call_id=call.pk, note="x", actor=Actor.user(user), at=NOON),
    "message": lambda call, user: call_messages.send(
        call_id=call.pk, template="reminder", actor=Actor.user(user), at=NOON
    ),
}


@pytest.mark.parametrize("act", ACTS)
def test_only_the_clients_own_manager_writes_and_sends(call: MarginCall, member: User, act: str) -> None:
    """R-FTR-18, R-ADM-01: staff look, other managers do not even that"""
    before = everything()
    others = [
        build.user(role) for role in ("vip_manager", "risk_officer", "ops", "finance", "auditor", "admin")
    ]
    for user in [*others, member]:
        with pytest.raises(Refused) as refused:
            ACTS[act](call, user)
        assert refused.value.code in {"not_your_role", "not_your_client"}
    assert everything() == before


@pytest.mark.parametrize("act", ACTS)
def test_after_its_end_only_a_note_is_left(call: MarginCall, manager: User, act: str) -> None:
    """R-FTR-18"""
    price("60000", at=NOON + MINUTE)
    before = everything()
    if act == "note":
        ACTS[act](call, manager)
        assert CallRecord.objects.count() == before[0] + 1
        return
    with pytest.raises(call_records.CallIsOver, match=r"ended on 1 January 2026, 12:01 UTC: it is cured"):
        ACTS[act](call, manager)
    assert everything() == before


@pytest.mark.parametrize(
    ("by", "is_taken"),
    [
        (timedelta(0), False),
        (timedelta(seconds=1), True),
        (timedelta(days=7), True),
        (timedelta(days=7, seconds=1), False),
        (-HOUR, False),
    ],
)
def test_a_promise_names_a_time_within_a_week(
    call: MarginCall, manager: User, by: timedelta, is_taken: bool
) -> None:
    """R-FTR-18"""
    if is_taken:
        assert promise(call, manager, by=NOON + by).promised_by == NOON + by
        return
    with pytest.raises(call_records.BadPromise, match="8 January 2026, 12:00 UTC"):
        promise(call, manager, by=NOON + by)
    assert not CallRecord.objects.exists()


def test_a_record_says_something_in_a_known_way(call: MarginCall, manager: User) -> None:
    """R-FTR-18"""
    actor = Actor.user(manager)
    with pytest.raises(call_records.BadCallRecord):
        call_records.contacted(call_id=call.pk, way="pigeon", actor=actor, at=NOON)
    for note in ("  ", "x" * 2001):
        with pytest.raises(call_records.BadCallRecord):
            call_records.noted(call_id=call.pk, note=note, actor=actor, at=NOON)
    assert not CallRecord.objects.exists()


def test_following_many_calls_asks_twice() -> None:
    """R-FTR-18: the list does not ask more for more rows"""

    def ask() -> int:
        calls = list(MarginCall.objects.select_related("group"))
        with CaptureQueriesContext(connection) as asked:
            assert len(call_records.followed(calls, at=NOON)) == len(calls)
        return len(asked)

    for number in range(3):
        build.secured_debt(rate="0")
        price("50000", at=NOON + number * MINUTE)
        assert ask() == 2
    assert MarginCall.objects.count() == 3


# --- Over -------------------------------------------------------------------------------------------------


def test_nobody_is_woken_for_a_call_that_is_over(call: MarginCall, settings: Any) -> None:
    """R-FTR-03, R-GEN-62: two calls of one group, one cured before the escalation was due"""
    customer = call.group.customer
    contacts.add(
        customer_id=customer.pk,
        name="Night desk",
        channel="email",
        address="night@aare.example",
        after_minutes=15,
        actor=BUILDER,
        at=NOON,
    )
    price("60000", at=NOON + MINUTE)
    price("50000", at=NOON + 10 * MINUTE)
    again = MarginCall.objects.get(group=call.group, ended_at__isnull=True)
    notice = Notice.objects.get(facts__margin_call=again.pk)
    assert notices.is_over(notice, at=NOON + 11 * MINUTE) is False
    price("60000", at=NOON + 11 * MINUTE)
    assert notices.is_over(notice, at=NOON + 11 * MINUTE) is True
    notices.deliver_due(at=NOON + HOUR)
    assert {row.status for row in notice.deliveries.filter(contact__isnull=False)} == {"dropped"}


# --- Messages ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "title", "words"),
    [
        (
            "reminder",
            "is in margin call, LTV 80 %",
            "The margin call line is 77 %; at 91 % your collateral is sold.",
        ),
        ("help", "Can we help with the margin call", "with LTV at 80 % now"),
        (
            "last_warning",
            "at 91 % collateral is sold",
            "BTC at 43,956.04 USD alone would be enough for that.",
        ),
    ],
)
def test_a_message_says_the_engines_own_figures(
    call: MarginCall, manager: User, template: str, title: str, words: str
) -> None:
    """R-FTR-18, R-GEN-65, EX-09: what acting on them needs is what the engine computes"""
    notice = call_messages.send(call_id=call.pk, template=template, actor=Actor.user(manager), at=NOON)
    state = book.state_of(call.group, at=NOON)
    below = margin_calls.cure_to(state=state, line=D("0.765000000000"), strictly_below=True)
    initial = margin_calls.cure_to(state=state, line=D("0.720000000000"), strictly_below=False)
    assert title in notice.title
    assert words in notice.body
    assert f"To end the call, with LTV below 76.5 %: {margin_calls.ways(state, below)}." in notice.body
    assert f"To get back to the initial line of 72 %: {margin_calls.ways(state, initial)}." in notice.body
    assert "Vera Kern" in notice.body
    assert notice.facts["below_call"] == margin_calls.cure_facts(below)
    assert (notice.kind, notice.customer) == ("call_message", call.group.customer)
    assert follow(call).last_contact is not None


def test_what_the_message_says_ends_the_call(call: MarginCall, manager: User) -> None:
    """R-FTR-18, R-GEN-62: depositing the coin it names is enough, one unit less is not"""
    notice = call_messages.send(call_id=call.pk, template="help", actor=Actor.user(manager), at=NOON)
    enough = D(notice.facts["below_call"]["add"]["BTC"])
    [member] = call.group.members.all()
    build.deposit(member.account, "BTC", f"{enough - D('0.00000001'):f}")
    price("50000", at=NOON + MINUTE)
    assert follow(call).stage == "called"
    build.deposit(member.account, "BTC", "0.00000001")
    price("50000", at=NOON + 2 * MINUTE)
    assert follow(call).stage == "cured"


def test_one_message_of_a_kind_an_hour(call: MarginCall, manager: User) -> None:
    """R-FTR-18"""

    def send(template: str, at: datetime) -> Notice:
        return call_messages.send(call_id=call.pk, template=template, actor=Actor.user(manager), at=at)

    send("reminder", NOON)
    send("help", NOON)  # another one may go
    before = everything()
    with pytest.raises(call_messages.SentJustNow, match="the next can go at 1 January 2026, 13:00 UTC"):
        send("reminder", NOON + HOUR - timedelta(seconds=1))
    with pytest.raises(call_messages.NoSuchTemplate):
        send("threat", NOON)
    assert everything() == before
    price("50000", at=NOON + HOUR)
    send("reminder", NOON + HOUR)
    assert Notice.objects.filter(kind="call_message").count() == 3


def test_acknowledging_a_message_answers_the_call(call: MarginCall, manager: User, member: User) -> None:
    """R-FTR-18, R-FTR-03"""
    notice = call_messages.send(call_id=call.pk, template="reminder", actor=Actor.user(manager), at=NOON)
    notices.acknowledge(notice_id=notice.pk, actor=Actor.user(member), at=NOON + MINUTE)
    assert follow(call).stage == "acknowledged"
    assert follow(call).acknowledged == notice


def test_without_a_price_nothing_is_sent(call: MarginCall, manager: User) -> None:
    """R-FTR-18, R-GEN-22: a coin owed that nobody can value has no figures"""
    build.asset("XRP")
    build.ratios("XRP")
    build.fund_pool("XRP", "10")
    build.debt(call.group, "XRP", "10", rate="0", at=NOON)
    before = everything()
    with pytest.raises(call_messages.NoFigures, match="no price of XRP"):
        call_messages.send(call_id=call.pk, template="reminder", actor=Actor.user(manager), at=NOON)
    assert everything() == before


def test_at_the_line_the_last_warning_names_no_price(call: MarginCall, manager: User) -> None:
    """R-FTR-18: 1,000,000 on 25 BTC at 43,000 is 93 %"""
    build.prices(NOON + MINUTE, BTC="43000", USDT="1")
    state = book.state_of(call.group, at=NOON + MINUTE)
    drafted = call_messages.draft(
        call=call, template=call_messages.Template.LAST_WARNING, state=state, manager=manager
    )
    assert "LTV of" in drafted.body
    assert "is 93.02 %, at or over the line of 91 %. Its collateral may be sold at any moment" in drafted.body
    assert "alone would be enough" not in drafted.body
