"""Groups over our own API: where they stand, what would help, what if, warnings (R-GEN-12, R-FTR-01, 02, 05)."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.commands import acting
from accounts.models import Membership, User
from risk import early_warnings, whatif
from risk.models import CollateralGroup, Deleveraging, WarningLine
from tests import build
from tests.build import BUILDER, LONG_AGO, NOON, TEN
from tests.loans.visit import at
from tests.native import Native, program

pytestmark = pytest.mark.django_db


class World:
    """25 BTC at 60,000 secure 1,000,000 USDT: LTV two thirds."""

    def __init__(self, btc: str = "60000") -> None:
        self.debt = build.secured_debt()
        self.group: CollateralGroup = self.debt.group
        self.owner = self.group.customer
        self.user = build.user()
        with acting(BUILDER):
            Membership.objects.create(customer=self.owner, user=self.user, role="signatory", since=LONG_AGO)
        self.master = build.master(self.owner)
        self.sub = self.owner.accounts.get(kind="sub")
        build.prices(NOON, BTC=btc, USDT="1")
        self.api = program(self.master, self.user)
        self.path = f"groups/{self.group.pk}"

    def member(self, role: str) -> User:
        return build.colleague(self.owner, role)


@pytest.fixture
def world() -> World:
    return World()


def stranger() -> Native:
    """Another firm's program."""
    user = build.user()
    other = build.customer(member=user)
    return program(build.master(other), user)


def test_a_group_is_shown_with_its_exact_figures(world: World) -> None:
    """R-GEN-12, R-GEN-40: fractions and amounts as text, ids as numbers, times with Z."""
    with at(NOON):
        status, told = world.api.get(world.path)
    assert status == 200
    assert told["id"] == world.group.pk
    assert told["ltv"] == "0.666666666666"
    assert told["band"] == "SAFE"
    assert told["at"] == "2026-01-01T12:00:00Z"
    assert told["lines"] == {
        "initial": "0.72",
        "margin_call": "0.77",
        "liquidation": "0.91",
        "cutoff": "0.95",
        "fee": "0.02",
    }
    assert (told["debt_usd"], told["collateral_usd"]) == ("1000000", "1500000")
    [coin] = told["coins"]
    assert coin["tiers"] == [{"floor": "0", "ratio": "1"}]
    assert (coin["asset"], coin["amount"], coin["price_usd"], coin["is_fresh"]) == (
        "BTC",
        "25",
        "60000",
        True,
    )
    [debt] = told["debts"]
    assert (debt["id"], debt["principal"], debt["total"], debt["annual_rate"]) == (
        world.debt.pk,
        "1000000",
        "1000000",
        "0.084",
    )
    assert told["members"] == [
        {"account": world.sub.pk, "coins": [{"asset": "BTC", "amount": "25"}], "market_usd": "1500000"}
    ]
    assert told["room"]["borrow_usd"] == "80000"
    assert told["needed"] == {"to_initial": None, "below_margin_call": None}
    assert told["call"] is None


def test_what_is_needed_is_never_too_small() -> None:
    """R-GEN-65, R-GEN-41: at 50,000 LTV is 80 %; the call line itself is still a call."""
    world = World(btc="50000")
    with at(NOON):
        _, told = world.api.get(world.path)
    assert (told["ltv"], told["band"]) == ("0.8", "CALL")
    assert told["needed"]["to_initial"]["repay"] == [{"asset": "USDT", "amount": "100000"}]
    assert told["needed"]["below_margin_call"]["repay"] == [{"asset": "USDT", "amount": "37500.00000001"}]
    [add] = told["needed"]["to_initial"]["add"]
    assert add == {"asset": "BTC", "amount": "2.77777778"}


