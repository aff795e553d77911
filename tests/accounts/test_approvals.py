"""Four eyes: what one person proposes and another releases, exactly that, once."""

import types
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
from django.db import IntegrityError, InternalError, models, transaction
from django.urls import get_resolver
from django.utils import translation
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts import approvals, inbox, tongue
from accounts.approvals import (
    AlreadyProposed,
    BadPolicy,
    NotPending,
    NotProposable,
    NotYourProposal,
    OwnProposal,
)
from accounts.commands import (
    Actor,
    FourEyes,
    NeedsApproval,
    NotYourRole,
    acting,
    command,
    digest,
    registered,
    told,
)
from accounts.errors import Refused
from accounts.models import Approval, AuditRecord, Customer, User
from accounts.payloads import BadPayload, arguments_of, read
from accounts.words import tell
from risk.levels import Lines
from tests import build
from tests.build import BUILDER, NOON

HOUR = timedelta(hours=1)
LATER = NOON + HOUR
CLOSED = "closed"


@command(
    "test.credit",
    returns=Customer,
    four_eyes=FourEyes(
        makers=frozenset({User.Role.VIP_MANAGER, User.Role.RISK_OFFICER}),
        needed=lambda given: given["amount"] > 10,
        worth=lambda given: given["amount"],
    ),
)
def credit(
    *, customer_id: int, amount: Decimal, note: str = "", actor: Actor, at: datetime, reason: str = ""
) -> Customer:
    """Stands for a command that moves something: the name of the customer tells what was done, and by whom."""
    customer = Customer.objects.select_for_update().get(pk=customer_id)
    if CLOSED in (note, customer.name):
        raise Refused("There is nothing to credit.")
    customer.name = f"{customer.name}+{amount}"
    customer.save(update_fields=["name"])
    return customer


@pytest.fixture
def firm(db: None) -> Customer:
    return build.customer("Firm")


@pytest.fixture
def maker(db: None) -> User:
    return build.user("risk_officer", name="Mia Maker")


@pytest.fixture
def checker(db: None) -> User:
    return build.user("admin", name="Chris Checker")


def proposed(firm: Customer, maker: User, amount: str = "100", **changes: Any) -> Approval:
    arguments = {"customer_id": firm.pk, "amount": Decimal(amount)} | changes
    return approvals.propose(
        command="test.credit",
        arguments=arguments,
        title=f"Credit {amount}",
        preview={},
        reason="They asked for it",
        actor=Actor.user(maker),
        at=NOON,
    )


def name_of(firm: Customer) -> str:
    return Customer.objects.get(pk=firm.pk).name


# --- One proposes, another releases -------------------------------------------------------------------


def test_what_was_proposed_runs_as_its_maker_when_another_releases_it(
    firm: Customer, maker: User, checker: User
) -> None:
    """R-ADM-03, R-ADM-05, TRUST I-24: both names and both reasons are kept, and what was before and after."""
    approval = proposed(firm, maker)
    assert (approval.status, name_of(firm)) == ("pending", "Firm")

    done = approvals.release(approval_id=approval.pk, actor=Actor.user(checker), at=LATER, reason="Seen")

    assert name_of(firm) == "Firm+100"
    assert (done.status, done.decided_by, done.decided_at, done.decision_reason) == (
        "released",
        checker,
        LATER,
        "Seen",
    )
    assert Approval.objects.get(pk=approval.pk).result == f"accounts.customer:{firm.pk}"
    ran = AuditRecord.objects.get(subject="test.credit")
    assert ran.actor == Actor.user(maker).label
    assert ran.reason == f"They asked for it ({approval}, released by Chris Checker)"
    changed = AuditRecord.objects.get(subject=f"accounts_customer:{firm.pk}", kind="update")
    assert (changed.actor, changed.reason) == (ran.actor, ran.reason)
    assert (changed.before, changed.after) == ({"name": "Firm"}, {"name": "Firm+100"})
    signed = AuditRecord.objects.filter(subject=f"accounts_approval:{approval.pk}", kind="update")
    assert set(signed.values_list("actor", flat=True)) == {Actor.user(checker).label}


