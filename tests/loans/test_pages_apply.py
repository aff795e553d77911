"""The form of a request while it is filled in: figures, the group and who is left out, falls, and the draft."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.test import Client
from django.urls import reverse

from accounts import people
from accounts.models import Account
from loans import drafts
from loans.models import Application, ApplicationDraft
from risk import freezes
from tests import build
from tests.build import LONG_AGO, TEN
from tests.loans import desk, visit
from tests.loans.test_pages_borrower import hidden, text_of, wish

pytestmark = pytest.mark.django_db
TYPING = visit.HTMX | {"HX-Target": "apply-figures"}


@pytest.fixture
def here() -> Iterator[desk.Desk]:
    with visit.at(TEN):
        yield desk.set_up()


@pytest.fixture
def borrower(here: desk.Desk) -> Client:
    return visit.client_of(here.applicant)


def look(client: Client, form: dict[str, Any]) -> Any:
    return client.post(reverse("loans:apply"), form | {"look": "typing"}, headers=TYPING)


def left_out(answer: Any) -> dict[int, str]:
    return {left.account.pk: left.why for left in answer.context["figures"].drawing.cannot}


# --- Figures ----------------------------------------------------------------------------------------------


def test_an_unfinished_request_shows_what_it_comes_to(here: desk.Desk, borrower: Client) -> None:
    """R-FTR-01, R-GEN-40, R-GEN-45: purpose and contact are still empty; nothing is sent and nothing is wrong."""
    answer = look(borrower, wish(here, purpose="", contact=""))
    words = text_of(answer)
    assert answer.status_code == 200
    assert "BTC at 51,948.05 would call you" in words
    assert "LTV at opening66.66 %" in words
    assert "Interest per day230.13698631 USDT230.14 USD" in words
    assert "Most of USDT alone1,080,000.00 USDT" in words
    assert "Still to fill in: Contact, Purpose." in words
    assert 'class="error"' not in answer.content.decode()
    assert not Application.objects.exists()


def test_before_any_amount_the_most_of_each_coin_stands_beside_its_rates(
    here: desk.Desk, borrower: Client
) -> None:
    """R-GEN-45, R-VIP-22, R-VIP-23: 72 % of 1,500,000 USD."""
    words = text_of(borrower.get(reverse("loans:apply")))
    assert "USDT 8.40 % 9.00 % 8.00 % 1,080,000.00 USDT" in words
    assert "BTC at" not in words


def test_falls_show_ltv_and_the_way_back(here: desk.Desk, borrower: Client) -> None:
    """R-FTR-01, EX-09: 1,000,000 against 1,200,000 is 83.33 %; 136,000 repaid, or 3.93518519 BTC at 48,000, is 72 %."""
    answer = look(borrower, wish(here, fall_BTC="-50", fall_all="10"))
    words = text_of(answer)
    assert "All prices −20 % 83.33 % CALL repay 136,000.00 USDT or add 3.93518519 BTC" in words
    assert "As you typed 133.33 % LIQUIDATION" in words
    assert borrower.post(reverse("loans:apply"), wish(here, fall_BTC="a lot")).status_code == 200


def test_what_is_mistyped_is_told_and_the_rest_still_counts(here: desk.Desk, borrower: Client) -> None:
    """R-GEN-01"""
    typed = wish(here, amount_1="1e6")
    assert "Amount: Write the amount in plain digits" in text_of(look(borrower, typed))
    pressed = borrower.post(reverse("loans:apply"), typed | {"look": "1"})
    assert 'id="id_amount_1_error"' in pressed.content.decode()
    assert "1,500,000.00 USD recognised by 1 account" in text_of(pressed)


def test_a_problem_is_told_once_and_a_refused_request_keeps_its_figures(
    here: desk.Desk, borrower: Client
) -> None:
    """R-VIP-07, R-VIP-13: 1,400,000 against 1,500,000 is 93.33 %; the group stays drawn beside the reason."""
    form = wish(here, amount_1="1400000")
    told = look(borrower, form)
    [problem] = told.context["figures"].problems
    assert problem.code == "ltv_too_high"
    panel = told.content.decode().partition('id="apply-figures"')[2]
    assert panel.count("To mend first") == panel.count('<li class="error">') == 1
    refused = borrower.post(reverse("loans:apply"), form)
    assert refused.status_code == 422
    assert "1,500,000.00 USD recognised by 1 account" in text_of(refused)


# --- The group --------------------------------------------------------------------------------------------


def test_accounts_are_one_group_with_their_shares(here: desk.Desk, borrower: Client) -> None:
    """R-VIP-04, R-GEN-32: 25 and 15 BTC, 2,400,000 USD together."""
    second = build.account(here.owner, label="Second")
    build.deposit(second, "BTC", "15", at=LONG_AGO)
    drawing = look(borrower, wish(here, accounts=[here.sub.pk, second.pk])).context["figures"].drawing
    assert drawing.recognised == 2_400_000
    assert [(part.row.account.pk, part.row.recognised, str(part.share)) for part in drawing.parts] == [
        (here.sub.pk, 1_500_000, "0.6250"),
        (second.pk, 900_000, "0.3750"),
    ]
    assert [part.x for part in drawing.parts] == ["0%", "62.50%"]


def test_every_account_left_out_says_why(here: desk.Desk, borrower: Client) -> None:
    """R-VIP-03, R-GEN-13, R-GEN-15, R-ADM-04: none is missing, none counts although it is ticked."""
    desk.drawn(here, "500000")
    managed = build.account(here.owner, kind=Account.Kind.SUB_MANAGED)
    empty, held, free = (build.account(here.owner, label=name) for name in ("Empty", "Held", "Free"))
    for account in (held, free):
        build.deposit(account, "BTC", "10", at=LONG_AGO)
    freezes.place(
        what="borrow",
        reason="Disputed",
        account_uid=held.pk,
        ends_at=TEN + timedelta(days=1),
        actor=here.decider,
        at=TEN,
    )
    answer = look(borrower, wish(here, receiver=empty.pk, accounts=[here.sub.pk, held.pk, free.pk]))
    why = left_out(answer)
    assert why.keys() == {managed.pk, empty.pk, held.pk, here.sub.pk}
    assert "managed sub-account" in why[managed.pk]
    assert "It receives this loan" in why[empty.pk]
    assert "The reason: Disputed." in why[held.pk]
    assert "It already secures" in why[here.sub.pk]
    drawing = answer.context["figures"].drawing
    assert [left.account for left in drawing.could] == [here.master]
    assert [part.row.account for part in drawing.parts] == [free]
    assert "Held" in text_of(answer)
    refused = borrower.post(
        reverse("loans:apply"), wish(here, receiver=empty.pk, accounts=[here.sub.pk, free.pk])
    )
    assert refused.status_code == 422
    assert not Application.objects.exclude(status="disbursed").exists()


# --- The draft --------------------------------------------------------------------------------------------


def test_a_draft_is_taken_up_as_it_was_typed(here: desk.Desk, borrower: Client) -> None:
    """R-VIP-10: half a word in an amount and two rows; the other device sees the same; begun is not changed."""
    look(borrower, wish(here, amount_1="90000", asset_2="USDT", amount_2="12half", fall_BTC="-9"))
    with visit.later(here.applicant, TEN + timedelta(hours=2)) as elsewhere:
        page = elsewhere.get(reverse("loans:apply")).content.decode()
        assert "You began this on" in page
        assert 'value="90000"' in page
        assert 'value="12half"' in page
        assert "Working capital" in page
        look(elsewhere, wish(here, amount_1="95000"))
    draft = ApplicationDraft.objects.get()
    assert (draft.begun_at, draft.updated_at) == (TEN, TEN + timedelta(hours=2))
    assert draft.typed["amount_1"] == "95000"
    assert not {"key", "look", "csrfmiddlewaretoken", "fall_BTC"} & draft.typed.keys()


def test_a_draft_is_its_owners_alone(here: desk.Desk, borrower: Client) -> None:
    """R-GEN-95"""
    look(borrower, wish(here, purpose="Nobody else's business"))
    colleague = build.user()
    people.add_member(customer_id=here.owner.pk, user_id=colleague.pk, actor=build.BUILDER, at=TEN)
    other = visit.client_of(colleague)
    assert "Nobody else" not in other.get(reverse("loans:apply")).content.decode()
    other.post(reverse("loans:apply"), {"step": "discard"})
    assert ApplicationDraft.objects.get().user == here.applicant


def test_a_sent_request_and_a_discarded_one_leave_no_draft(here: desk.Desk, borrower: Client) -> None:
    """R-VIP-10: a refusal keeps it."""
    form = wish(here)
    look(borrower, form)
    assert borrower.post(reverse("loans:apply"), {"step": "discard"}).status_code == 302
    assert not ApplicationDraft.objects.exists()
    assert borrower.post(reverse("loans:apply"), wish(here, amount_1="1000")).status_code == 422
    assert ApplicationDraft.objects.exists()
    sheet = borrower.post(reverse("loans:apply"), form)
    assert ApplicationDraft.objects.exists()
    borrower.post(reverse("loans:apply"), form | {"step": "accept", "accepted": hidden(sheet, "accepted")})
    assert Application.objects.count() == 1
    assert not ApplicationDraft.objects.exists()


def test_a_link_for_a_coin_joins_the_draft(here: desk.Desk, borrower: Client) -> None:
    build.asset("USDC")
    desk.loan_limit("USDC")
    look(borrower, wish(here, amount_1="90000"))
    page = borrower.get(reverse("loans:apply"), {"asset": "USDC"})
    form = page.context["form"]
    assert [(coin.value(), amount.value()) for coin, amount in form.coin_rows] == [
        ("USDT", "90000"),
        ("USDC", None),
    ]
    strange = borrower.get(reverse("loans:apply"), {"asset": "NOPE"}).context["form"]
    assert len(strange.coin_rows) == 1


def test_whatever_is_typed_fits_into_a_draft(here: desk.Desk, borrower: Client) -> None:
    """Endless, empty or with characters the database has no text for: kept or cut, never an error."""
    for text in ("x" * 20_000, "\u0001" * 5000, ""):
        answer = look(
            borrower, wish(here, purpose=text, contact=text, amount_1=text, coins=[text[:99]] * 300)
        )
        assert answer.status_code == 200
    asked = {"user": here.applicant, "customer": here.owner, "at": TEN}
    drafts.keep(typed={"purpose": "a\x00b" + "x" * 9000, "coins": ["\x00BTC"] * 500}, **asked)
    kept = ApplicationDraft.objects.get().typed
    assert (kept["purpose"][:3], len(kept["purpose"]), kept["coins"]) == ("abx", 2500, ["BTC"] * 200)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE loans_applicationdraft SET user_id = user_id",
        "UPDATE loans_applicationdraft SET customer_id = customer_id",
        "UPDATE loans_applicationdraft SET typed = '[]'",
        """UPDATE loans_applicationdraft SET typed = jsonb_build_object('purpose', repeat('x', 1100000))""",
    ],
)
def test_the_database_keeps_a_draft_with_its_owner_and_small(change: str, here: desk.Desk) -> None:
    drafts.keep(user=here.applicant, customer=here.owner, typed={"purpose": "x"}, at=TEN)
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(change)
