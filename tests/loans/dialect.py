"""The loan endpoints of the dialect for tests: a program at a desk, a clock that is moved by hand, and plain reads."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from loans.models import Application, Loan
from tests.loans import desk as desks
from tests.loans import visit
from tests.loans.desk import Desk
from tests.programs import Program

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
VIP = "/sapi/v1/loan/vip"
Clock = Callable[[datetime], None]


def uncounted(settings: Any) -> None:
    """Nobody is stopped for asking too much."""
    settings.SAPI_IP_WEIGHT = settings.SAPI_UID_WEIGHT = 10**9


@contextmanager
def clock() -> Iterator[Clock]:
    """Moves everybody's clock to an instant, with fresh prices: BTC 60,000, USDT 1."""
    standing: list[Any] = []

    def to(instant: datetime) -> None:
        while standing:
            standing.pop().stop()
        standing.append(visit.at(instant))
        standing[-1].start()
        desks.quote(instant)

    try:
        yield to
    finally:
        while standing:
            standing.pop().stop()


def ms(instant: datetime) -> int:
    return int(instant.timestamp() * 1000)


def read(program: Program, what: str, **params: Any) -> Any:
    answer = program.get(f"{VIP}/{what}", **params)
    assert answer.status_code == 200, answer.content
    return answer.json()


def told(answer: Any) -> tuple[int, int]:
    """The HTTP status and the code of a refusal."""
    assert len(answer.content) <= 1024
    assert set(answer.json()) == {"code", "msg"}
    return answer.status_code, answer.json()["code"]


def asked(desk: Desk, **changes: Any) -> dict[str, Any]:
    """1,000,000 USDT, fixed, 30 days, to the master, secured by the sub's BTC; None leaves a parameter out."""
    base = {
        "loanAccountId": desk.master.pk,
        "loanCoin": "USDT",
        "loanAmount": "1000000",
        "collateralAccountId": str(desk.sub.pk),
        "collateralCoin": "BTC",
        "isFlexibleRate": "false",
        "loanTerm": 30,
    }
    return {name: value for name, value in (base | changes).items() if value is not None}


def borrowed(desk: Desk, program: Program, **changes: Any) -> Loan:
    """Asked for by the program and approved by the manager, at the time the clock shows."""
    answer = program.post(f"{VIP}/borrow", **asked(desk, **changes))
    assert answer.status_code == 200, answer.content
    application = Application.objects.get(pk=answer.json()["requestId"])
    desks.approved(desk, application, at=application.submitted_at)
    return Loan.objects.get(line__application=application)