def test_a_proposal_is_english_in_the_database_and_said_in_its_readers_language(
    firm: Customer, maker: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R-ADM-03: the record is one text; who decides reads title and preview in their own language."""
    monkeypatch.setattr(tongue, "gettext", {"Credit {amount}": "Kreditera {amount}", "yes": "ja"}.get)
    asked = approvals.propose(
        command="test.credit",
        arguments={"customer_id": firm.pk, "amount": Decimal(100)},
        title=tell("Credit {amount}", amount=100),
        preview={"Possible": tell("yes"), "usage": [1]},
        reason="They asked for it",
        actor=Actor.user(maker),
        at=NOON,
    )
    row = Approval.objects.values("title", "preview").get(pk=asked.pk)
    assert row == {"title": "Credit 100", "preview": {"Possible": "yes", "usage": [1]}}
    found = Approval.objects.get(pk=asked.pk)
    assert (found.title, found.preview) == (row["title"], row["preview"])
    with translation.override("sv"):
        assert (tongue.say(found.title), tongue.say(found.preview["Possible"])) == ("Kreditera 100", "ja")


def test_alone_nobody_does_it(firm: Customer, maker: User) -> None:
    """R-ADM-03: neither by calling the command, nor by releasing one's own proposal."""
    with pytest.raises(NeedsApproval):
        credit(customer_id=firm.pk, amount=Decimal(100), actor=Actor.user(maker), at=NOON)
    approval = proposed(firm, maker)
    with pytest.raises(OwnProposal, match="your own proposal"):
        approvals.release(approval_id=approval.pk, actor=Actor.user(maker), at=NOON)
    with pytest.raises(OwnProposal):
        approvals.refuse(approval_id=approval.pk, actor=Actor.user(maker), at=NOON, reason="mine")
    assert name_of(firm) == "Firm"
    assert Approval.objects.get().status == "pending"


def test_the_database_refuses_a_self_release_too(firm: Customer, maker: User) -> None:
    """TRUST I-24: the constraint, whatever Python does."""
    approval = proposed(firm, maker)
    with (
        pytest.raises(IntegrityError, match="nobody_releases_their_own_proposal"),
        acting(BUILDER),
    ):
        Approval.objects.filter(pk=approval.pk).update(status="released", decided_by=maker)


def test_the_database_lets_nothing_be_decided_twice_or_edited(
    firm: Customer, maker: User, checker: User
) -> None:
    """TRUST I-24: a decision stands, and what was proposed cannot become something else."""
    approval = proposed(firm, maker)
    approvals.refuse(approval_id=approval.pk, actor=Actor.user(checker), at=LATER, reason="No")
    with pytest.raises((IntegrityError, InternalError), match="already"), acting(BUILDER):
        Approval.objects.filter(pk=approval.pk).update(status="released", decided_by=checker)
    with pytest.raises(Exception, match="permission denied"), transaction.atomic():
        Approval.objects.filter(pk=approval.pk).update(payload={"customer_id": 1})


@pytest.mark.parametrize("role", ["borrower", "vip_manager", "finance", "auditor"])
def test_only_a_checkers_role_decides(firm: Customer, maker: User, role: str) -> None:
    """R-ADM-03"""
    approval, other = proposed(firm, maker), Actor.user(build.user(role))
    with pytest.raises(NotYourRole, match="risk officer"):
        approvals.release(approval_id=approval.pk, actor=other, at=NOON)
    with pytest.raises(NotYourRole):
        approvals.refuse(approval_id=approval.pk, actor=other, at=NOON, reason="No")
    assert (name_of(firm), Approval.objects.get().status) == ("Firm", "pending")


def test_a_job_or_a_person_who_left_releases_nothing(firm: Customer, maker: User, checker: User) -> None:
    """R-ADM-03"""
    approval = proposed(firm, maker)
    with acting(BUILDER):
        User.objects.filter(pk=checker.pk).update(is_active=False)
    for actor in (Actor.user(checker), Actor.job("night")):
        with pytest.raises(NotYourRole):
            approvals.release(approval_id=approval.pk, actor=actor, at=NOON)
    assert name_of(firm) == "Firm"


def test_a_maker_who_lost_the_role_cannot_be_released_any_more(
    firm: Customer, maker: User, checker: User
) -> None:
    """R-ADM-03: it runs as the maker, with what the maker may do by then."""
    approval = proposed(firm, maker)
    with acting(BUILDER):
        User.objects.filter(pk=maker.pk).update(role="auditor")
    with pytest.raises(NotYourRole):
        approvals.release(approval_id=approval.pk, actor=Actor.user(checker), at=NOON)
    assert (name_of(firm), Approval.objects.get().status) == ("Firm", "pending")


# --- What may be proposed -----------------------------------------------------------------------------


def test_a_small_one_runs_at_once_and_a_large_one_waits(firm: Customer, maker: User) -> None:
    """R-ADM-03: configured per action and amount."""

    def ask(amount: str) -> Approval | None:
        return approvals.run_or_propose(
            command="test.credit",
            arguments={"customer_id": firm.pk, "amount": Decimal(amount)},
            title="Credit",
            preview={},
            reason="Asked",
            actor=Actor.user(maker),
            at=NOON,
        )

    assert ask("10") is None
    assert name_of(firm) == "Firm+10"
    waiting = ask("11")
    assert waiting is not None
    assert (waiting.status, name_of(firm)) == ("pending", "Firm+10")


def test_a_policy_begins_at_an_amount_and_needs_two_people_itself(
    firm: Customer, maker: User, checker: User
) -> None:
    """R-ADM-03: a dated policy says above which worth."""
    policy = {"governed": "test.credit", "required": True, "above_usd": Decimal(1000)}
    with pytest.raises(NeedsApproval):
        approvals.publish_policy(**policy, actor=Actor.user(maker), at=NOON)
    asked = approvals.propose(
        command="approvals.publish_policy",
        arguments=policy,
        title="Up to 1,000 alone",
        preview={},
        reason="Small ones",
        actor=Actor.user(maker),
        at=NOON,
    )
    approvals.release(approval_id=asked.pk, actor=Actor.user(checker), at=LATER)

    credit(customer_id=firm.pk, amount=Decimal(1000), actor=Actor.user(maker), at=LATER)
    with pytest.raises(NeedsApproval):
        credit(customer_id=firm.pk, amount=Decimal(1001), actor=Actor.user(maker), at=LATER)
    with pytest.raises(NeedsApproval):  # before the policy was in force
        credit(customer_id=firm.pk, amount=Decimal(1000), actor=Actor.user(maker), at=LATER - HOUR / 2)
    assert name_of(firm) == "Firm+1000"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"governed": "approvals.publish_policy"}, "not relaxed"),
        ({"above_usd": Decimal("NaN")}, "no amount"),
        ({"above_usd": Decimal(-1)}, "no amount"),
        ({"effective_at": NOON - HOUR}, "backdated"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(db: None, wrong: dict[str, Any], words: str) -> None:
    """R-ADM-03"""
    with pytest.raises(BadPolicy, match=words):
        approvals.publish_policy(
            **{"governed": "test.credit", "required": False} | wrong, actor=BUILDER, at=NOON
        )


def test_what_the_command_would_refuse_is_not_proposed(firm: Customer, maker: User) -> None:
    """R-ADM-03: it is rehearsed, and nothing of the rehearsal stays."""
    with pytest.raises(Refused, match="nothing to credit"):
        proposed(firm, maker, note=CLOSED)
    assert not Approval.objects.exists()
    proposed(firm, maker)
    assert name_of(firm) == "Firm"
    assert not AuditRecord.objects.filter(subject="test.credit").exists()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"command": "no.such"}, "no.such"),
        ({"command": "people.set_vip_level"}, "nothing that a second person releases"),
        ({"reason": "  "}, "Say why"),
        ({"reason": "x" * 2001}, "Say why"),
        ({"hours": 0}, "1 to 720"),
        ({"hours": 721}, "1 to 720"),
    ],
)
def test_a_proposal_that_makes_no_sense_is_refused(
    firm: Customer, maker: User, wrong: dict[str, Any], words: str
) -> None:
    """R-ADM-03"""
    call = {
        "command": "test.credit",
        "arguments": {"customer_id": firm.pk, "amount": Decimal(100)},
        "title": "Credit",
        "preview": {},
        "reason": "Asked",
    }
    with pytest.raises(NotProposable, match=words):
        approvals.propose(**call | wrong, actor=Actor.user(maker), at=NOON)
    assert not Approval.objects.exists()


