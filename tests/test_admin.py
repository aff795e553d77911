"""The console: staff look, an admin changes people and publishes parameters with a reason, nobody edits money."""

import re
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
import time_machine
from django import forms
from django.contrib import admin
from django.db import connection, models
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import NoReverseMatch, reverse

from accounts import approvals, people, users
from accounts.commands import Actor
from accounts.models import Approval, AuditRecord, Customer, User
from loans.models import RateCard
from risk import sweep
from risk.models import Limits, RatioSchedule
from tests import build
from tests.build import BUILDER, TEN
from tests.loans import desk
from tests.loans.desk import Desk

BACKEND = "allauth.account.auth_backends.AuthenticationBackend"
STAFF = ("risk_officer", "ops", "finance", "auditor", "admin")
MODELS = sorted(admin.site._registry, key=lambda model: model._meta.label)
TEXT = re.compile(r"<[^>]+>")


@pytest.fixture(autouse=True)
def _at_ten() -> Any:
    with time_machine.travel(TEN, tick=False):
        yield


@pytest.fixture
def house(db: None) -> Desk:
    """A desk with a loan that the sweep has looked at."""
    house = desk.set_up()
    desk.drawn(house)
    sweep.sweep(at=TEN)
    return house


def as_user(user: User) -> Client:
    client = Client()
    client.force_login(user, backend=BACKEND)
    return client


def page_of(model: type[models.Model], kind: str = "changelist", *args: Any) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{kind}", args=args)


# --- Who ----------------------------------------------------------------------------------------------


def test_the_console_is_for_staff_and_signs_in_at_the_desks_own_door(db: None) -> None:
    """R-ADM-01"""
    url = reverse("admin:index")
    answer = Client().get(url)
    assert answer.status_code == 302
    assert Client().get(answer.url).url.startswith(reverse("account_login"))
    for role in ("borrower", "vip_manager"):
        assert as_user(build.user(role)).get(url, follow=True).status_code == 403
    for role in STAFF:
        assert as_user(build.user(role)).get(url).status_code == 200


def test_only_the_desks_own_tables_are_shown(db: None) -> None:
    """Two-step secrets and the timetable belong to other packages, and to nobody's eyes."""
    assert {model._meta.app_label for model in MODELS} == {"accounts", "risk", "loans"}
    for name in ("mfa_authenticator", "django_celery_beat_periodictask", "auth_group"):
        with pytest.raises(NoReverseMatch):
            reverse(f"admin:{name}_changelist")


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_every_table_can_be_looked_at_and_none_edited(model: type[models.Model], house: Desk) -> None:
    """TRUST section 7: no add, no change, no delete, for any role."""
    row = model._default_manager.order_by("pk").first()
    for role in STAFF:
        client = as_user(build.user(role))
        assert client.get(page_of(model)).status_code == 200
        assert client.get(page_of(model), {"q": "1"}).status_code == 200
        assert client.get(page_of(model, "add")).status_code == 403
        assert client.post(page_of(model, "add"), {}).status_code == 403
        if row is None:
            continue
        assert client.get(page_of(model, "change", row.pk)).status_code == 200
        assert client.post(page_of(model, "change", row.pk), {"name": "x"}).status_code == 403
        assert client.get(page_of(model, "delete", row.pk)).status_code == 403
        assert client.post(page_of(model, "delete", row.pk), {"post": "yes"}).status_code == 403
        gone = {"action": "delete_selected", "_selected_action": [str(row.pk)], "post": "yes"}
        client.post(page_of(model), gone)
        assert model._default_manager.filter(pk=row.pk).exists()


