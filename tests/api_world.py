"""A customer who has one of everything that our own API can name, and the ids under which its paths find them."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import time_machine
from django.db import connection

from accounts import approvals, firms, keys, people
from accounts.models import Approval, Notice
from loans import confirmations, cure_rules, enquiries, statements
from loans.models import Application
from risk import accrual, early_warnings, gate
from tests import build
from tests.build import BUILDER, LONG_AGO, TEN
from tests.loans import desk as desks
from tests.loans import talks
from tests.native import Native
from tests.programs import api_key

NOW: Final = datetime(2026, 2, 2, 10, tzinfo=UTC)
UNKNOWN: Final = 987654
D = Decimal


class LivedIn:
    """A loan since 1 January, an offer that waits, a stated month, a rule, a line, an enquiry, a proposal."""

    def __init__(self) -> None:
        self.desk = desks.set_up(btc="60")
        self.loan = desks.drawn(self.desk, term_days=60)
        self.group = self.loan.group
        self.spare = build.account(self.desk.owner)
        gate.deposit(account_uid=self.spare.pk, asset="BTC", amount=D(5), actor=BUILDER, at=TEN)
        accrual.accrue(at=NOW)
        desks.quote(NOW)
        self.application = self._offered()
        self.ids: dict[str, int] = {
            "application_id": self.application.pk,
            "version": talks.last(self.application).version,
            "loan_id": self.loan.pk,
            "group_id": self.group.pk,
            "uid": self.desk.sub.pk,
            "approval_id": self._proposed().pk,
            **self._papers(),
            **self._precautions(),
        }
        people.publish_agreement(version="1", text="Terms.", actor=BUILDER, at=NOW)
        token = api_key(self.desk.master, self.desk.applicant, kind="token")
        self.token = keys.secret_of(token)
        self.api = Native(token=self.token)

    def _offered(self) -> Application:
        row = talks.asked(self.desk, amount="100000", at=NOW)
        talks.move("counter_offer", row, self.desk, at=NOW, wanted=talks.wanted("0.082"), message="")
        return row

    def _proposed(self) -> Approval:
        """A withdrawal that waited for a colleague when the firm still asked for two."""
        owner, one = self.desk.owner, {"apply": False, "accept": False, "remove": False}
        build.colleague(owner, "signatory")
        firms.set_policy(customer_id=owner.pk, **one, withdraw=True, actor=BUILDER, at=LONG_AGO)
        told = {"account_uid": self.desk.master.pk, "asset": "USDT", "amount": D(5), "address": "bc1-there"}
        proposal = approvals.propose(
            command="gate.withdraw",
            arguments=told | {"wallet": "spot"},
            title="Withdraw 5 USDT",
            preview={},
            reason="",
            actor=self.desk.borrower,
            at=NOW - timedelta(hours=1),
        )
        firms.set_policy(customer_id=owner.pk, **one, withdraw=False, actor=BUILDER, at=NOW)
        return proposal

    def _papers(self) -> dict[str, int]:
        owner = self.desk.owner
        statement = statements.issue(customer_id=owner.pk, month=date(2026, 1, 1), actor=BUILDER, at=NOW)
        asked = confirmations.issue(
            customer_id=owner.pk, as_of=datetime(2026, 2, 1, tzinfo=UTC), actor=BUILDER, at=NOW
        )
        wish = enquiries.ask(
            customer_id=owner.pk,
            contact="me@example.com",
            wish="More",
            actor=self.desk.borrower,
            at=NOW,
        )
        notice = Notice.objects.filter(customer=owner).latest("pk")
        found = {"statement_id": statement.pk, "row_id": asked.pk, "enquiry_id": wish.pk}
        return found | {"notice_id": notice.pk}

    def _precautions(self) -> dict[str, int]:
        line = early_warnings.set_line(
            group_id=self.group.pk, ltv=D("0.7"), actor=self.desk.borrower, at=NOW - timedelta(hours=1)
        )
        rule = cure_rules.set_rule(
            group_id=self.group.pk,
            kind="repay",
            asset="USDT",
            trigger=D("0.75"),
            target=D("0.7"),
            actor=self.desk.borrower,
            at=NOW,
        )
        return {"line_id": line.pk, "rule_id": rule.pk}


@contextmanager
def clock() -> Iterator[None]:
    """The site's clock stands at NOW."""
    with time_machine.travel(NOW, tick=False):
        yield


def books() -> Any:
    """What no refusal changes: the ledger's totals, and how many entries, debts' rows and audit records there are."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT (SELECT sum(debits) FROM accounts_ledgeraccount),"
            " (SELECT sum(credits) FROM accounts_ledgeraccount),"
            " (SELECT count(*) FROM accounts_journalentry), (SELECT count(*) FROM risk_debtentry),"
            " (SELECT count(*) FROM accounts_auditrecord), (SELECT count(*) FROM accounts_idempotencykey)"
        )
        return cursor.fetchone()