def test_the_same_waits_once(firm: Customer, maker: User) -> None:
    """R-ADM-03"""
    first = proposed(firm, maker)
    with pytest.raises(AlreadyProposed, match=str(first)):
        proposed(firm, maker)
    proposed(firm, maker, amount="101")
    assert Approval.objects.count() == 2


def test_somebody_without_the_role_proposes_nothing(firm: Customer) -> None:
    """R-ADM-01, R-ADM-03"""
    for role in ("borrower", "finance", "auditor", "admin"):
        with pytest.raises(NotYourRole):
            proposed(firm, build.user(role))
    assert not Approval.objects.exists()


# --- Decided once, in time ----------------------------------------------------------------------------


def test_a_command_that_refuses_leaves_the_proposal_waiting(
    firm: Customer, maker: User, checker: User
) -> None:
    """R-ADM-03: the checker sees why, nothing changed, and it can be released later."""
    approval = proposed(firm, maker)
    with acting(BUILDER):
        Customer.objects.filter(pk=firm.pk).update(name=CLOSED)
    before = AuditRecord.objects.count()

    with pytest.raises(Refused, match="nothing to credit"):
        approvals.release(approval_id=approval.pk, actor=Actor.user(checker), at=LATER)

    waiting = Approval.objects.get(pk=approval.pk)
    assert (waiting.status, waiting.decided_by, waiting.result) == ("pending", None, "")
    assert (AuditRecord.objects.count(), name_of(firm)) == (before, CLOSED)