def test_only_an_admin_is_offered_and_allowed_commands(house: Desk) -> None:
    """R-ADM-01"""
    urls = [
        reverse("admin:accounts_user_open_user"),
        reverse("admin:accounts_customer_set_vip_level", args=[house.owner.pk]),
        reverse("admin:risk_limits_publish"),
        reverse("admin:loans_ratecard_publish"),
    ]
    for role in ("risk_officer", "finance", "auditor", "vip_manager", "borrower"):
        client = as_user(build.user(role))
        for url in urls:
            assert client.get(url, follow=True).status_code == 403
            assert client.post(url, {"key": str(uuid4()), "reason": "x"}, follow=True).status_code == 403
    client = as_user(build.user("admin"))
    for url in urls:
        assert client.get(url).status_code == 200
    assert not AuditRecord.objects.filter(reason="x").exists()


def release() -> None:
    """A second person releases the one proposal that waits (R-ADM-03)."""
    waiting = Approval.objects.get(status=Approval.Status.PENDING)
    approvals.release(
        approval_id=waiting.pk, actor=Actor.user(build.user("risk_officer")), at=TEN + timedelta(minutes=1)
    )


# --- Commands with a reason -----------------------------------------------------------------------------


def send(client: Client, url: str, **data: Any) -> Any:
    return client.post(url, {"key": str(uuid4()), "reason": "asked for by letter"} | data)


def test_a_vip_level_is_set_with_a_reason_that_is_kept(house: Desk) -> None:
    """TRUST I-21, R-VIP-01"""
    boss = build.user("admin")
    url = reverse("admin:accounts_customer_set_vip_level", args=[house.owner.pk])
    assert send(as_user(boss), url, vip_level="7", reason="").status_code == 422
    assert Customer.objects.get(pk=house.owner.pk).vip_level == 1
    assert send(as_user(boss), url, vip_level="12").status_code == 422
    assert send(as_user(boss), url, vip_level="7").status_code == 302
    assert Customer.objects.get(pk=house.owner.pk).vip_level == 7
    told = AuditRecord.objects.get(subject="people.set_vip_level")
    assert (told.actor, told.reason) == (f"user:{boss.pk}", "asked for by letter")


def test_a_manager_is_assigned_and_a_customer_let_in(house: Desk) -> None:
    boss, other = as_user(build.user("admin")), build.user("vip_manager")
    manager = reverse("admin:accounts_customer_assign_manager", args=[house.owner.pk])
    assert send(boss, manager, manager_id=str(other.pk)).status_code == 302
    assert Customer.objects.get(pk=house.owner.pk).manager == other
    assert send(boss, manager, manager_id=str(house.applicant.pk)).status_code == 422
    assert send(boss, manager, manager_id="").status_code == 302
    assert Customer.objects.get(pk=house.owner.pk).manager is None
    whitelist = reverse("admin:accounts_customer_whitelist", args=[house.owner.pk])
    assert send(boss, whitelist, whitelisted="on").status_code == 302
    assert Customer.objects.get(pk=house.owner.pk).whitelisted


def test_a_member_is_limited_to_one_account_and_let_out_again(house: Desk) -> None:
    """R-GEN-95: but not the last one who acts for all."""
    boss, second = as_user(build.user("admin")), build.user()
    people.add_member(customer_id=house.owner.pk, user_id=second.pk, actor=build.BUILDER, at=TEN)
    url = reverse("admin:accounts_customer_limit_member", args=[house.owner.pk])
    assert send(boss, url, user_id=str(second.pk), account_uid=str(house.sub.pk)).status_code == 302
    assert second.memberships.get().account == house.sub
    last = send(boss, url, user_id=str(house.applicant.pk), account_uid=str(house.sub.pk))
    assert last.status_code == 422
    assert house.applicant.memberships.get().account is None
    assert send(boss, url, user_id=str(second.pk), account_uid="").status_code == 302
    assert second.memberships.get().account is None


