"""Random worlds in which a crash brings some groups over their lines, and all that selling from them wrote.

The picture names a row after its group where its key depends on the order of all sales, so the pictures of two runs
over one world are equal when the runs did the same to every group.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime, time, timedelta
from decimal import Decimal
from random import Random
from typing import Any

from django.db import connection, models, transaction

from accounts.commands import acting
from accounts.models import (
    Account,
    Asset,
    Customer,
    JournalEntry,
    LedgerAccount,
    Notice,
    NoticeContact,
    NoticePreference,
    Transfer,
)
from risk import deleveraging, sweep
from risk.models import (
    Candidate,
    CollateralGroup,
    Debt,
    DelayEnrolment,
    Freeze,
    GroupCoin,
    HandlingRule,
    Liquidation,
    LiquidationDelay,
    MarginCall,
    Member,
    PaceLimit,
    RiskEvent,
    Sale,
    Settings,
)
from tests import build
from tests.build import BUILDER, LONG_AGO, NOON

D = Decimal
SECOND = timedelta(seconds=1)
USD = {"BTC": D(40000), "ETH": D(2000), "AAA": D(3), "USDC": D(1), "USDT": D(1)}
CHOICES = (("BTC",), ("BTC", "ETH"), ("ETH", "AAA", "USDT"), ("BTC", "AAA"), ("ETH", "USDC"), tuple(USD))
PASSES = (-120, -60, 0, 5, 10)  # in seconds from NOON, when the crash comes
AHEAD = 15  # seconds; the newest prices are newer than the last pass

Picture = dict[str, Any]


class World:
    """A market, a few borrowers with groups near their lines, and what keeps some of their sales back."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)  # noqa: S311  a test world, not a secret
        self.groups: list[CollateralGroup] = []
        self._market()
        start = NOON - timedelta(days=self.random.choice([0, 3]), hours=2)
        owner = self._borrower()
        for _ in range(self.random.randint(4, 6)):
            if self._happens(0.7):
                owner = self._borrower()
            self.groups.append(self._group(owner, start))
        self._what_waits()
        self._prices()

    def _happens(self, share: float) -> bool:
        return self.random.random() < share

    def _market(self) -> None:
        choice = self.random.choice
        build.limits(fee=choice(["0.02", "0", "0.015"]))
        with acting(BUILDER):
            Settings.objects.create(
                effective_at=LONG_AGO,
                confirm_seconds=choice([0, 5]),
                slippage=D(choice(["0", "0.003"])),
                call_hold_seconds=60,
            )
            if self._happens(0.3):
                HandlingRule.objects.create(product="vip", effective_at=LONG_AGO, mode="stepped")
        for coin in USD:
            build.asset(coin, places=choice([3, 8] if coin == "BTC" else [0, 2, 6, 8]))
            build.ratios(coin, ("0", "1"), ("2000000", "0.8"), rank=self.random.randint(0, 3))
            if self._happens(0.3):
                build.fund_pool(coin, "3")
        if self._happens(0.3):
            with acting(BUILDER):
                PaceLimit.objects.create(
                    asset_id=choice(["BTC", "ETH", "AAA"]),
                    effective_at=LONG_AGO,
                    most_usd=choice([1, 300_000, 900_000]),
                    span_seconds=choice([6, 600]),
                )

    def _borrower(self) -> Customer:
        owner = build.customer()
        with acting(BUILDER):
            if self._happens(0.5):
                NoticePreference.objects.create(
                    customer=owner,
                    by_email=self._happens(0.5),
                    by_sms=True,
                    phone="+4912345678",
                    quiet_from=time(10),
                    quiet_until=time(20),
                )
            for number in range(self.random.randint(0, 2)):
                NoticeContact.objects.create(
                    customer=owner,
                    name="Treasury",
                    channel="email",
                    address=f"treasury{number}@example.com",
                    urgent_only=bool(number),
                    after_minutes=5 * number,
                    added_at=LONG_AGO,
                )
        return owner

    def _group(self, owner: Customer, start: datetime) -> CollateralGroup:
        coins = self.random.choice(CHOICES)
        accounts = [build.account(owner) for _ in range(self.random.randint(1, 2))]
        worth = sum((self._fill(account, coin) for coin in coins for account in accounts), D(0))
        build.deposit(accounts[0], coins[0], "5", at=LONG_AGO)
        worth += 5 * USD[coins[0]]
        group = build.group(build.account(owner), accounts, coins)
        count = self.random.randint(1, 3)
        for _ in range(count):
            self._owe(group, worth / count, start)
        return group

    def _fill(self, account: Account, coin: str) -> Decimal:
        """Worth 2 to a million USD, or nothing; what it is worth."""
        if self._happens(0.25):
            return D(0)
        wanted = self.random.choice([5, 150_000, 400_000, 700_000]) * self.random.uniform(0.5, 1.5)
        amount = round(D(wanted) / USD[coin], Asset.objects.get(pk=coin).places)
        if amount > 0:
            build.deposit(account, coin, str(amount), at=LONG_AGO)
        return amount * USD[coin]

    def _owe(self, group: CollateralGroup, worth: Decimal, start: datetime) -> None:
        coin = self.random.choice(["USDT", "USDC"] * 2 + [self.random.choice(list(USD))])
        unit = D(1).scaleb(-Asset.objects.get(pk=coin).places)
        owed = D(self.random.uniform(0.62, 0.78)) * worth / USD[coin]
        amount = str(max(owed.quantize(unit), unit))
        build.fund_pool(coin, amount)
        rate, due_at = self.random.choice(["0", "0.3"]), self.random.choice([None, NOON + timedelta(days=5)])
        build.debt(group, coin, amount, rate=rate, at=start, due_at=due_at)

    def _what_waits(self) -> None:
        for group in self.groups:
            if self._happens(0.2):
                self._may_delay(group.customer)
            if self._happens(0.25):
                deleveraging.choose(
                    group_id=group.pk,
                    start=D("0.82"),
                    target=D("0.76"),
                    step_share=D("0.1"),
                    actor=BUILDER,
                    at=NOON - 130 * SECOND,
                )
        if self._happens(0.4):
            with acting(BUILDER):
                Freeze.objects.create(
                    what=Freeze.What.LIQUIDATE,
                    reason="The venue is down",
                    starts_at=NOON - 50 * SECOND,
                    ends_at=NOON + self.random.choice([3, 60]) * SECOND,
                    placed_by="officer",
                    group=self.random.choice(self.groups),
                )

    def _may_delay(self, owner: Customer) -> None:
        if DelayEnrolment.objects.filter(customer=owner).exists():
            return
        officer = build.user("risk_officer")
        with acting(BUILDER):
            DelayEnrolment.objects.create(
                customer=owner, starts_at=LONG_AGO, granted_at=LONG_AGO, granted_by=officer
            )

    def _prices(self) -> None:
        """All coins but the stable ones fall, a little at first; later each goes its own way; one may fall silent."""
        fall = D(self.random.choice(["0.75", "0.7", "0.65", "0.55"]))
        later = {coin: D(self.random.choice(["1", "1", "0.7", "1.2", "1.3"])) for coin in USD}
        silent = self.random.choice([None, None, None, "AAA", "USDC", "ETH"])
        course = {
            -131: D(1),
            -120: D("0.97"),
            -60: D("0.93"),
            0: fall,
            5: fall * D("0.99"),
            10: fall,
            AHEAD: fall,
        }
        for second, share in course.items():
            for coin, usd in USD.items():
                if coin == silent and second >= -60:
                    continue
                now = usd * share * (later[coin] if second >= 10 else 1)
                build.price(coin, str(usd if coin.startswith("USD") else now), at=NOON + second * SECOND)


