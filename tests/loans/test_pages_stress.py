"""The stress page: who may ask, what is asked and refused, the answer and where its figures come from. R-FTR-27"""

import gzip
import html
import re
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from accounts import approvals
from accounts.commands import Actor
from accounts.models import User
from risk import stress_progress, stress_runs
from risk.levels import Lines
from risk.models import CollateralGroup, Debt, Liquidation, MarginCall, StressRun
from tests import build
from tests.build import NOON
from tests.loans import visit

pytestmark = pytest.mark.django_db
WATCHERS = ("risk_officer", "finance", "auditor", "admin")


@pytest.fixture
def groups() -> Iterator[list[CollateralGroup]]:
    """BTC at 60,000; three groups that owe 1,000,000 on 30, 25 and 20 BTC: LTV 55.6, 66.7 and 83.4 %."""
    build.fund_pool("USDT")
    found: list[Debt] = [build.secured_debt(btc=btc) for btc in ("30", "25", "20")]
    build.prices(at=NOON, BTC="60000", USDT="1")
    with visit.at(NOON):
        yield [debt.group for debt in found]


def text_of(response: Any) -> str:
    words = html.unescape(re.sub(r"<[^>]+>", " ", response.content.decode()))
    return " ".join(words.replace("\u00a0", " ").split())


def get(user: User, name: str, *args: object, **query: str) -> Any:
    return visit.client_of(user).get(reverse(f"loans:{name}", args=args), query)


def ask(user: User, **asked: Any) -> Any:
    given = {"kind": "shock", "steps": "1", "key": str(uuid4())} | asked
    return visit.client_of(user).post(reverse("loans:stress"), given)


def asked(user: User, **scenario: Any) -> StressRun:
    """A run that has been answered."""
    response = ask(user, **scenario)
    assert response.status_code == 302, text_of(response)
    assert stress_runs.run_due(at=NOON) == 1
    return StressRun.objects.latest("pk")


@pytest.mark.parametrize("role", WATCHERS)
def test_those_who_watch_the_book_may_ask(groups: list[CollateralGroup], role: str) -> None:
    """R-FTR-27"""
    assert asked(build.user(role), moves="BTC=-20%").problem == ""


@pytest.mark.parametrize(("role", "status"), [("vip_manager", 403), ("ops", 403), ("borrower", 404)])
def test_nobody_else_may_look_or_ask(groups: list[CollateralGroup], role: str, status: int) -> None:
    """R-FTR-27, R-GEN-95"""
    run = asked(build.user("risk_officer"), moves="BTC=-20%")
    user = build.user(role)

    assert get(user, "stress").status_code == status
    assert ask(user, moves="BTC=-20%").status_code == status
    for page in ("stress_run", "stress_groups", "stress_csv"):
        assert get(user, page, run.pk).status_code == status
    assert StressRun.objects.count() == 1


def test_a_run_waits_and_is_then_told_with_every_figure(groups: list[CollateralGroup]) -> None:
    """R-FTR-27: BTC at 48,000 makes LTVs of 69.5, 83.4 and 104.2 %; of 1,000,000 only 960,000 come back"""
    officer = build.user("risk_officer", name="Rita")
    response = ask(officer, moves="BTC=-20%")
    run = StressRun.objects.get()
    assert response["Location"] == reverse("loans:stress_run", args=[run.pk])
    assert "Being worked out" in text_of(get(officer, "stress_run", run.pk))

    stress_runs.run_due(at=NOON)
    words = text_of(get(officer, "stress_run", run.pk))

    assert "3 groups that owe something, 1 step" in words
    assert "Groups called 1 Groups liquidated 1 of them without a call before 1" in words
    assert "Their debt 1,000,230 USD" in words or "Their debt 1,000,000 USD" in words
    assert "Collateral sold 960,000 USD" in words
    assert "1 in margin call, 0 at or over the liquidation line" in words
    assert "Nobody reacts" in words
    assert "BTC −20 %, at once" in text_of(get(officer, "stress")) or "BTC -20 %" in text_of(
        get(officer, "stress")
    )
    assert not MarginCall.objects.exists()
    assert not Liquidation.objects.exists()


