"""What a proposed change would do to the open groups, before anybody releases it, and who is told of it."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from accounts import approvals
from accounts.commands import Actor, NeedsApproval, NotYourRole
from accounts.models import Notice
from risk import announcements, book, parameters
from risk.levels import Lines, band
from risk.models import CollateralGroup, Debt, Limits, RatioSchedule
from risk.parameters import preview
from tests import build
from tests.build import BUILDER, NOON

DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)


def lines(
    initial: str = "0.72", margin_call: str = "0.77", liquidation: str = "0.91", cutoff: str = "0.95"
) -> Lines:
    return Lines(*map(Decimal, (initial, margin_call, liquidation, cutoff, "0.02")))


def tiers(*each: tuple[str, str]) -> list[tuple[Decimal, Decimal]]:
    return [(Decimal(floor), Decimal(ratio)) for floor, ratio in each]


@pytest.fixture
def groups(db: None) -> list[CollateralGroup]:
    """BTC at 60,000; three groups that owe 1,000,000 on 30, 25 and 20 BTC: LTV 55.6, 66.7 and 83.4 %."""
    build.fund_pool("USDT")
    found: list[Debt] = [build.secured_debt(btc=btc) for btc in ("30", "25", "20")]
    build.prices(at=NOON, BTC="60000", USDT="1")
    return [debt.group for debt in found]


def test_a_preview_counts_who_would_enter_which_band(groups: list[CollateralGroup]) -> None:
    """R-GEN-36, R-ADM-03: at 80 % BTC counts 1.44, 1.2 and 0.96 million: LTV 69.5, 83.4 and 104.2 %."""
    found = preview.of("risk.publish_ratios", {"asset": "BTC", "tiers": tiers(("0", "0.8"))}, at=NOON)

    assert found["words"] == "1 group would enter CALL, 1 LIQ."
    assert found["groups"] == 3
    assert [(one["band"], one["before"], one["after"]) for one in found["bands"]] == [
        ("SAFE", 2, 1),
        ("WATCH", 0, 0),
        ("CALL", 1, 1),
        ("LIQ", 0, 1),
    ]
    assert [(one["group"], one["from"], one["to"]) for one in found["shifts"]] == [
        (groups[2].pk, "CALL", "LIQ"),
        (groups[1].pk, "SAFE", "CALL"),
    ]
    assert found["more"] == 0


def test_a_preview_writes_nothing_and_says_what_then_happens(groups: list[CollateralGroup]) -> None:
    """R-GEN-36: the same engine, so the bands after publication are those that were shown."""
    proposal: dict[str, Any] = {"asset": "BTC", "tiers": tiers(("0", "1"), ("1300000", "0.1"))}
    shown = preview.of("risk.publish_ratios", proposal, at=NOON)
    assert RatioSchedule.objects.count() == 2

    parameters.publish_ratios(**proposal, actor=BUILDER, at=NOON)

    states = book.states(groups, at=NOON).values()
    happened = [band(state.worth(permission=False), state.lines) for state in states]
    assert {one["band"]: one["after"] for one in shown["bands"]} == {
        name: happened.count(name) for name in ("SAFE", "WATCH", "CALL", "LIQ")
    }


def test_looser_and_stricter_lines_are_previewed_for_all_and_for_one(groups: list[CollateralGroup]) -> None:
    """R-GEN-42, R-ADM-03"""
    strict = {"product": "vip", "lines": lines("0.5", "0.6", "0.65", "0.7")}
    assert preview.of("risk.publish_limits", strict, at=NOON)["words"] == "1 group would enter WATCH, 2 LIQ."
    own = strict | {"customer": groups[0].customer}
    found = preview.of("risk.publish_limits", own, at=NOON)
    assert (found["groups"], found["words"]) == (1, "1 group would enter WATCH.")
    loose = {"product": "vip", "lines": lines("0.85", "0.9", "0.93", "0.95")}
    assert preview.of("risk.publish_limits", loose, at=NOON)["words"] == "1 group would become safer."
    coin = {"product": "vip", "asset": "ETH", "lines": strict["lines"]}
    assert preview.of("risk.publish_limits", coin, at=NOON)["words"] == "No group would change its band."
    assert Limits.objects.count() == 1


def test_signed_lines_are_not_touched_by_what_is_published(groups: list[CollateralGroup]) -> None:
    """R-GEN-42: nor in the preview."""
    build.limits("0.5", "0.99", "0.9901", "0.9902", fee="0.001", group=groups[1])
    strict = {"product": "vip", "lines": lines("0.5", "0.6", "0.65", "0.7")}
    found = preview.of("risk.publish_limits", strict, at=NOON)
    assert groups[1].pk not in [one["group"] for one in found["shifts"]]


def test_a_cap_moves_no_band_and_shows_what_is_used_of_it(groups: list[CollateralGroup]) -> None:
    """R-GEN-37: 75 BTC at 60,000 are pledged, at most 30 of them by one client."""
    cap = {
        "product": "vip",
        "asset": "BTC",
        "platform_borrow": None,
        "user_collateral": Decimal(1_500_000),
        "platform_collateral": Decimal(4_000_000),
    }
    found = preview.of("risk.publish_asset_cap", cap, at=NOON)
    assert found["words"] == "No group would change its band."
    assert found["usage"] == [
        {"what": "lent by the desk", "used": "0.00", "cap": ""},
        {"what": "collateral of one client, the largest", "used": "1800000.00", "cap": "1500000"},
        {"what": "collateral of all clients", "used": "4500000.00", "cap": "4000000"},
    ]
    assert preview.of("risk.publish_depth", {}, at=NOON) == {}


def test_many_groups_are_read_in_parts(
    groups: list[CollateralGroup], monkeypatch: pytest.MonkeyPatch
) -> None:
    """R-GEN-36"""
    monkeypatch.setattr(preview, "CHUNK", 2)
    found = preview.of("risk.publish_ratios", {"asset": "BTC", "tiers": tiers(("0", "0.8"))}, at=NOON)
    assert (found["groups"], found["words"]) == (3, "1 group would enter CALL, 1 LIQ.")


# --- Told in advance ----------------------------------------------------------------------------------


def publish(*each: tuple[str, str], starts: timedelta = 3 * DAY, ramp_days: int = 0) -> RatioSchedule:
    return parameters.publish_ratios(
        asset="BTC",
        tiers=tiers(*each),
        effective_at=NOON + starts,
        ramp_days=ramp_days,
        actor=BUILDER,
        at=NOON,
    )


def told() -> list[tuple[int, str]]:
    rows = Notice.objects.filter(kind="ratios_change").order_by("pk")
    return [(row.facts["group"], row.title) for row in rows]


def test_each_group_is_told_its_own_ltv_at_publication_and_a_day_before(
    groups: list[CollateralGroup],
) -> None:
    """R-GEN-36: once each, whatever how often the job runs."""
    row = publish(("0", "0.8"))
    assert row.announced_at == NOON
    for _ in range(2):
        announcements.announce_due(at=NOON + MINUTE)
    first = told()
    assert [group for group, _ in first] == [group.pk for group in groups]
    assert first[1][1] == (
        f"New BTC ratios from 2026-01-04 12:00 UTC: LTV of {groups[1].name} would be 83.33 %"
    )
    body = Notice.objects.get(facts__group=groups[1].pk).body
    assert "would be 83.33 % under the new ratios; it is 66.66 % now" in body
    assert "To stay below the margin call line: repay 76,000.01 USDT, or add collateral" in body

    announcements.announce_due(at=NOON + 2 * DAY - MINUTE)
    assert told() == first
    for _ in range(2):
        announcements.announce_due(at=NOON + 2 * DAY)
    assert [group for group, _ in told()] == [group.pk for group in groups] * 2
    announcements.announce_due(at=NOON + 3 * DAY)
    assert len(told()) == 6


def test_who_is_not_touched_is_not_told(groups: list[CollateralGroup]) -> None:
    """R-GEN-36: more than 1.7 m USD of BTC counts less; only the first group has that much."""
    publish(("0", "1"), ("1700000", "0.5"))
    announcements.announce_due(at=NOON)
    assert [group for group, _ in told()] == [groups[0].pk]


def test_a_ramp_is_announced_once_with_what_it_ends_at(groups: list[CollateralGroup]) -> None:
    """R-GEN-36"""
    publish(("0", "0.8"), starts=2 * DAY, ramp_days=4)
    for minutes in range(3):
        announcements.announce_due(at=NOON + minutes * MINUTE)
    assert len(told()) == 3
    body = Notice.objects.get(facts__group=groups[0].pk).body
    assert "2026-01-03 12:00 UTC, in 4 daily steps until 2026-01-06 12:00 UTC: 80 % from 0 USD" in body
    for day in range(1, 7):
        announcements.announce_due(at=NOON + day * DAY)
    assert len(told()) == 6


def test_what_starts_within_a_day_is_told_once_and_what_is_in_force_not_at_all(
    groups: list[CollateralGroup],
) -> None:
    """R-GEN-36"""
    publish(("0", "0.9"), starts=timedelta(0))
    announcements.announce_due(at=NOON)
    assert told() == []
    publish(("0", "0.8"), starts=DAY)
    for hours in range(24):
        announcements.announce_due(at=NOON + timedelta(hours=hours))
    assert len(told()) == 3


# --- From proposal to force -----------------------------------------------------------------------------


def test_ratios_are_proposed_by_one_and_released_by_another(groups: list[CollateralGroup]) -> None:
    """R-ADM-03, R-GEN-36: with the preview, and in force from the release when no date is given."""
    maker, checker = build.user("risk_officer"), build.user("risk_officer")
    arguments: dict[str, Any] = {"asset": "BTC", "tiers": tiers(("0", "0.8"))}
    with pytest.raises(NeedsApproval):
        parameters.publish_ratios(**arguments, actor=Actor.user(maker), at=NOON)
    with pytest.raises(NotYourRole):
        parameters.publish_ratios(**arguments, actor=Actor.user(build.user("vip_manager")), at=NOON)

    approval = approvals.run_or_propose(
        command="risk.publish_ratios",
        arguments=arguments,
        title="BTC at 80 %",
        preview=preview.of("risk.publish_ratios", arguments, at=NOON),
        reason="Thin market",
        actor=Actor.user(maker),
        at=NOON,
    )

    assert approval is not None
    assert approval.preview["words"] == "1 group would enter CALL, 1 LIQ."
    assert RatioSchedule.objects.filter(asset="BTC").count() == 1
    again = preview.of(approval.command, approvals.stored_arguments(approval), at=NOON)
    assert again == approval.preview
    approvals.release(approval_id=approval.pk, actor=Actor.user(checker), at=NOON + MINUTE)
    assert parameters.terms_at(NOON)["BTC"].tiers[0].ratio == 1
    assert parameters.terms_at(NOON + MINUTE)["BTC"].tiers[0].ratio == Decimal("0.8")


def test_one_clients_lines_need_two_people_when_they_are_easier_than_the_products(
    groups: list[CollateralGroup],
) -> None:
    """R-ADM-03: LTV above default, liquidation above 91 %, a lower fee; R-ADM-02: a manager's own clients only."""
    manager, other = build.user("vip_manager"), build.user("vip_manager")
    customer = build.customer(manager=manager)

    def ask(of: Lines, by: Any = manager) -> object:
        return parameters.publish_limits(
            product="vip", lines=of, customer=customer, actor=Actor.user(by), at=NOON + MINUTE
        )

    fee_waived = Lines(*map(Decimal, ("0.72", "0.77", "0.91", "0.95", "0.01")))
    for easier in (lines("0.73"), lines("0.72", "0.78"), lines("0.72", "0.77", "0.92"), fee_waived):
        with pytest.raises(NeedsApproval):
            ask(easier)
    with pytest.raises(parameters.NotYourClient):
        ask(lines("0.7"), by=other)
    assert Limits.objects.count() == 1
    ask(lines("0.7"))
    found = parameters.lines_for(product="vip", customer=customer, assets=(), at=NOON + MINUTE)
    assert found == lines("0.7")


def test_a_managers_hand_does_not_reach_the_whole_product(groups: list[CollateralGroup]) -> None:
    """R-ADM-02, R-ADM-03: not even as a proposal."""
    with pytest.raises(parameters.NotYourClient):
        approvals.propose(
            command="risk.publish_limits",
            arguments={"product": "vip", "lines": lines()},
            title="All",
            preview={},
            reason="x",
            actor=Actor.user(build.user("vip_manager")),
            at=NOON,
        )