def test_the_list_has_open_and_closed_ones(world: World) -> None:
    """R-GEN-12: paging, and a constant number of queries."""
    with at(NOON):
        status, told = world.api.get("groups", open="true")
        assert (status, told["total"]) == (200, 1)
        assert told["rows"][0]["ltv"] == "0.666666666666"
        assert world.api.get("groups", open="false") == (200, {"rows": [], "total": 0})
        assert world.api.get("groups", page=2) == (200, {"rows": [], "total": 1})
        with CaptureQueriesContext(connection) as one:
            world.api.get("groups")
        build.group(build.account(world.owner), [build.account(world.owner)])
        with CaptureQueriesContext(connection) as two:
            assert world.api.get("groups")[1]["total"] == 2
    assert len(two) == len(one)


@pytest.mark.parametrize(
    "query", [{"page": "0"}, {"size": "101"}, {"page": "１"}, {"open": "yes"}, {"offset": "1"}]
)
def test_a_query_is_read_strictly(world: World, query: dict[str, str]) -> None:
    """B-05, B-18: an unknown or wrong parameter is said, never ignored."""
    with at(NOON):
        status, told = world.api.get("groups", **query)
    assert (status, told["code"]) == (400, "bad_input")
    assert list(told["fields"]) == list(query)


PARTS = ["", "/cures", "/warnings", "/deleveraging"]


@pytest.mark.parametrize("part", PARTS)
def test_another_firms_group_is_not_there(world: World, part: str) -> None:
    """R-GEN-95: byte for byte as an unknown one."""
    with at(NOON):
        theirs, unknown = stranger(), f"groups/{world.group.pk + 999}{part}"
        assert theirs.get(world.path + part) == theirs.get(unknown)
        assert theirs.get(world.path + part)[0] == 404
        assert world.api.get(world.path + part)[0] == 200


def test_who_acts_for_one_account_sees_the_group_it_borrows_in_only(world: World) -> None:
    """R-GEN-95: a key of the sub-account, made by a member of all of it, is bound like a one-account member."""
    with at(NOON):
        bound = program(world.sub, world.user, "can_read")
        assert bound.get(world.path)[0] == 404
        assert bound.get("groups") == (200, {"rows": [], "total": 0})
        receiver = build.colleague(world.owner, "trader", only=world.master)
        theirs = program(world.master, receiver, "can_read")
        assert theirs.get(world.path)[0] == 200
        assert theirs.get(f"{world.path}/cures")[0] == 404


# --- What if ------------------------------------------------------------------------------------------------


def test_what_if_asks_the_chapter(world: World) -> None:
    """R-FTR-01: the market first, then the steps; the same figures as the page's."""
    question = {
        "prices": [{"asset": "BTC", "usd": "48000"}],
        "steps": [
            {"do": "deposit", "account": world.sub.pk, "asset": "BTC", "amount": "5"},
            {"do": "repay", "debt": world.debt.pk, "amount": "100000"},
            {"do": "withdraw", "account": world.sub.pk, "asset": "BTC", "amount": "40"},
        ],
    }
    with at(NOON):
        status, told = world.api.post(f"{world.path}/what-if", question)
    assert status == 200
    assert told["before"]["ltv"] == "0.666666666666"
    assert told["market"]["ltv"] == "0.833333333333"
    assert (told["market"]["band"], told["after"]["band"]) == ("CALL", "SAFE")
    assert told["after"]["ltv"] == "0.625"
    assert [answer["allowed"] for answer in told["answers"]] == [True, True, False]
    assert told["answers"][2]["code"] == "insufficient_balance"
    assert told["foreseen"]["fate"] == "nothing"
    assert WarningLine.objects.count() == 0
    world.debt.refresh_from_db()
    assert world.debt.principal == Decimal(1000000)


def test_what_if_with_other_ratios(world: World) -> None:
    """R-FTR-01, R-GEN-31"""
    tiers = [{"floor": "0", "ratio": "1"}, {"floor": "1000000", "ratio": "0.5"}]
    with at(NOON):
        status, told = world.api.post(f"{world.path}/what-if", {"ratios": [{"asset": "BTC", "tiers": tiers}]})
        assert status == 200
        assert told["after"]["ltv"] == "0.8"
        tiers[0]["floor"] = "1"
        status, told = world.api.post(f"{world.path}/what-if", {"ratios": [{"asset": "BTC", "tiers": tiers}]})
        assert (status, list(told["fields"])) == (400, ["ratios"])