def test_limits_are_published_as_percentages_and_kept_as_fractions(house: Desk) -> None:
    """R-GEN-43"""
    url, boss = reverse("admin:risk_limits_publish"), as_user(build.user("admin"))
    lines = {"initial_line": "65", "margin_call": "75", "liquidation": "83", "cutoff": "90", "fee": "2.5"}
    before = Limits.objects.count()
    assert send(boss, url, product="vip", **(lines | {"margin_call": "60"})).status_code == 422
    assert send(boss, url, product="vip", asset="NOPE", **lines).status_code == 422
    assert send(boss, url, product="vip", effective_at="2020-01-01 00:00", **lines).status_code == 422
    assert Limits.objects.count() == before
    assert send(boss, url, product="vip", asset="BTC", **lines).status_code == 302
    assert Limits.objects.count() == before
    release()
    row = Limits.objects.get(asset="BTC")
    assert (row.initial, row.margin_call, row.liquidation, row.cutoff) == tuple(
        Decimal(part) for part in ("0.65", "0.75", "0.83", "0.9")
    )
    assert (row.fee, row.effective_at) == (Decimal("0.025"), TEN + timedelta(minutes=1))


def test_a_rate_card_is_published_from_a_midnight(house: Desk) -> None:
    """R-VIP-18, R-VIP-22"""
    url, boss = reverse("admin:loans_ratecard_publish"), as_user(build.user("admin"))
    card = {"product": "vip", "asset": "USDT", "term_days": "30", "vip_level": "4", "annual_rate": "8.1"}
    assert send(boss, url, **card, effective_at="2026-01-02 10:00").status_code == 422
    key = str(uuid4())
    for _ in range(2):  # pressed twice
        assert send(boss, url, **card, effective_at="2026-01-02 00:00", key=key).status_code == 302
    release()
    assert RateCard.objects.get(vip_level=4).annual_rate == Decimal("0.081")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("risk_settings", {"confirm_seconds": "3", "slippage": "0.5"}),
        (
            "risk_feedrule",
            {"max_age_seconds": "30", "max_jump": "20", "min_sources": "1", "max_spread": "3"},
        ),
        ("risk_redemption", {"asset": "BTC", "underlying": "USDT", "ratio": "60000"}),
        ("risk_ratioschedule", {"asset": "BTC", "tiers": "0 95\n1000000 80.5", "rank": "10"}),
        ("risk_loanlimit", {"product": "vip", "asset": "BTC", "minimum": "100", "maximum": "200000"}),
        (
            "risk_flexiblerate",
            {"product": "vip", "asset": "BTC", "annual_rate": "5", "effective_at": "2026-01-02 00:00"},
        ),
        (
            "loans_product",
            {
                "code": "vip",
                "max_coins": "10",
                "max_accounts": "50",
                "first_minimum": "1",
                "later_minimum": "1",
                "renewal_days": "7",
                "overdue_hours": "168",
                "late_multiplier": "3",
            },
        ),
        ("accounts_agreement", {"version": "v9", "text": "Terms"}),
    ],
)
def test_every_kind_of_parameter_can_be_published(house: Desk, name: str, data: dict[str, str]) -> None:
    """R-ADM-03: proposed in the console, in force when a second person releases it."""
    model = next(model for model in MODELS if f"{model._meta.app_label}_{model._meta.model_name}" == name)
    boss, before = as_user(build.user("admin")), model._default_manager.count()
    url = reverse(f"admin:{name}_publish")
    assert boss.get(url).status_code == 200
    assert send(boss, url, reason="", **data).status_code == 422
    assert send(boss, url, **data).status_code == 302
    if name != "accounts_agreement":
        assert model._default_manager.count() == before
        release()
    assert model._default_manager.count() == before + 1


@pytest.mark.parametrize("huge", ["9" * 12, "9" * 30, "1e40", "NaN", "-1"])
@pytest.mark.parametrize(
    "name", ["risk_settings", "risk_feedrule", "risk_ratioschedule", "risk_loanlimit", "loans_product"]
)
def test_numbers_no_column_holds_are_refused_at_the_field(house: Desk, name: str, huge: str) -> None:
    """B-01, B-02: every number of the form; an error of the server before."""
    model = next(model for model in MODELS if f"{model._meta.app_label}_{model._meta.model_name}" == name)
    form, before = admin.site._registry[model].form_class(), model._default_manager.count()  # type: ignore[attr-defined]
    data = {
        field: huge
        for field, kind in form.fields.items()
        if isinstance(kind, forms.IntegerField | forms.DecimalField)
    }
    data |= {"product": "vip", "code": "vip", "asset": "BTC", "tiers": f"0 {huge}"}
    answer = send(as_user(build.user("admin")), reverse(f"admin:{name}_publish"), **data)
    assert answer.status_code == 422
    assert model._default_manager.count() == before