def test_a_figure_leads_to_its_groups(groups: list[CollateralGroup]) -> None:
    """R-FTR-27: by what happened, by coin and by client; nothing else is listed"""
    auditor = build.user("auditor")
    run = asked(auditor, moves="BTC=-20%")
    safe, called, sold = (str(group) for group in groups)

    assert called in (words := text_of(get(auditor, "stress_groups", run.pk, of="called")))
    assert safe not in words
    assert sold not in words
    assert sold in text_of(get(auditor, "stress_groups", run.pk, of="lost", coin="BTC"))
    other = str(groups[0].customer_id)
    assert "0 groups" in text_of(get(auditor, "stress_groups", run.pk, of="lost", client=other))
    assert get(auditor, "stress_groups", run.pk, of="nonsense").status_code == 404


def test_the_csv_is_no_formula(groups: list[CollateralGroup]) -> None:
    """R-FTR-27: a firm's name is text in a spreadsheet, whatever it looks like"""
    from accounts.commands import acting

    owner = groups[2].customer
    with acting(build.BUILDER):
        owner.name = "=HYPERLINK(1)"
        owner.save(update_fields=["name"])
    finance = build.user("finance")
    run = asked(finance, moves="BTC=-20%")

    response = get(finance, "stress_csv", run.pk)

    lines = response.content.decode().splitlines()
    assert response["Content-Disposition"] == f'attachment; filename="stress-{run.pk}.csv"'
    assert len(lines) == 3
    assert lines[2].startswith(f"{groups[2].pk},{owner.pk},'=HYPERLINK(1),,1,")


