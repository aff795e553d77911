"""Before and after, in place: what each form promises of LTV is what its button leads to, and looking writes nothing.

R-FTR-01, R-GEN-45, R-VIP-54, R-VIP-55
"""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.commands import acting
from accounts.templatetags import figures
from loans.models import Loan
from risk import book, groups, sweep
from risk.models import CollateralGroup, MarginCall
from risk.pages.effect import Effect
from tests import build
from tests.build import TEN
from tests.loans import desk as desks
from tests.loans import visit
from tests.loans.desk import Desk
from tests.loans.test_pages_borrower import hidden, text_of

pytestmark = pytest.mark.django_db
D = Decimal
DAY = TEN + timedelta(days=1)
RENEWABLE = TEN + timedelta(days=27)
WRITES = ("INSERT", "UPDATE", "DELETE")


@pytest.fixture
def here() -> Iterator[Desk]:
    """25 BTC and 10 ETH secure 1,000,000 USDT at 66.66 %; a second account holds 5 BTC apart."""
    with visit.at(TEN):
        build.asset("ETH")
        build.ratios("ETH", ("0", "0.5"))
        made = desks.set_up()
        build.fund_pool("ETH", "1000")
        quote(TEN)
        yield made


def quote(at: Any, **usd: str) -> None:
    build.prices(at=at, **({"BTC": "60000", "USDT": "1", "ETH": "3000"} | usd))


def borrowed(here: Desk, **changes: Any) -> Loan:
    return desks.drawn(here, coins=("BTC", "ETH"), **changes)


def worth_of(group: CollateralGroup, at: Any, *, permission: bool) -> Any:
    return book.state_of(group, at=at).worth(permission=permission)


def effect_in(answer: Any) -> Effect:
    payment = answer.context.get("payment")
    effects = [answer.context.get("effect"), *(answer.context.get("effects") or ())]
    found = payment.effect if payment else next(filter(None, effects), None)
    assert isinstance(found, Effect)
    return found


def writes_of(captured: CaptureQueriesContext) -> list[str]:
    told = [query["sql"] for query in captured]
    return [sql for sql in told if sql.startswith(WRITES) and "django_session" not in sql]


def move(here: Desk, kind: str, **values: Any) -> tuple[str, dict[str, Any]]:
    return reverse("risk:move", args=[kind]), values


def asked(here: Desk, loan: Loan, what: str) -> tuple[str, dict[str, Any]]:
    """The address and what is typed, for each thing that moves LTV."""
    sub, group = here.sub.pk, loan.group_id
    second = here.owner.accounts.exclude(pk__in=[sub, here.master.pk]).get().pk
    coins: dict[str, Any] = {"asset": "BTC", "amount": "1.23456789"}
    ends: dict[str, Any] = {"account": second, "wallet": "spot", "target": sub, "target_wallet": "spot"}
    pledge = reverse("loans:collateral", args=[group])
    repay = reverse("loans:repay", args=[loan.pk])
    return {
        "repay some": (repay, {"how": "amount", "amount": "123456.78901234"}),
        "repay a share": (repay, {"how": "25", "amount": ""}),
        "repay all": (repay, {"how": "100", "amount": ""}),
        "move in": move(here, "transfer", **coins | ends),
        "move out": move(here, "transfer", **coins | ends | {"account": sub, "target": second}),
        "withdraw": move(here, "withdraw", account=sub, wallet="spot", address="bc1q", **coins),
        "trade": move(here, "trade", account=sub, asset="BTC", amount="0.5", buy="ETH"),
        "add an account": (pledge, {"what": "add", "account": second}),
    }[what]


EVERY = (
    "repay some",
    "repay a share",
    "repay all",
    "move in",
    "move out",
    "withdraw",
    "trade",
    "add an account",
)


@pytest.mark.parametrize("what", EVERY)
def test_what_was_shown_is_what_comes(here: Desk, what: str) -> None:
    """R-FTR-01: the promised debt and collateral are exactly those after the command, at the same prices."""
    loan = borrowed(here)
    build.deposit(build.account(here.owner), "BTC", "5", at=TEN)
    build.deposit(here.master, "USDT", "100000", at=TEN)
    quote(DAY)
    to, typed = asked(here, loan, what)
    form = typed | {"key": str(uuid4())}
    with visit.later(here.applicant, DAY) as borrower:
        before = worth_of(loan.group, DAY, permission=True)
        shown = borrower.post(to, form | {"look": "1"})
        assert shown.status_code == 200, text_of(shown)
        promised = effect_in(shown)
        assert worth_of(loan.group, DAY, permission=True) == before

        done = borrower.post(to, form | {"seen": hidden(shown, "seen")})

        assert done.status_code == 302, text_of(done)
        after = worth_of(loan.group, DAY, permission=True)
        assert after.debt == promised.then.debt
        assert after != before
        told = text_of(borrower.get(done["Location"]))
    if after.debt:
        assert after.collateral == promised.then.collateral
        assert f"LTV of {loan.group.name} is {D(int(after.ltv * 10000)) / 100:.2f} % now." in told
    else:
        assert f"Nothing is owed in {loan.group.name} any more." in told