# --- A run --------------------------------------------------------------------------------------------------


class _Undone(Exception):
    """What a run did is not kept."""


def run(world: World) -> tuple[Picture, list[int]]:
    """What all passes do to the world, and the sizes of their joint sales; the world stays as it was."""
    picture: Picture = {}
    joint: list[int] = []
    with suppress(_Undone), transaction.atomic():
        reports = [sweep.sweep(at=NOON + second * SECOND) for second in PASSES]
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        picture, joint = _Painter().picture(world.groups) | {"reports": reports}, joint_sales()
        raise _Undone
    return picture, joint


def joint_sales() -> list[int]:
    """Of how many groups each, in their order: sales of two or more groups that one transaction made."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM risk_liquidation GROUP BY xmin HAVING count(*) > 1 ORDER BY min(id)"
        )
        return [count for (count,) in cursor.fetchall()]


# --- What it wrote ------------------------------------------------------------------------------------------


class _Painter:
    """Puts every row into a picture; a sale, a call and a delay are named after the group and counted there."""

    def __init__(self) -> None:
        self.sales = _named(Liquidation.objects.order_by("pk"))
        self.calls = _named(MarginCall.objects.order_by("pk"))
        self.delays = _named(LiquidationDelay.objects.order_by("pk"))

    def picture(self, groups: Iterable[CollateralGroup]) -> Picture:
        sales = Sale.objects.order_by("liquidation__group", "liquidation", "step")
        return {
            "liquidations": {self.sales[row.pk]: _columns(row) for row in Liquidation.objects.all()},
            "sales": [(self.sales[row.liquidation_id], _columns(row, "liquidation_id")) for row in sales],
            "calls": {self.calls[row.pk]: _columns(row) for row in MarginCall.objects.all()},
            "delays": {self.delays[row.pk]: _columns(row) for row in LiquidationDelay.objects.all()},
            "entries": self._entries(),
            "accruals": _accruals(),
            "balances": {row.code: (row.debits, row.credits) for row in LedgerAccount.objects.all()},
            "debts": {row.pk: (_columns(row), self._history(row)) for row in Debt.objects.all()},
            "groups": {row.pk: _columns(row) for row in CollateralGroup.objects.all()},
            "events": {group.pk: self._events(group) for group in groups},
            "notices": {self._name(row.event): self._notice(row) for row in Notice.objects.all()},
            "members": [_columns(row) for row in Member.objects.order_by("pk")],
            "coins": [_columns(row) for row in GroupCoin.objects.order_by("pk")],
            "candidates": Candidate.objects.count(),
        }

    def _name(self, text: str) -> str:
        """An event or a reference, with the key of a sale, a call or a delay in it replaced by its name."""
        for pattern, names in (
            (r"^(liquidation:|soft:\d+:)(\d+)", self.sales),
            (r"^(margin_call:\d+:|call-ended:)(\d+)", self.calls),
            (r"^(delay(?:-ended|-left)?:)(\d+)", self.delays),
        ):
            found = re.match(pattern, text)
            if found is not None:
                return found[1] + names[int(found[2])] + text[found.end() :]
        return text

    def _facts(self, facts: dict[str, Any]) -> dict[str, Any]:
        names = {"liquidation": self.sales, "margin_call": self.calls, "delay": self.delays}
        return facts | {what: names[what][facts[what]] for what in names.keys() & facts.keys()}

    def _entries(self) -> Picture:
        rows = JournalEntry.objects.exclude(kind="accrual")
        return {self._name(row.reference): (row.kind, row.at, _transfers(row)) for row in rows}

    def _history(self, debt: Debt) -> list[Any]:
        return [
            (_columns(row, "entry_id"), row.entry.kind == "accrual" or self._name(row.entry.reference))
            for row in debt.entries.select_related("entry").order_by("pk")
        ]

    def _events(self, group: CollateralGroup) -> list[Any]:
        rows = RiskEvent.objects.filter(group=group).order_by("pk")
        return [_columns(row) | {"facts": self._facts(row.facts)} for row in rows]

    def _notice(self, row: Notice) -> Picture:
        ways = [_columns(way, "notice_id") for way in row.deliveries.order_by("pk")]
        return _columns(row, "event") | {"facts": self._facts(row.facts), "deliveries": ways}


def _named(rows: Iterable[Any]) -> dict[int, str]:
    names: dict[int, str] = {}
    counts: dict[int, int] = defaultdict(int)
    for row in rows:
        counts[row.group_id] += 1
        names[row.pk] = f"{row.group_id}.{counts[row.group_id]}"
    return names


def _columns(row: models.Model, *but: str) -> dict[str, Any]:
    """All but its key, when it was written, and `but`."""
    left_out = {"id", "recorded_at", *but}
    names = (column.attname for column in row._meta.concrete_fields)
    return {name: getattr(row, name) for name in names if name not in left_out}


def _transfers(entry: JournalEntry) -> list[tuple[str, str, Decimal]]:
    rows = Transfer.objects.filter(entry=entry).select_related("debit", "credit").order_by("pk")
    return [(row.debit.code, row.credit.code, row.amount) for row in rows]


def _accruals() -> dict[tuple[Any, ...], Decimal]:
    """One entry books the interest of all debts that a transaction brings up to date: only sums are the same."""
    sums: dict[tuple[Any, ...], Decimal] = defaultdict(D)
    for entry in JournalEntry.objects.filter(kind="accrual"):
        for debit, credit, amount in _transfers(entry):
            sums[entry.at, debit, credit] += amount
    return dict(sums)