def test_publishing_at_once_twice_with_one_key_does_it_once(house: Desk) -> None:
    """R-GEN-06: "at once" is a later instant the second time, which is no reason to do it again or to complain."""
    boss, model = as_user(build.user("admin")), RatioSchedule
    before, key = model.objects.count(), str(uuid4())
    for seconds in (1, 2):
        with time_machine.travel(TEN + timedelta(seconds=seconds), tick=False):
            answer = send(
                boss,
                reverse("admin:risk_ratioschedule_publish"),
                asset="BTC",
                tiers="0 90",
                rank="1",
                key=key,
            )
        assert answer.status_code == 302
    release()
    assert model.objects.count() == before + 1


@pytest.mark.parametrize("tiers", ["", "5 95", "0 95\n0 80", "0 high", "0 101", "0"])
def test_tiers_that_mean_nothing_are_refused_at_the_field(house: Desk, tiers: str) -> None:
    """R-GEN-31"""
    url = reverse("admin:risk_ratioschedule_publish")
    assert send(as_user(build.user("admin")), url, asset="BTC", tiers=tiers, rank="1").status_code == 422


# --- Users ----------------------------------------------------------------------------------------------


def test_an_admin_opens_and_changes_users(db: None) -> None:
    boss = as_user(build.user("admin"))
    answer = send(
        boss, reverse("admin:accounts_user_open_user"), email="New@Example.com", name="Nia", role="auditor"
    )
    assert answer.status_code == 302
    made = User.objects.get(email="new@example.com")
    assert (made.role, made.has_usable_password()) == ("auditor", False)
    change = reverse("admin:accounts_user_change_user", args=[made.pk])
    assert send(boss, change, name="Nia Roe", role="finance", is_active="on").status_code == 302
    made.refresh_from_db()
    assert (made.name, made.role, made.is_active) == ("Nia Roe", "finance", True)


def test_nobody_takes_their_own_role_or_has_two(house: Desk) -> None:
    """R-ADM-01: nobody has two roles."""
    boss = build.user("admin")
    mine = reverse("admin:accounts_user_change_user", args=[boss.pk])
    assert send(as_user(boss), mine, name="Boss", role="auditor", is_active="on").status_code == 422
    assert send(as_user(boss), mine, name="Boss", role="admin").status_code == 422
    member = reverse("admin:accounts_user_change_user", args=[house.applicant.pk])
    assert send(as_user(boss), member, name="x", role="finance", is_active="on").status_code == 422
    manager = reverse("admin:accounts_user_change_user", args=[house.manager.pk])
    assert send(as_user(boss), manager, name="x", role="vip_manager").status_code == 422
    for user in (boss, house.applicant, house.manager):
        before = (user.name, user.role, user.is_active)
        user.refresh_from_db()
        assert (user.name, user.role, user.is_active) == before


def test_the_commands_themselves_refuse_who_is_no_admin(db: None) -> None:
    clerk = Actor.user(build.user("finance"))
    with pytest.raises(users.AdminOnly):
        users.open_user(email="a@b.com", name="A", role="admin", actor=clerk, at=TEN)
    taken = build.user().email
    with pytest.raises(users.UserExists):
        users.open_user(email=taken, name="A", role="admin", actor=BUILDER, at=TEN)
    with pytest.raises(users.BadUser):
        users.open_user(email="a@b.com", name="A", role="king", actor=BUILDER, at=TEN)


