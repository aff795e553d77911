"""What one act does to a group's LTV: before and after on one track, and what changes, in words.

The two states come from whoever would decide the act (the gate, the pledge, the repayment), so what is shown before
the button is pressed is what the button leads to at the same prices. Nothing is computed here but a drawing and a
sentence. R-FTR-01, R-GEN-45
"""

from dataclasses import dataclass

from accounts.templatetags import figures
from accounts.words import joined, tell
from risk import delays, margin_calls, parameters, prospects
from risk.book import GroupState
from risk.levels import Band, Lines, band, has_recovered
from risk.models import CollateralGroup
from risk.pages.track import Track, track
from risk.valuation import Worth


@dataclass(frozen=True, slots=True)
class Effect:
    """`then` is the worth afterwards, by the rule that decides the act; `follows` may be empty.

    `track` is None where LTV cannot be told before or after; `words` says why.
    """

    group: CollateralGroup
    then: Worth
    band: Band
    track: Track | None
    words: str
    follows: str = ""


def effect_of(before: GroupState, after: GroupState, *, permission: bool) -> Effect:
    """`permission`: as the gate judges, by fresh prices; else as the watch looks, by the last good ones (R-GEN-22)."""
    group, lines = before.group, before.lines
    assert group is not None
    was, then = before.worth(permission=permission), after.worth(permission=permission)
    unknown = before.stale_debts if permission else sorted(before.owed_assets - set(before.quotes))
    if unknown:
        words = tell(
            "LTV of {group} cannot be told now: {unknown} is owed and has no fresh price.",
            group=group.name,
            unknown=joined(", ", unknown),
        )
        return Effect(group, then, band(then, lines), None, words)
    if not was.debt:
        words = tell("Nothing is owed in {group}, so no price can call it.", group=group.name)
        return Effect(group, then, band(then, lines), None, words)
    drawn = None
    if then.ltv is not None:
        drawn = track(was.ltv, lines, after=then.ltv, band=band(was, lines))
    return Effect(
        group, then, band(then, lines), drawn, _shift(was, then), _follows(before, after, was, then)
    )


def standing_words(state: GroupState) -> str:
    """For a confirmation: where the group stands once it is done."""
    assert state.group is not None
    name = state.group.name
    if not (state.debts or state.borrowed):
        return tell("Nothing is owed in {name} any more.", name=name)
    if state.owed_assets - set(state.quotes):
        return tell("LTV of {name} cannot be told now.", name=name)
    return tell("LTV of {name} is {worth} now.", name=name, worth=_told(state.worth(permission=False)))


# --- Private ----------------------------------------------------------------------------------------------


def _told(worth: Worth) -> str:
    return tell("beyond measure") if worth.ltv is None else figures.ltv(worth.ltv)


def _shift(was: Worth, then: Worth) -> str:
    if not then.debt:
        return tell(
            "LTV is {was} now; nothing is owed afterwards: the group closes and its accounts are free.",
            was=_told(was),
        )
    if then.ltv is None:
        return tell("LTV rises from {was} beyond measure, as no collateral would count.", was=_told(was))
    if was.ltv is None:
        return tell(
            "LTV is beyond measure now, as no collateral counts, and falls to {then}.", then=_told(then)
        )
    if _told(was) == _told(then):
        return tell("LTV stays at {then}.", then=_told(then))
    verb = tell("falls") if then.ltv < was.ltv else tell("rises")
    return tell("LTV {verb} from {was} to {then}.", verb=verb, was=_told(was), then=_told(then))


def _follows(before: GroupState, after: GroupState, was: Worth, then: Worth) -> str:
    """What ends, goes on or begins with it. R-GEN-41, R-GEN-62, R-VIP-60"""
    group, lines = before.group, before.lines
    assert group is not None
    earlier, later = band(was, lines), band(then, lines)
    if delays.running(group) is not None:
        if then.is_at_most(lines.initial):
            return tell("The liquidation call ends.")
        return tell(
            "The liquidation call goes on until LTV is back at {initial}.",
            initial=figures.line(lines.initial),
        )
    call = margin_calls.open_call(group)
    if later is Band.LIQ or (later is Band.CALL and call is None):
        return prospects.foresee(after, at=before.at).words
    if call is not None:
        return _of_call(then, later, before)
    if earlier in {Band.CALL, Band.LIQ}:
        return tell(
            "That is below the margin call line of {margin_call}.",
            margin_call=figures.line(lines.margin_call),
        )
    return _across_initial(earlier, later, lines)


def _of_call(then: Worth, later: Band, before: GroupState) -> str:
    lines, settings = before.lines, parameters.settings_at(before.at)
    if later is Band.CALL:
        return tell(
            "The margin call goes on: LTV must come below {margin_call}.",
            margin_call=figures.line(lines.margin_call),
        )
    if has_recovered(then, lines, settings.hysteresis):
        return tell("The margin call ends.")
    end = figures.line(lines.margin_call - settings.hysteresis)
    return tell("That is below the margin call line, but the call itself ends only below {end}.", end=end)


def _across_initial(earlier: Band, later: Band, lines: Lines) -> str:
    line = figures.line(lines.initial)
    if earlier is Band.SAFE and later is Band.WATCH:
        return tell(
            "That is no longer below {line}: nothing more can be borrowed or withdrawn until it is.",
            line=line,
        )
    if earlier is Band.WATCH and later is Band.SAFE:
        return tell("That is below {line}: borrowing and withdrawing open again.", line=line)
    return ""
