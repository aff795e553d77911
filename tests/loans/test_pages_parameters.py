"""Parameters and four eyes on the pages: propose, look, release, and who may do which."""

import re
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse

from accounts import approvals
from accounts.commands import Actor, acting
from accounts.models import Approval, Customer, User
from loans.pages.desk_parameter_forms import KINDS
from risk import parameters
from risk.models import Limits, MarketDepth, Price, RatioSchedule
from tests import build
from tests.build import BUILDER, TEN
from tests.loans import desk, visit
from tests.loans.desk import Desk
from tests.loans.visit import client_of

STAFF = ("risk_officer", "finance", "auditor", "admin")


@pytest.fixture(autouse=True)
def _at_ten() -> Iterator[None]:
    with visit.at(TEN):
        yield


@pytest.fixture
def house(db: None) -> Desk:
    """A client whose 25 BTC at 60,000 secure 1,000,000 USDT: LTV 66.7 %."""
    house = desk.set_up()
    desk.drawn(house)
    return house


@pytest.fixture
def maker(db: None) -> User:
    return build.user("risk_officer", name="Mia Maker")


@pytest.fixture
def checker(db: None) -> User:
    return build.user("risk_officer", name="Chris Checker")


RATIOS = {
    "asset": "BTC",
    "tiers": "0 80",
    "rank": "100",
    "ramp_days": "0",
    "effective_at": "",
    "reason": "Thin",
}


def text_of(response: Any) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()).replace("\xa0", " "))


def propose(client: Client, slug: str, given: dict[str, str]) -> Any:
    """As a person does it: fill in, look, press again."""
    url, given = reverse("loans:parameter_propose", args=[slug]), given | {"key": str(uuid4())}
    shown = client.post(url, given)
    if shown.status_code != 200:
        return shown
    seen = re.search(r'name="seen" value="([0-9a-f]+)"', shown.content.decode())
    assert seen is not None
    return client.post(url, given | {"seen": seen[1]})


def decide(client: Client, verb: str, approval: Approval, **given: str) -> Any:
    url = reverse(f"loans:approval_{verb}", args=[approval.pk])
    return client.post(url, {"key": str(uuid4())} | given)


def btc_ratio() -> Decimal:
    return parameters.terms_at(TEN)["BTC"].tiers[0].ratio


# --- The whole way ----------------------------------------------------------------------------------------


def test_new_ratios_go_from_proposal_to_force_by_two_people(house: Desk, maker: User, checker: User) -> None:
    """R-ADM-03, R-GEN-36: with the preview for the maker, and computed anew for the checker."""
    page = client_of(maker)
    url = reverse("loans:parameter_propose", args=["ratios"])
    assert "0 100" in page.get(url, {"asset": "BTC"}).content.decode()  # what stands now is where one starts
    shown = page.post(url, RATIOS | {"key": str(uuid4())})
    assert "1 group would enter CALL." in text_of(shown)
    assert house.owner.name in text_of(shown)
    assert not Approval.objects.exists()

    answer = propose(page, "ratios", RATIOS)
    approval = Approval.objects.get()
    assert answer.url == reverse("loans:approval", args=[approval.pk])
    assert (approval.title, approval.preview["words"]) == ("Ratios of BTC", "1 group would enter CALL.")
    assert btc_ratio() == 1

    mine = text_of(page.get(answer.url))
    assert "This is your own proposal" in mine
    assert "Release" not in mine
    refused = decide(page, "release", approval)
    assert refused.status_code == 422
    assert "is your own proposal; somebody else has to decide it" in text_of(refused)
    assert btc_ratio() == 1

    build.prices(at=TEN - timedelta(seconds=1), BTC="60000")
    other = client_of(checker)
    assert "Ratios of BTC" in text_of(other.get(reverse("loans:approvals")))
    look = text_of(other.get(answer.url))
    assert "What it would do now 1 group would enter CALL." in look
    assert "What the proposer saw" in look
    assert "Ratio from 0.00 USD before: 100 % → after: 80 %" in look
    done = decide(other, "release", approval, reason="Looked at it")
    assert (done.status_code, btc_ratio()) == (302, Decimal("0.8"))
    assert "Released" in text_of(other.get(done.url))
    again = decide(other, "release", approval)
    assert again.status_code == 422
    assert "is released already" in text_of(again)