# --- Pages ----------------------------------------------------------------------------------------------


def test_the_front_page_says_whether_all_is_well(house: Desk) -> None:
    """R-ADM-06"""
    page = TEXT.sub(" ", as_user(build.user("auditor")).get(reverse("admin:index")).content.decode())
    page = re.sub(r"\s+", " ", page)
    assert "Groups 1 1 safe" in page
    assert "Prices 2 of 2 all fresh" in page
    assert "Behind with interest 0" in page
    assert "Last sweep 0 s ago" in page


def test_the_price_board_names_what_is_not_fresh_first(house: Desk) -> None:
    """R-GEN-22"""
    build.price("SOL", "100", at=build.LONG_AGO)
    page = as_user(build.user("auditor")).get(reverse("admin:risk_price_board")).content.decode()
    assert "2 of 3 are fresh" in page
    assert page.index("SOL") < page.index("BTC")


@pytest.mark.parametrize("name", ["risk_collateralgroup", "loans_loan", "accounts_journalentry", "risk_debt"])
def test_queries_do_not_grow_with_the_rows(house: Desk, name: str) -> None:
    boss, url = as_user(build.user("auditor")), reverse(f"admin:{name}_changelist")

    def ask() -> int:
        with CaptureQueriesContext(connection) as asked:
            assert boss.get(url).status_code == 200
        return len(asked)

    few = ask()
    for _ in range(3):
        sub, receiver = build.account(house.owner), build.account(house.owner)
        build.deposit(sub, "BTC", "20", at=build.LONG_AGO)
        desk.drawn(house, "600000", account_uids=(sub.pk,), receiver_uid=receiver.pk)
    assert ask() == few


def test_the_groups_page_shows_todays_ltv(house: Desk) -> None:
    page = as_user(build.user("risk_officer")).get(reverse("admin:risk_collateralgroup_changelist"))
    assert "66.66" in page.content.decode()


@pytest.mark.parametrize("number", ["abc", "9" * 30, "\uff11", "-1", "0"])
def test_a_button_on_a_row_that_is_not_there(number: str, house: Desk) -> None:
    """B-07: not found, never an error of the server."""
    client = as_user(build.user("admin"))
    assert client.get(f"/admin/accounts/user/{number}/change-user/").status_code == 404
    assert client.get(f"/admin/accounts/customer/{number}/vip-level/").status_code == 404


# --- Members of a customer --------------------------------------------------------------------------------


def test_an_admin_adds_a_member_with_a_role_and_changes_it(house: Desk) -> None:
    """R-ADM-09, TRUST I-21: with a reason; never the last signatory, and never by anybody else of the house."""
    second, place = build.user(), [house.owner.pk]
    add = reverse("admin:accounts_customer_add_member", args=place)
    change = reverse("admin:accounts_customer_set_role", args=place)
    for role in ("auditor", "ops", "finance", "risk_officer"):
        client = as_user(build.user(role))
        for url in (add, change):
            assert client.post(url, {"key": str(uuid4()), "reason": "x"}).status_code in {302, 403}
    boss = as_user(build.user("admin"))
    assert send(boss, add, email="nobody@example.com", role="viewer").status_code == 422
    assert send(boss, add, email=second.email, role="emperor").status_code == 422
    assert send(boss, add, email=second.email, role="viewer", reason="").status_code == 422
    assert not second.memberships.exists()
    assert send(boss, add, email=second.email.upper(), role="viewer").status_code == 302
    assert second.memberships.get().role == "viewer"
    assert send(boss, add, email=second.email, role="viewer").status_code == 422
    assert send(boss, change, user_id=str(house.applicant.pk), role="viewer").status_code == 422
    assert house.applicant.memberships.get().role == "signatory"
    assert send(boss, change, user_id=str(second.pk), role="signatory").status_code == 302
    assert second.memberships.get().role == "signatory"
    assert AuditRecord.objects.get(subject="firms.set_role").reason == "asked for by letter"