def test_a_known_day_and_a_file_can_be_asked_for(groups: list[CollateralGroup]) -> None:
    """R-FTR-27: a file of three bars, packed or not; BTC falls by half over it"""
    admin = build.user("admin")
    assert asked(admin, kind="day", day="2020-03-13").result["title"] == "10 to 13 March 2020, Black Thursday"
    rows = "".join(
        f"{NOON + number * timedelta(minutes=1):%Y-%m-%dT%H:%M:%SZ},BTC,{usd},{usd},{usd},{usd}\n"
        for number, usd in enumerate((100, 75, 50))
    )
    content = f"time_utc,asset,open,high,low,close\n{rows}".encode()
    several = gzip.compress(content[:60]) + gzip.compress(content[60:])
    for told in (content, gzip.compress(content), several):
        run = asked(admin, kind="file", file=SimpleUploadedFile("fall.csv", told))
        assert run.result["steps"] == 3
        assert run.result["moves"][0] == {"coin": "BTC", "lowest": "0.500000000000", "last": "0.500000000000"}
        words = text_of(get(admin, "stress_run", run.pk))
        assert "Step by step" in words
        assert "Groups liquidated 3" in words


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"moves": "BTC=-100%"}, "A price falls by less than 100 %"),
        ({"moves": "BTC down"}, "Write a shock as BTC=-40%"),
        ({"moves": "BTC=-10%\nBCT=-40%"}, "The desk has no coin BCT"),
        ({"moves": ""}, "A scenario says what happens to at least one coin"),
        ({"moves": "BTC=-10%", "steps": "301"}, "less than or equal to 300"),
        ({"kind": "file"}, "Choose a price file"),
        ({"kind": "file", "file": b"time,price\n"}, "column time_utc must be there once"),
        ({"kind": "file", "file": b"\x1f\x8bnot gzip"}, "not a whole gzip file"),
        ({"kind": "file", "file": gzip.compress(b"0" * 13_000_000)}, "more than 12 MB"),
        ({"kind": "file", "file": bytes(2 * 1024 * 1024 + 1)}, "more than 2 MB"),
        ({"moves": "BTC=-10%", "proposal": "77"}, "77 is not one of the available choices"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_what_makes_no_sense_is_refused_on_the_form(
    groups: list[CollateralGroup], given: dict[str, Any], words: str
) -> None:
    """R-FTR-27: with the reason, and nothing is asked"""
    if isinstance(given.get("file"), bytes):
        given = given | {"file": SimpleUploadedFile("prices.csv.gz", given["file"])}
    response = ask(build.user("risk_officer"), **given)

    assert response.status_code == 422
    assert words in text_of(response)
    assert not StressRun.objects.exists()


def test_a_fourth_run_of_one_person_waits_for_the_others(groups: list[CollateralGroup]) -> None:
    """R-FTR-27"""
    officer = build.user("risk_officer")
    for _ in range(3):
        assert ask(officer, moves="BTC=-20%").status_code == 302

    response = ask(officer, moves="BTC=-20%")

    assert response.status_code == 422
    assert "3 of your stresses are being worked out" in text_of(response)
    assert StressRun.objects.count() == 3
    assert ask(build.user("risk_officer"), moves="BTC=-20%").status_code == 302


def test_a_proposal_is_compared_with_what_is_in_force(groups: list[CollateralGroup]) -> None:
    """R-FTR-27, R-ADM-03: at 62/66/70 % the group of 83.4 % after the fall would be sold too"""
    maker, checker = build.user("risk_officer"), build.user("risk_officer")
    lines = Lines(*map(Decimal, ("0.62", "0.66", "0.70", "0.95", "0.02")))
    proposal = approvals.propose(
        command="risk.publish_limits",
        arguments={"product": "vip", "lines": lines},
        title="Lower lines",
        preview={},
        reason="Caution",
        actor=Actor.user(maker),
        at=NOON,
    )
    page = visit.client_of(checker).get(reverse("loans:approval", args=[proposal.pk]))
    assert f"{reverse('loans:stress')}?proposal={proposal.pk}" in page.content.decode()

    run = asked(checker, moves="BTC=-20%", proposal=str(proposal.pk))
    words = text_of(get(checker, "stress_run", run.pk))

    assert f"Compared with: {proposal}: Lower lines" in words
    assert "Groups liquidated 1 2 +1" in words
    assert "2 groups" in text_of(get(checker, "stress_groups", run.pk, of="liquidated", after="1"))
    assert "1 group " in text_of(get(checker, "stress_groups", run.pk, of="liquidated"))
    approvals.withdraw(approval_id=proposal.pk, actor=Actor.user(maker), at=NOON)
    assert str(proposal) not in text_of(get(checker, "stress"))


def test_a_run_says_how_far_it_is_and_is_found_again(groups: list[CollateralGroup]) -> None:
    """R-FTR-27: in per cent from its own count, the next with its place; one that nobody takes says so."""
    officer = build.user("risk_officer", name="Rita")
    ask(officer, moves="BTC=-20%")
    ask(officer, moves="BTC=-30%")
    first, second = StressRun.objects.order_by("pk")
    stress_progress.teller(first.pk)(126, 300)

    assert "Being worked out: 42 %, step 126 of 300." in text_of(get(officer, "stress_run", first.pk))
    assert "Waits: 1 stress before it." in text_of(get(officer, "stress_run", second.pk))
    runs = get(officer, "stress")
    assert "BTC -20 %, at once 42 % done · Rita" in text_of(runs)
    assert 'hx-trigger="every 3s"' in runs.content.decode()
    assert stress_runs.run_due(at=NOON) == 2
    assert 'hx-trigger="every 3s"' not in get(officer, "stress").content.decode()
    ask(officer, moves="BTC=-40%")
    third = StressRun.objects.latest("pk")
    assert "Nobody works on it" not in text_of(get(officer, "stress_run", third.pk))
    with visit.later(officer, NOON + timedelta(seconds=61)) as page:
        told = text_of(page.get(reverse("loans:stress_run", args=[third.pk])))
    assert "Nobody works on it. It has waited for over a minute" in told


def test_the_book_by_ltv_stands_before_and_after(groups: list[CollateralGroup]) -> None:
    """R-FTR-27: one of three is sold whole."""
    officer = build.user("risk_officer")
    run = asked(officer, moves="BTC=-20%")
    told = text_of(get(officer, "stress_run", run.pk))
    assert "65 % to below 70 % 1 1,000,000 USD 1 1,000,000 USD" in told
    assert "80 % to below 85 % 1 1,000,000 USD 1 1,000,000 USD" in told
    assert "Sold whole or repaid 0 1" in told
