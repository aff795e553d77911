"""What is said to a borrower whose collateral would be sold now, were it not for something that keeps the sale back.

A pause of the desk's, the grace after an outage, or the pace at which a coin is sold: said once, with what would help
meanwhile. Inside the transaction that decided it. R-ADM-05, R-GEN-24, R-FTR-22
"""

from datetime import datetime

from accounts import notices
from accounts.words import joined, tell
from risk import margin_calls
from risk.book import GroupState
from risk.models import CollateralGroup, Freeze
from risk.pace import Pace


def tell_of_pause(state: GroupState, pause: Freeze, *, at: datetime) -> None:
    """Its collateral would be sold, were it not for an order of the desk: say so once per pause. R-ADM-05"""
    group = _group(state)
    _tell(
        state,
        event=f"pause:{group.pk}:{pause.pk}",
        kind="liquidation_paused",
        follows="your collateral is to be sold",
        why=tell(
            "{group} ({group2}) would be liquidated now. The desk has paused liquidations until"
            " {ends_at:%Y-%m-%d %H:%M} UTC at the latest; when the pause ends, collateral is sold"
            " unless LTV is lower by then.",
            group=group.name,
            group2=group,
            ends_at=pause.ends_at,
        ),
        facts={"paused_until": pause.ends_at.isoformat()},
        at=at,
    )


def tell_of_pace(state: GroupState, pace: Pace, *, at: datetime) -> None:
    """Its collateral would be sold, were it not for the pace: say so once. R-FTR-22"""
    group = _group(state)
    since = group.breach_seen_at or group.opened_at
    _tell(
        state,
        event=f"pace:{group.pk}:{since.isoformat()}",
        kind="liquidation_paced",
        follows="the sale of your collateral waits",
        why=tell(
            "{group} ({group2}) is to be liquidated, and its sale waits. {told} If LTV is lower"
            " by then, nothing is sold.",
            group=group.name,
            group2=group,
            told=pace.told(),
        ),
        facts={"coin": pace.coin, "most_usd": f"{pace.most_usd:f}"},
        at=at,
    )


def tell_of_grace(state: GroupState, until: datetime | None, *, at: datetime) -> None:
    """Over the liquidation line, and only a grace is in the way: say so once. R-GEN-24"""
    if until is None or at >= until:
        return
    group, lines = _group(state), state.lines
    below = margin_calls.cure_to(state=state, line=lines.liquidation, strictly_below=True)
    _tell(
        state,
        event=f"grace:{group.pk}:{until.isoformat()}",
        kind="grace",
        follows="your collateral will be sold",
        why=tell(
            "{group} ({group2}) is over its liquidation line of {liquidation:.2%}. Because prices"
            " were not available for a while, nothing is sold before {until:%Y-%m-%d %H:%M:%S}"
            " UTC, unless LTV rises above {cutoff:.2%}.\n\nTo get below the liquidation line:"
            " {state}.",
            group=group.name,
            group2=group,
            liquidation=lines.liquidation,
            until=until,
            cutoff=lines.cutoff,
            state=margin_calls.ways(state, below),
        ),
        facts={"grace_until": until.isoformat()},
        at=at,
    )


def _tell(
    state: GroupState,
    *,
    event: str,
    kind: str,
    follows: str,
    why: str,
    facts: dict[str, object],
    at: datetime,
) -> None:
    """What keeps the sale back, and with which amounts the group would be at its initial line."""
    group, line = _group(state), state.lines.initial
    initial = margin_calls.cure_to(state=state, line=line, strictly_below=False)
    notices.send(
        customer=group.customer,
        event=event,
        kind=kind,
        title=tell(
            "LTV of {group} is {worth}: {follows}",
            group=group.name,
            worth=margin_calls.percent(state.worth(permission=False)),
            follows=follows,
        ),
        body=joined(
            "\n",
            [
                why,
                "",
                tell(
                    "To get back to the initial line of {line:.2%}: {state}.",
                    line=line,
                    state=margin_calls.ways(state, initial),
                ),
                tell(
                    "Prices used: {state}. They move; so do these amounts.",
                    state=margin_calls.prices_used(state),
                ),
            ],
        ),
        facts=margin_calls.snapshot(state) | {"to_initial": margin_calls.cure_facts(initial)} | facts,
        at=at,
    )


def _group(state: GroupState) -> CollateralGroup:
    assert state.group is not None, "only what exists can be sold from"
    return state.group