def test_an_account_that_leaves_is_shown_as_it_will_be(here: Desk) -> None:
    """R-VIP-55: exactly."""
    loan = borrowed(here)
    second = build.account(here.owner)
    build.deposit(second, "BTC", "1", at=TEN)
    borrower, to = visit.client_of(here.applicant), reverse("loans:collateral", args=[loan.group_id])
    for what in ("add", "remove"):
        form = {"what": what, "account": second.pk, "key": str(uuid4())}
        shown = borrower.post(to, form | {"look": "1"})
        borrower.post(to, form | {"seen": hidden(shown, "seen")})
        assert worth_of(loan.group, TEN, permission=True) == effect_in(shown).then
    assert "LTV rises from 64.10 % to 66.66 %." in text_of(shown)


@pytest.mark.parametrize("what", ["add", "remove"])
def test_an_account_sent_twice_is_answered_alike(here: Desk, what: str) -> None:
    """R-GEN-06: the second press is told what came of the first; another one is refused as no choice."""
    spare = build.account(here.owner)
    group = borrowed(here).group
    if what == "remove":
        groups.add_account(group_id=group.pk, uid=spare.pk, max_accounts=9, actor=here.borrower, at=TEN)
    client, to = visit.client_of(here.applicant), reverse("loans:collateral", args=[group.pk])
    form = {"what": what, "account": spare.pk, "key": str(uuid4())}
    form |= {"seen": hidden(client.post(to, form), "seen")}
    first, second = (client.post(to, form) for _ in range(2))
    assert (first.status_code, first["Location"]) == (302, reverse("risk:group", args=[group.pk]))
    assert (second.status_code, second["Location"]) == (302, first["Location"])
    members = group.members.filter(account=spare, released_at__isnull=True)
    assert members.exists() is (what == "add")
    assert client.post(to, form | {"key": str(uuid4())}).status_code == 422
    assert client.post(to, form | {"key": "\x00"}).status_code == 422


def test_a_renewal_shows_what_paying_the_interest_does(here: Desk) -> None:
    """R-VIP-41, R-VIP-42: interest due now, the new expiry of each term, and LTV exactly as it comes."""
    loan = borrowed(here)
    quote(RENEWABLE)
    with visit.later(here.applicant, RENEWABLE) as borrower:
        page = borrower.get(reverse("loans:loan", args=[loan.pk]))
        promised = page.context["renewal"].effect
        told = text_of(page)
        assert "8.40 % until 2 Mar 2026, 10:00 UTC" in told
        assert "9.00 % until 1 Apr 2026, 10:00 UTC" in told
        assert "LTV falls from" in told
        answer = borrower.post(
            reverse("loans:renew", args=[loan.pk]), {"key": str(uuid4()), "term": "60"}, follow=True
        )
    assert promised.then == worth_of(loan.group, RENEWABLE, permission=False)
    said = text_of(answer)
    assert "6,213.69863037 USDT is paid on L-" in said
    assert "all of it interest." in said
    assert "until 1 Apr 2026, 10:00 UTC" in said


@pytest.mark.parametrize("what", EVERY)
def test_a_look_writes_no_row(here: Desk, what: str) -> None:
    """R-FTR-01, R-GEN-45: neither does one that carries the signature of what was shown; not even a session's."""
    loan = borrowed(here)
    build.deposit(build.account(here.owner), "BTC", "5", at=TEN)
    build.deposit(here.master, "USDT", "100000", at=TEN)
    quote(DAY)
    to, typed = asked(here, loan, what)
    with visit.later(here.applicant, DAY) as borrower:
        seen = hidden(borrower.post(to, typed | {"key": str(uuid4())}), "seen")
        form = typed | {"key": str(uuid4()), "seen": seen}
        for look in ({"look": "1"}, {"look": "typing"}):
            with CaptureQueriesContext(connection) as captured:
                answer = borrower.post(to, form | look, headers=visit.HTMX)
            assert answer.status_code == 200
            assert writes_of(captured) == []