def test_a_value_edited_after_the_look_is_shown_again(house: Desk, maker: User) -> None:
    """R-ADM-03: what is proposed is what was seen."""
    page, url = client_of(maker), reverse("loans:parameter_propose", args=["ratios"])
    given = RATIOS | {"key": str(uuid4())}
    seen = re.search(r'name="seen" value="([0-9a-f]+)"', page.post(url, given).content.decode())
    assert seen is not None
    answer = page.post(url, given | {"seen": seen[1], "tiers": "0 10"})
    assert (answer.status_code, Approval.objects.count()) == (200, 0)
    assert "1 group would enter LIQ." in text_of(answer)


def test_lines_out_of_order_are_refused_in_words_on_the_form(house: Desk, maker: User) -> None:
    """R-GEN-43, EX-12"""
    given = {
        "product": "vip",
        "initial_line": "72",
        "margin_call": "70",
        "liquidation": "91",
        "cutoff": "95",
        "fee": "2",
        "reason": "x",
    }
    refused = propose(client_of(maker), "lines", given)
    assert refused.status_code == 422
    assert "The lines must rise: 0 &lt; initial &lt; margin call" in refused.content.decode()
    refused = propose(client_of(maker), "lines", given | {"margin_call": "77", "cutoff": "99"})
    assert (refused.status_code, "leaves no room for a fee of 2 %" in text_of(refused)) == (422, True)
    assert not Approval.objects.exists()


def test_what_the_command_refuses_is_said_on_the_form(house: Desk, maker: User) -> None:
    """R-GEN-36: nothing is backdated."""
    refused = propose(client_of(maker), "ratios", RATIOS | {"effective_at": "2026-01-01 09:00"})
    assert refused.status_code == 422
    assert "parameters cannot be backdated" in text_of(refused)
    assert not Approval.objects.exists()


def test_a_manager_gives_own_clients_stricter_lines_alone_and_easier_ones_with_another(
    house: Desk, checker: User
) -> None:
    """R-ADM-02, R-ADM-03"""
    page = client_of(house.manager)
    given = {
        "product": "vip",
        "customer": str(house.owner.pk),
        "initial_line": "60",
        "margin_call": "77",
        "liquidation": "91",
        "cutoff": "95",
        "fee": "2",
        "ends_at": "2026-03-01 00:00",
        "reason": "Agreed",
    }
    assert propose(page, "lines", given).url == reverse("loans:parameters")
    own = Limits.objects.get(customer=house.owner)
    assert (own.initial, own.ends_at.isoformat()) == (Decimal("0.6"), "2026-03-01T00:00:00+00:00")
    with visit.later(house.manager, TEN + timedelta(minutes=1)) as page:
        propose(page, "lines", given | {"fee": "1"})
    approval = Approval.objects.get()
    assert (approval.customer, Limits.objects.filter(customer=house.owner).count()) == (house.owner, 1)
    stranger = build.customer()
    refused = propose(client_of(house.manager), "lines", given | {"customer": str(stranger.pk)})
    assert refused.status_code == 422
    refused = propose(client_of(house.manager), "lines", given | {"customer": "", "ends_at": ""})
    assert (refused.status_code, "their own clients only" in text_of(refused)) == (422, True)
    assert Limits.objects.filter(group__isnull=True).count() == 2


def test_a_managers_look_at_lines_is_about_their_own_client(house: Desk) -> None:
    """R-ADM-01, R-ADM-02: without a client it would count and name everybody's groups before it says no."""
    given = {"product": "vip", "initial_line": "50", "margin_call": "55", "liquidation": "60"}
    given |= {"cutoff": "95", "fee": "2", "reason": "x", "key": str(uuid4())}
    url = reverse("loans:parameter_propose", args=["lines"])
    answer = client_of(build.user("vip_manager")).post(url, given)
    assert answer.status_code == 422
    assert "their own clients only" in text_of(answer)
    assert "What it would do now" not in text_of(answer)
    officers = text_of(client_of(build.user("risk_officer")).post(url, given))
    assert "1 open group with debt" in officers