@pytest.mark.parametrize(
    "body",
    [
        {"steps": [{"do": "deposit", "asset": "BTC", "amount": "1"}]},
        {"steps": [{"do": "repay", "debt": 1, "asset": "BTC", "amount": "1"}]},
        {"steps": [{"do": "steal", "asset": "BTC", "amount": "1"}]},
        {"steps": [{"do": "borrow", "asset": "BTC", "amount": 1}]},
        {"steps": [{"do": "borrow", "asset": "DOGE", "amount": "1"}]},
        {"steps": [{"do": "borrow", "asset": "BTC", "amount": "0.123456789"}]},
        {"steps": [{"do": "borrow", "asset": "BTC", "amount": "1"}] * 21},
        {"prices": [{"asset": "BTC", "usd": "1"}, {"asset": "BTC", "usd": "2"}]},
        {"prices": {"BTC": "1"}},
        {"prices": [{"asset": "BTC", "usd": "0"}]},
        {"more": 1},
    ],
)
def test_what_if_is_read_strictly(world: World, body: Any) -> None:
    """B-01…B-05, B-10"""
    with at(NOON):
        status, told = world.api.post(f"{world.path}/what-if", body)
    assert (status, told["code"]) == (400, "bad_input"), told


def test_another_firms_account_in_a_what_if_is_as_an_unknown_one(world: World) -> None:
    """B-13: the answer does not tell whether it exists."""
    theirs = build.account(build.customer())
    with at(NOON):
        told = [
            world.api.post(
                f"{world.path}/what-if",
                {"steps": [{"do": "deposit", "account": uid, "asset": "BTC", "amount": "1"}]},
            )[1]["answers"][0]["reason"].replace(str(uid), "X")
            for uid in (theirs.pk, 999)
        ]
    assert told[0] == told[1]
    assert whatif.NotPossible.code == "not_possible"


# --- Cures --------------------------------------------------------------------------------------------------


def test_cures_name_the_cheapest_step_that_can_be_done() -> None:
    """R-FTR-02: BTC of the master's Funding can be added; nothing repays the rest as the master holds 1,000,000."""
    world = World(btc="50000")
    with at(NOON):
        status, told = world.api.get(f"{world.path}/cures", target="0.6")
    assert status == 200
    assert [(row["line"], row["strictly_below"]) for row in told["rows"]] == [
        ("0.77", True),
        ("0.72", False),
        ("0.6", False),
    ]
    best = told["rows"][1]["cheapest"]
    assert (best["do"], best["asset"], best["amount"], best["debt"]) == (
        "repay",
        "USDT",
        "100000",
        world.debt.pk,
    )
    assert (best["after"]["ltv"], best["is_possible"], best["why_not"]) == ("0.72", True, "")
    assert not told["rows"][1]["is_reached"]


def test_a_goal_that_is_reached_says_so(world: World) -> None:
    """R-FTR-02"""
    with at(NOON):
        _, told = world.api.get(f"{world.path}/cures")
        assert [(row["is_reached"], row["cheapest"]) for row in told["rows"]] == [(True, None), (True, None)]
        assert world.api.get(f"{world.path}/cures", target="1.5")[0] == 400


# --- Early warnings -----------------------------------------------------------------------------------------