@pytest.mark.parametrize(
    ("what", "changes", "why"),
    [
        ("repay some", {"amount": "9000000"}, "you cannot repay more."),
        ("repay some", {"amount": "1,2,3"}, "Amount:"),
        ("move out", {"account": "sub", "amount": "3"}, "LTV would be"),
        ("withdraw", {"amount": "99"}, "This wallet holds 25 BTC, less than 99."),
        ("trade", {"amount": "0"}, "Amount:"),
    ],
)
def test_a_refusal_stands_where_the_effect_would(
    here: Desk, what: str, changes: dict[str, str], why: str
) -> None:
    """R-VIP-52: while typing too, in words, with no button that would do it."""
    loan = borrowed(here)
    build.deposit(build.account(here.owner), "BTC", "5", at=TEN)
    to, typed = asked(here, loan, what)
    typed |= {name: value for name, value in changes.items() if value != "sub"}
    answer = visit.client_of(here.applicant).post(
        to, typed | {"key": str(uuid4()), "look": "typing"}, headers=visit.HTMX
    )
    assert answer.status_code == 422
    html = answer.content.decode()
    fragment = html[html.index('aria-live="polite"') :]
    assert why in " ".join(fragment.split()), fragment
    assert 'name="seen"' not in html


def sentence_of(here: Desk, loan: Loan, amount: str, at: Any) -> str:
    form = {"key": str(uuid4()), "how": "amount", "amount": amount, "look": "1"}
    with visit.later(here.applicant, at) as borrower:
        effect = effect_in(borrower.post(reverse("loans:repay", args=[loan.pk]), form))
    return f"{effect.words} {effect.follows}".replace("\u00a0", " ").strip()


def test_the_words_say_when_a_call_ends(here: Desk) -> None:
    """R-GEN-62: only half a point below its line; before that it goes on, and the words say so."""
    loan = borrowed(here)
    build.deposit(here.master, "USDT", "0.01", at=TEN)
    quote(TEN, BTC="50000")  # 1,000,000 of 1,250,000
    sweep.sweep(at=TEN)
    assert MarginCall.objects.get().ended_at is None
    assert sentence_of(here, loan, "10000", TEN) == (
        "LTV falls from 80.00 % to 79.20 %. The margin call goes on: LTV must come below 77 %."
    )
    assert sentence_of(here, loan, "40000", TEN) == (
        "LTV falls from 80.00 % to 76.80 %. That is below the margin call line, but the call itself ends only below"
        " 76.5 %."
    )
    assert sentence_of(here, loan, "50000", TEN) == "LTV falls from 80.00 % to 76.00 %. The margin call ends."
    assert sentence_of(here, loan, "110000", TEN).endswith("to 71.20 %. The margin call ends.")


def test_the_words_say_which_line_is_crossed(here: Desk, client: Client) -> None:
    """R-VIP-52: WATCH closes and SAFE opens borrowing and withdrawing."""
    loan = borrowed(here)
    quote(TEN, BTC="54000")  # 74.07 %
    assert sentence_of(here, loan, "50000", TEN) == (
        "LTV falls from 74.07 % to 70.37 %. That is below 72 %: borrowing and withdrawing open again."
    )
    assert sentence_of(here, loan, "1000", TEN) == "LTV falls from 74.07 % to 74.00 %."


def test_a_countdown_tells_the_script_what_is_left() -> None:
    """R-GEN-24: in whole seconds when it was written; what is over does not count on."""
    told = figures.countdown(TEN + timedelta(hours=4, minutes=12, seconds=30, milliseconds=900), TEN)
    assert (
        'datetime="2026-01-01T14:12:30Z" data-left="15150" aria-live="off">4\u00a0h 12\u00a0min</time>'
        in told
    )
    assert "data-left" not in figures.countdown(TEN - timedelta(hours=1), TEN)
    assert "data-left" not in figures.countdown(TEN + timedelta(days=3), TEN)


def test_a_running_grace_is_told_where_it_matters(here: Desk) -> None:
    """R-GEN-24: on the group, at home, on the loan and on the desk's page of the call, with how long and until when."""
    loan = borrowed(here)
    quote(TEN, BTC="50000")
    sweep.sweep(at=TEN)
    quote(TEN, BTC="42000")  # 95.23 % of what is owed would be sold at once; a grace holds it
    with acting(build.BUILDER):
        CollateralGroup.objects.update(grace_until=TEN + timedelta(hours=4, minutes=12))
    call = MarginCall.objects.get()
    pages = [
        (here.applicant, reverse("risk:group", args=[loan.group_id])),
        (here.applicant, reverse("loans:home")),
        (here.applicant, reverse("loans:loan", args=[loan.pk])),
        (here.manager, reverse("loans:margin_call", args=[call.pk])),
    ]
    for user, address in pages:
        said = text_of(visit.client_of(user).get(address))
        assert "a grace runs, 4 h 12 min left, until 1 Jan 2026, 14:12 UTC" in said, address
