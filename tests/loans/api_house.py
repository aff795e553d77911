"""A firm with a loan and a request, and every address of /api/v1 about loans that names a row of theirs."""

from typing import Any

from accounts import people
from accounts.models import Approval
from loans import enquiries
from loans.models import Enquiry
from tests.build import BUILDER, LONG_AGO, TEN
from tests.loans import desk as desks
from tests.loans import talks
from tests.loans.desk import Desk, everything
from tests.loans.native import WANTED, asking

NOT_THERE = (404, {"code": "not_found", "message": "There is nothing like that here."})


def writes(desk: Desk, *, application: int, loan: int, enquiry: int) -> list[tuple[str, dict]]:
    """Every write of the loans' side with a body that could be meant."""
    request = asking(desk, accepted="0" * 64)
    return [
        ("applications", request),
        ("applications/negotiate", request | {"wanted": WANTED}),
        (f"applications/{application}/cancel", {}),
        (f"applications/{application}/offers/1/accept", {}),
        (f"applications/{application}/offers/1/decline", {}),
        (f"applications/{application}/offers/1/counter", WANTED),
        (f"loans/{loan}/repay", {"amount": "1"}),
        (f"loans/{loan}/renew", {"term_days": 30}),
        (f"loans/{loan}/auto-repay", {"on": True}),
        ("enquiries", {"contact": "ops@example.com", "wish": "Open terms"}),
        (f"enquiries/{enquiry}/withdraw", {}),
        ("agreement/accept", {"version": "1"}),
    ]


def reads(*, application: int, loan: int) -> list[str]:
    of_all = ["applications", "loans", "me", "rates", "limits", "enquiries", "proposals", "agreement"]
    return of_all + rows(application=application, loan=loan)


def rows(*, application: int, loan: int) -> list[str]:
    """Every address that names a row."""
    return [
        f"applications/{application}",
        f"applications/{application}/offers",
        f"applications/{application}/offers/1",
        *(f"loans/{loan}{of}" for of in ("", "/charges", "/payments", "/sheet", "/sheet.pdf")),
    ]


class House:
    """One firm with a loan, a request in review, an enquiry and an agreement; and another one without anything."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        people.publish_agreement(version="1", text="Terms.", actor=BUILDER, at=LONG_AGO)
        people.accept_agreement(
            customer_id=desk.owner.pk,
            user_id=desk.applicant.pk,
            version="1",
            actor=desk.borrower,
            at=LONG_AGO,
        )
        self.loan = desks.drawn(desk, "900000")
        self.application = talks.asked(desk, amount="60000")
        self.enquiry = enquiries.ask(
            customer_id=desk.owner.pk, contact="x@example.com", wish="More", actor=desk.borrower, at=TEN
        )

    @property
    def ids(self) -> dict[str, int]:
        return {"application": self.application.pk, "loan": self.loan.pk}

    def writes(self) -> list[tuple[str, dict]]:
        return writes(self.desk, **self.ids, enquiry=self.enquiry.pk)


def state() -> Any:
    return everything(), Enquiry.objects.filter(status="open").count(), Approval.objects.count()