def test_market_depth_and_a_manual_price_need_two_persons(house: Desk, maker: User, checker: User) -> None:
    """R-GEN-79, R-ADM-03"""
    page = client_of(maker)
    depth = {"asset": "BTC", "volume_usd": "1000000", "max_share": "10", "reason": "Measured"}
    propose(page, "depth", depth)
    assert not MarketDepth.objects.exists()
    with visit.later(checker, TEN + timedelta(seconds=30)) as other:
        assert decide(other, "release", Approval.objects.get()).status_code == 302
    assert MarketDepth.objects.get().max_share == Decimal("0.1")
    with visit.later(maker, TEN + timedelta(minutes=1)) as page:
        propose(page, "price", {"asset": "BTC", "price": "50000.5", "reason": "The feed is broken"})
    approval = Approval.objects.latest("pk")
    assert not Price.objects.filter(source="manual").exists()
    with visit.later(checker, TEN + timedelta(minutes=2)) as other:
        assert decide(other, "release", approval).status_code == 302
    row = Price.objects.get(source="manual")
    assert (row.price, row.status, row.observed_at) == (
        Decimal("50000.5"),
        Price.Status.GOOD,
        TEN + timedelta(minutes=2),
    )
    assert row.reason.startswith("The feed is broken")


def test_every_kind_can_be_looked_at_filled_in_and_previewed(house: Desk) -> None:
    """R-ADM-02, R-GEN-36: the page of each kind, for somebody who may propose it and somebody who may not."""
    boss, auditor = client_of(build.user("admin")), client_of(build.user("auditor"))
    for slug in KINDS:
        assert boss.get(reverse("loans:parameter_propose", args=[slug])).status_code == 200
        assert boss.get(reverse("loans:parameter_propose", args=[slug]), {"asset": "BTC"}).status_code == 200
        assert auditor.get(reverse("loans:parameter_propose", args=[slug])).status_code == 403
        assert auditor.get(reverse("loans:parameter_history", args=[slug])).status_code == 200
        assert boss.post(reverse("loans:parameter_propose", args=[slug]), {}).status_code == 422
    assert boss.get(reverse("loans:parameter_history", args=["no-such"])).status_code == 404


GIVEN: dict[str, dict[str, str]] = {
    "ratios": RATIOS | {"ramp_days": "3", "effective_at": "2026-02-01 00:00"},
    "caps": {"product": "vip", "asset": "BTC", "platform_collateral": "1000"},
    "loan-limits": {"product": "vip", "asset": "USDT", "minimum": "1", "maximum": "2", "user_maximum": "3"},
    "pace": {"asset": "BTC", "most_usd": "5000000", "span_seconds": "600"},
    "flexible-rates": {"product": "vip", "asset": "USDT", "annual_rate": "9", "effective_at": "2026-02-01"},
    "rate-cards": {
        "product": "vip",
        "asset": "USDT",
        "annual_rate": "9",
        "effective_at": "2026-02-01",
        "term_days": "30",
        "vip_level": "2",
    },
    "handling": {
        "product": "vip",
        "mode": "stepped",
        "step_share": "50",
        "full_below_usd": "200",
        "fee_base": "debt_repaid",
        "call_trades": "none",
    },
    "feed-rules": {
        "asset": "",
        "max_age_seconds": "30",
        "max_jump": "20",
        "max_spread": "2.5",
        "max_still_seconds": "600",
        "min_sources": "1",
        "floor": "5",
    },
    "redemptions": {"asset": "BTC", "underlying": "USDT", "ratio": "60000"},
    "policies": {"governed": "risk.publish_ratios", "required": "on", "above_usd": "1000"},
    "settings": {"confirm_seconds": "7", "hysteresis": "1"},
}


@pytest.mark.parametrize("slug", list(GIVEN))
def test_what_the_form_asks_for_is_what_is_published(
    house: Desk, maker: User, checker: User, slug: str
) -> None:
    """R-ADM-03: proposed by one, released by another, for each kind."""
    assert propose(client_of(maker), slug, GIVEN[slug] | {"reason": "Review"}).status_code == 302
    approval = Approval.objects.get()
    assert approval.command == KINDS[slug].command
    assert decide(client_of(checker), "release", approval).status_code == 302
    approval.refresh_from_db()
    assert approval.status == "released"
    label, _, pk = approval.result.partition(":")
    assert label
    assert pk
    history = text_of(client_of(checker).get(reverse("loans:parameter_history", args=[slug])))
    assert "Nothing of this kind" not in history


# --- Who --------------------------------------------------------------------------------------------------