def test_a_warning_line_is_set_once_for_one_key_and_removed(world: World) -> None:
    """R-GEN-63, R-GEN-06"""
    path = f"{world.path}/warnings"
    with at(NOON):
        status, row = world.api.post(path, {"ltv": "0.7"}, key="k1")
        assert (status, row["ltv"], row["asset"], row["set_at"]) == (201, "0.7", None, "2026-01-01T12:00:00Z")
        assert world.api.post(path, {"ltv": "0.7"}, key="k1") == (201, row)
        assert world.api.post(path, {"ltv": "0.7"}, key="k2")[1]["code"] == early_warnings.LineExists.code
        assert world.api.post(path, {"ltv": "0.71"}, key="k1")[1]["code"] == "idempotency_key_reused"
        assert world.api.post(path, {"ltv": "0.7", "asset": "BTC"})[0] == 201
        listed = world.api.get(path)[1]
        assert [one["asset"] for one in listed["rows"]] == [None, "BTC"]
    with at(NOON + timedelta(minutes=1)):
        assert world.api.delete(f"{path}/{row['id']}", key="k3")[0] == 200
        assert world.api.delete(f"{path}/{row['id']}", key="k3")[0] == 200
        assert world.api.delete(f"{path}/{row['id']}")[1]["code"] == "no_such_warning_line"
        assert world.api.get(path)[1]["total"] == 1
    assert WarningLine.objects.filter(removed_at=None).count() == 1


def test_a_bad_line_or_role_changes_nothing(world: World) -> None:
    """R-GEN-63, R-ADM-09"""
    path = f"{world.path}/warnings"
    viewer = program(world.master, world.member("viewer"), "can_read")
    with at(NOON):
        status, told = world.api.post(path, {"ltv": "0.9"})
        assert (status, told["code"]) == (409, "bad_warning_line")
        assert "77 %" in told["message"]
        assert world.api.post(path, {"ltv": "0.5", "asset": "USDT"})[0] == 409
        status, told = viewer.post(path, {"ltv": "0.5"})
        assert (status, told["code"]) == (403, "not_permitted")
        assert world.api.delete(f"{path}/999")[0] == 404
    assert not WarningLine.objects.exists()


# --- De-leveraging ------------------------------------------------------------------------------------------

CHOICE = {"start": "0.82", "target": "0.74", "step_share": "0.1"}


def test_de_leveraging_is_planned_chosen_and_ended(world: World) -> None:
    """R-FTR-05"""
    path = f"{world.path}/deleveraging"
    with at(NOON):
        status, told = world.api.get(path)
        assert (status, told["chosen"], told["plan"]) == (200, None, [])
        assert told["bounds"]["has_room"] is True
        status, plan = world.api.post(f"{path}/plan", CHOICE)
        assert (status, plan["rows"][0]["ltv"] >= "0.82") == (200, True)
        assert not Deleveraging.objects.exists()
        status, row = world.api.post(path, CHOICE, key="c1")
        assert (status, row["start"], row["target"], row["step_share"]) == (201, "0.82", "0.74", "0.1")
        assert world.api.post(path, CHOICE, key="c1") == (201, row)
        assert world.api.post(path, CHOICE)[1]["code"] == "deleveraging_already_chosen"
        assert world.api.get(path)[1]["plan"] == plan["rows"]
        assert world.api.delete(path)[0] == 200
        assert world.api.delete(path)[1]["code"] == "deleveraging_not_chosen"
    assert Deleveraging.objects.filter(removed_at=None).count() == 0


def test_a_choice_out_of_its_bounds_says_which_and_what_they_are(world: World) -> None:
    """R-FTR-05"""
    with at(NOON):
        for path in ("deleveraging", "deleveraging/plan"):
            status, told = world.api.post(f"{world.path}/{path}", CHOICE | {"start": "0.95"})
            assert (status, told["code"]) == (409, "bad_deleveraging")
            assert "91 %" in told["message"]
    assert not Deleveraging.objects.exists()


def test_stale_prices_tell_no_ltv_that_is_none(world: World) -> None:
    """R-GEN-22: what is owed has no price at all: LTV is not known, and nothing is said to be needed."""
    eth = build.asset("ETH")
    build.fund_pool("ETH", "10")
    build.debt(world.group, "ETH", "1", at=TEN)
    with at(NOON):
        _, told = world.api.get(world.path)
        assert (told["is_blind"], told["ltv"]) == (True, None)
        assert told["needed"] == {"to_initial": None, "below_margin_call": None}
        assert world.api.get(f"{world.path}/cures")[1] == {"rows": [], "total": 0}
    assert eth.pk == "ETH"