def test_a_tampered_payload_is_not_run(firm: Customer, maker: User) -> None:
    """R-ADM-03, TRUST I-24: the hash names the arguments."""
    approval = proposed(firm, maker)
    approval.payload = {**approval.payload, "amount": "1000000"}
    with pytest.raises(BadPayload, match="not those that were proposed"):
        approvals.stored_arguments(approval)


def test_a_proposal_lapses_and_the_job_says_so(firm: Customer, maker: User, checker: User) -> None:
    """R-ADM-03, TRUST I-24: 72 hours, unless said otherwise."""
    approval = proposed(firm, maker)
    end = NOON + timedelta(hours=72)
    assert approval.expires_at == end
    assert approvals.expire_due(at=end - timedelta(seconds=1)) == 0
    with pytest.raises(NotPending, match="lapsed"):
        approvals.release(approval_id=approval.pk, actor=Actor.user(checker), at=end)

    assert approvals.expire_due(at=end) == 1
    assert approvals.expire_due(at=end) == 0

    assert Approval.objects.get().status == "expired"
    with pytest.raises(NotPending, match="expired"):
        approvals.release(approval_id=approval.pk, actor=Actor.user(checker), at=end)
    assert name_of(firm) == "Firm"
    assert proposed(firm, maker).pk != approval.pk