def test_to_a_borrower_none_of_it_exists(house: Desk) -> None:
    """R-ADM-01"""
    borrower, nobody = client_of(house.applicant), Client()
    urls = [
        reverse("loans:approvals"),
        reverse("loans:parameters"),
        reverse("loans:parameter_history", args=["ratios"]),
        reverse("loans:parameter_propose", args=["ratios"]),
    ]
    for url in urls:
        assert borrower.get(url).status_code == 404
        assert nobody.get(url).status_code == 302
    for role in (*STAFF, "vip_manager"):
        assert client_of(build.user(role)).get(urls[0]).status_code == 200
        assert client_of(build.user(role)).get(urls[1]).status_code == 200


def test_a_proposal_is_refused_with_a_reason_or_taken_back(house: Desk, maker: User, checker: User) -> None:
    """R-ADM-03"""
    propose(client_of(maker), "ratios", RATIOS)
    first = Approval.objects.get()
    assert decide(client_of(checker), "refuse", first, reason="").status_code == 422
    assert decide(client_of(checker), "withdraw", first).status_code == 422
    assert decide(client_of(checker), "refuse", first, reason="Too steep").status_code == 302
    assert "Too steep" in text_of(client_of(maker).get(reverse("loans:approval", args=[first.pk])))
    propose(client_of(maker), "ratios", RATIOS)
    second = Approval.objects.exclude(pk=first.pk).get()
    assert decide(client_of(maker), "withdraw", second).status_code == 302
    assert list(Approval.objects.order_by("pk").values_list("status", flat=True)) == ["refused", "withdrawn"]
    assert RatioSchedule.objects.filter(asset="BTC").count() == 1


def test_a_proposal_about_somebody_elses_client_does_not_exist_for_a_manager(
    house: Desk, maker: User
) -> None:
    """R-ADM-01"""
    approval = approvals.propose(
        command="risk.publish_ratios",
        arguments={"asset": "BTC", "tiers": [(Decimal(0), Decimal("0.8"))]},
        title="BTC",
        preview={"LTV after": "83.33 %", "coins": ["1 BTC", "2 ETH"], "ends now": None},
        reason="x",
        actor=Actor.user(maker),
        at=TEN,
        customer=house.owner,
    )
    url = reverse("loans:approval", args=[approval.pk])
    stranger = client_of(build.user("vip_manager"))
    assert (stranger.get(url).status_code, decide(stranger, "release", approval).status_code) == (404, 404)
    own = client_of(house.manager)
    assert "Coins 1 BTC, 2 ETH LTV after 83.33 %" in text_of(own.get(url))
    refused = decide(own, "release", approval)
    assert (refused.status_code, "Only these roles" in text_of(refused)) == (422, True)
    assert client_of(build.user("auditor")).get(url).status_code == 200
    assert btc_ratio() == 1


def test_another_clients_lines_are_not_shown_to_a_manager(house: Desk) -> None:
    """R-ADM-01"""
    other = build.customer("Secret Holdings")
    build.limits("0.5", "0.6", "0.7", "0.8", customer=other)
    for name in ("loans:parameters", "loans:parameter_history"):
        url = reverse(name, args=["lines"] if name.endswith("history") else [])
        assert "Secret Holdings" not in text_of(client_of(house.manager).get(url))
        assert "Secret Holdings" in text_of(client_of(build.user("auditor")).get(url))


def test_a_lapsed_or_unreadable_proposal_says_so(house: Desk, maker: User, checker: User) -> None:
    """R-ADM-03"""
    propose(client_of(maker), "lines", GIVEN_LINES | {"customer": str(house.owner.pk)})
    approval = Approval.objects.get()
    url = reverse("loans:approval", args=[approval.pk])
    with visit.later(checker, TEN + timedelta(hours=73)) as page:
        assert "It lapsed on" in text_of(page.get(url))
        refused = decide(page, "release", approval)
        assert (refused.status_code, "lapsed on 2026-01-04 10:00 UTC" in text_of(refused)) == (422, True)
    with acting(BUILDER):
        Customer.objects.filter(pk=house.owner.pk).update(manager=None)
    assert client_of(checker).get(url).status_code == 200


GIVEN_LINES = {
    "product": "vip",
    "initial_line": "75",
    "margin_call": "80",
    "liquidation": "92",
    "cutoff": "95",
    "fee": "2",
    "reason": "Negotiated",
}