def test_a_refusal_needs_a_reason_and_is_final(firm: Customer, maker: User, checker: User) -> None:
    """R-ADM-03"""
    approval = proposed(firm, maker)
    with pytest.raises(NotProposable, match="Say why"):
        approvals.refuse(approval_id=approval.pk, actor=Actor.user(checker), at=LATER, reason=" ")
    approvals.refuse(approval_id=approval.pk, actor=Actor.user(checker), at=LATER, reason="Too much")
    with pytest.raises(NotPending, match="refused"):
        approvals.release(approval_id=approval.pk, actor=Actor.user(checker), at=LATER)
    assert name_of(firm) == "Firm"


def test_only_the_maker_takes_it_back(firm: Customer, maker: User, checker: User) -> None:
    """R-ADM-03"""
    approval = proposed(firm, maker)
    with pytest.raises(NotYourProposal, match="Mia Maker"):
        approvals.withdraw(approval_id=approval.pk, actor=Actor.user(checker), at=LATER)
    approvals.withdraw(approval_id=approval.pk, actor=Actor.user(maker), at=LATER)
    assert Approval.objects.get().status == "withdrawn"
    with pytest.raises(NotPending):
        approvals.release(approval_id=approval.pk, actor=Actor.user(checker), at=LATER)


def test_of_two_checkers_at_once_one_has_an_effect(
    committed_db: object, in_threads: Callable[[list[Callable[[], Any]]], list[Any]]
) -> None:
    """R-ADM-03, TRUST C-10"""
    firm, maker = build.customer("Firm"), build.user("risk_officer")
    checkers = [build.user("risk_officer"), build.user("admin")]
    approval = proposed(firm, maker)

    def release(by: User) -> Callable[[], Any]:
        return lambda: approvals.release(approval_id=approval.pk, actor=Actor.user(by), at=LATER)

    results = in_threads([release(by) for by in checkers])

    assert name_of(firm) == "Firm+100"
    assert sum(isinstance(result, Approval) for result in results) == 1
    assert sum(isinstance(result, NotPending) for result in results) == 1


# --- Who sees what ------------------------------------------------------------------------------------


def test_each_sees_what_is_theirs_to_see(firm: Customer, maker: User, checker: User) -> None:
    """R-ADM-01, R-ADM-03"""
    approval = proposed(firm, maker)
    stranger, manager = build.user("vip_manager"), build.user("vip_manager")
    with acting(BUILDER):
        Customer.objects.filter(pk=firm.pk).update(manager=manager)
    about = approvals.propose(
        command="test.credit",
        arguments={"customer_id": firm.pk, "amount": Decimal(50)},
        title="For the firm",
        preview={},
        reason="Asked",
        actor=Actor.user(stranger),
        at=NOON,
        customer=firm,
    )
    both = {approval.pk, about.pk}
    assert {row.pk for row in inbox.visible_to(build.user("auditor"))} == both
    assert {row.pk for row in inbox.visible_to(manager)} == {about.pk}
    assert {row.pk for row in inbox.visible_to(stranger)} == {about.pk}
    assert not inbox.visible_to(build.user("borrower")).exists()
    assert {row.pk for row in inbox.waiting_for(checker, at=NOON)} == both
    assert {row.pk for row in inbox.waiting_for(maker, at=NOON)} == {about.pk}
    assert not inbox.waiting_for(build.user("auditor"), at=NOON).exists()


# --- The payload --------------------------------------------------------------------------------------

TIMES = st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=45))]))
NUMBERS = st.decimals(allow_nan=False, allow_infinity=False, places=12, min_value=-(10**9), max_value=10**9)


@st.composite
def some_lines(draw: st.DrawFn) -> Lines:
    shares = draw(st.lists(st.integers(1, 900), min_size=4, max_size=4, unique=True).map(sorted))
    return Lines(*(Decimal(share).scaleb(-3) for share in shares), Decimal("0.02"))


SCALARS: dict[Any, st.SearchStrategy[Any]] = {
    Any: st.none() | st.integers() | st.text(max_size=9),
    bool: st.booleans(),
    int: st.integers(-(10**12), 10**12),
    str: st.text(max_size=12),
    Decimal: NUMBERS,
    datetime: TIMES,
    timedelta: st.timedeltas(timedelta(0), timedelta(days=9)),
    Lines: some_lines(),
    type(None): st.none(),
}


def values_of(hint: Any) -> st.SearchStrategy[Any]:
    """Any value of an argument's type, dataclasses by their fields; rows are those the test made."""
    origin, inner = get_origin(hint), get_args(hint)
    if hint in SCALARS:
        return SCALARS[hint]
    if origin is Literal:
        return st.sampled_from(inner)
    if origin in (Union, types.UnionType):
        return st.one_of([values_of(one) for one in inner])
    if origin is tuple and inner[-1] is not Ellipsis:
        return st.tuples(*(values_of(one) for one in inner))
    if origin in (set, frozenset):
        return st.frozensets(values_of(inner[0]), max_size=3)
    if origin is not None and issubclass(origin, Mapping):
        return st.dictionaries(values_of(inner[0]), values_of(inner[1]), max_size=3)
    if origin is not None:
        listed = st.lists(values_of(inner[0]), max_size=3)
        return listed.map(tuple) if origin is tuple else listed
    if issubclass(hint, Enum):
        return st.sampled_from(hint)
    if issubclass(hint, models.Model):
        return st.deferred(lambda: st.just(hint._default_manager.first()))
    fields = get_type_hints(hint)
    return st.builds(hint, **{name: values_of(one) for name, one in fields.items()})


def four_eyed() -> list[str]:
    """Every command that can need four eyes: all of them are known once the pages are."""
    get_resolver().url_patterns  # noqa: B018  importing the pages imports the chapters
    return sorted(name for name, one in registered.items() if one.four_eyes is not None)


@pytest.mark.parametrize("name", four_eyed())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_what_is_stored_is_read_back_exactly(db: None, name: str, data: st.DataObject) -> None:
    """R-ADM-03, TRUST I-24: for every command that can be proposed, and every argument it takes."""
    if not Customer.objects.exists():
        build.asset("BTC")
        build.customer()
    hints = get_type_hints(registered[name].function)
    asked = {k: v for k, v in hints.items() if k not in {"actor", "at", "key", "reason", "return"}}
    arguments = {k: data.draw(values_of(hint), label=k) for k, hint in asked.items()}

    rebuilt = arguments_of(registered[name], told(arguments), payload_hash=digest(name, arguments))

    assert told(rebuilt) == told(arguments)
    assert digest(name, rebuilt) == digest(name, arguments)
    for key, value in arguments.items():
        if isinstance(value, (Decimal, datetime, Lines, models.Model)):
            assert rebuilt[key] == value


@pytest.mark.parametrize(
    ("hint", "plain"),
    [
        (int, True),
        (int, "1"),
        (bool, 1),
        (str, 1),
        (Decimal, "one"),
        (Decimal, 1),
        (datetime, "yesterday"),
        (Customer, "accounts.asset:BTC"),
        (tuple[int, int], [1]),
        (list[int], "12"),
        (int | None, "x"),
        (Lines, {"initial": "0.9"}),
    ],
)
def test_what_is_of_another_type_is_not_read(hint: Any, plain: Any) -> None:
    """R-ADM-03"""
    with pytest.raises((ValueError, TypeError, ArithmeticError)):
        read(hint, plain)


def test_a_payload_whose_row_is_gone_or_whose_type_changed_is_refused(db: None) -> None:
    """R-ADM-03"""
    found = registered["test.credit"]
    with pytest.raises(BadPayload, match="propose it anew"):
        arguments_of(found, {"customer_id": "seven"}, payload_hash="")
    with pytest.raises(BadPayload, match="propose it anew"):
        arguments_of(found, {"customer": 7}, payload_hash="")
