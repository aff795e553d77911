"""The book in memory, followed by the change feed, is the book as it is read whole. ARCHITECTURE 5"""

import random
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from psycopg import sql

from accounts import books
from accounts.commands import acting
from loans.vip import renewal, repayment
from risk import early_warnings, moved, parameters, screen
from risk.arrays import Book
from risk.models import CollateralGroup, GroupCoin, Moved
from tests import build
from tests.build import BUILDER, NOON
from tests.conftest import CommittedDatabase
from tests.loans import desk as desks
from tests.risk.in_memory import refreshed, told
from tests.risk.test_past_random import STEPS, World

SECOND, DAY = timedelta(seconds=1), timedelta(days=1)
coins = st.sampled_from(["BTC", "ETH"])
lines = st.sampled_from(["0.3", "0.55", "0.6"])
MORE_STEPS = st.one_of(
    STEPS,
    st.tuples(st.just("draw"), st.sampled_from(["1000", "90000"])),
    st.tuples(st.just("renew")),
    st.tuples(st.just("release"), coins),
    st.tuples(st.just("choose"), coins),
    st.tuples(st.just("warn"), lines, st.sampled_from([None, "BTC", "ETH"])),
    st.tuples(st.just("override"), st.sampled_from([1, 48])),
    st.tuples(st.just("sign")),
    st.tuples(st.just("coin_lines"), st.sampled_from(["USDT", "BTC"])),
    st.tuples(st.just("open"), st.integers(0, 2)),
    st.tuples(st.just("crash")),
)


class Followed(World):
    """The world of tests/risk/test_past_random.py with more that may happen, and a book that follows it."""

    def __init__(self) -> None:
        super().__init__()
        self.book = refreshed()
        self.warm = 0

    def look(self) -> None:
        """Warm and cold hold the same, and so see the same."""
        version = self.book.version
        rules = parameters.settings_at(self.now)
        seen = screen.look(product="vip", at=self.now, settings=rules, book=self.book)
        assert told(self.book, self.now) == told(refreshed(), self.now)
        assert seen == screen.look(product="vip", at=self.now, settings=rules)
        self.warm += self.book.version == version

    def repay(self, share: str) -> None:
        for loan in self.desk.owner.loans.filter(debt__closed_at=None):
            repayment.repay(loan_id=loan.pk, share=Decimal(share), actor=self.desk.borrower, at=self.now)

    def draw(self, amount: str) -> None:
        self.group = desks.drawn(self.desk, amount, coins=("BTC", "ETH"), at=self.now).group

    def renew(self) -> None:
        loan = self.desk.owner.loans.filter(debt__closed_at=None).latest("pk")
        renewal.renew(loan_id=loan.pk, term_days=30, actor=self.desk.borrower, at=self.now)

    def release(self, coin: str) -> None:
        with acting(BUILDER):
            rows = GroupCoin.objects.filter(group=self.group, asset=coin, released_at=None)
            rows.update(released_at=self.now)

    def choose(self, coin: str) -> None:
        with acting(BUILDER):
            GroupCoin.objects.get_or_create(
                group=self.group, asset_id=coin, released_at=None, defaults={"since": self.now}
            )

    def warn(self, ltv: str, asset: str | None) -> None:
        early_warnings.set_line(
            group_id=self.group.pk, ltv=Decimal(ltv), asset=asset, actor=self.desk.borrower, at=self.now
        )

    def override(self, hours: int) -> None:
        ends_at = self.now + timedelta(hours=hours)
        scope = {"customer": self.desk.owner, "ends_at": ends_at}
        build.limits("0.5", "0.6", "0.7", "0.8", at=self.now, **scope)

    def sign(self) -> None:
        build.limits("0.4", "0.5", "0.6", "0.7", at=self.now + timedelta(hours=3), group=self.group)

    def coin_lines(self, coin: str) -> None:
        build.limits("0.65", "0.7", "0.75", "0.8", at=self.now, asset=build.asset(coin))

    def open(self, number: int) -> None:
        """Another borrower's group, on an account of its own."""
        other = build.customer()
        sub = build.account(other)
        build.deposit(sub, "BTC", str(number + 1), at=self.now)
        group = build.group(build.master(other), [sub], ["BTC", "ETH"], at=self.now)
        if number:
            build.debt(group, amount="30000", rate=None if number == 2 else "0.09", at=self.now)

    def crash(self) -> None:
        self.prices["BTC"] *= Decimal("0.6")
        self.tick()
        self.sweep()
        self.tick(timedelta(seconds=6))
        self.sweep()


@pytest.mark.django_db
@pytest.mark.timeout(900)
@settings(max_examples=6, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(steps=st.lists(MORE_STEPS, min_size=6, max_size=14))
def test_after_any_commands_the_warm_book_is_the_cold_one(steps: list[tuple[Any, ...]]) -> None:
    """R-GEN-13, R-GEN-34, R-GEN-40, R-GEN-42, R-GEN-63: whatever happened, in whatever order"""
    with transaction.atomic():
        world = Followed()
        for step in steps:
            with suppress(CollateralGroup.DoesNotExist, repayment.Loan.DoesNotExist):
                world.do(*step)
            world.look()
        transaction.set_rollback(True)


def test_on_a_long_walk_the_warm_book_stays_the_cold_one(committed_db: CommittedDatabase) -> None:
    """R-GEN-13, R-GEN-34, R-GEN-40, R-GEN-42: as above, each command committed, so that little is told twice"""
    chance, world, step = random.Random(7), Followed(), ("",)
    world.open(1)
    world.open(2)
    # Totals move most often, as in life; a crash closes the group, a draw opens the next.
    common = ["deposit", "withdraw", "transfer", "trade", "repay", "price", "pass", "accrue", "sweep"]
    rare = ["join", "leave", "ratio", "lines", "draw", "renew", "release", "choose", "warn"]
    rare += ["override", "coin_lines", "sign", "open", "crash"]
    how = {
        "deposit": lambda: (chance.randrange(3), chance.choice(["BTC", "ETH"]), chance.choice(["0.5", "3"])),
        "transfer": lambda: (chance.randrange(3), chance.randrange(3), chance.choice(["BTC", "ETH"]), "0.5"),
        "trade": lambda: (chance.randrange(3), "0.5"),
        "repay": lambda: (chance.choice(["0.1", "0.5", "1"]),),
        "price": lambda: (chance.choice(["BTC", "ETH"]), chance.choice(["0.9", "1.05", "1.3"])),
        "pass": lambda: (chance.choice([1, 7, 24]),),
        "join": lambda: (chance.randrange(3),),
        "ratio": lambda: (chance.choice(["BTC", "ETH"]), chance.choice(["0.85", "1"])),
        "lines": lambda: (chance.choice(["0.6", "0.7"]),),
        "draw": lambda: (chance.choice(["1000", "90000"]),),
        "release": lambda: (chance.choice(["BTC", "ETH"]),),
        "warn": lambda: (chance.choice(["0.3", "0.55"]), chance.choice([None, "BTC"])),
        "override": lambda: (chance.choice([1, 48]),),
        "coin_lines": lambda: (chance.choice(["USDT", "BTC"]),),
        "open": lambda: (chance.randrange(3),),
    }
    how |= {"withdraw": how["deposit"], "leave": how["join"], "choose": how["release"]}
    for _ in range(120):
        step = chance.choice(common if chance.random() < 0.6 else rare)
        with suppress(CollateralGroup.DoesNotExist, repayment.Loan.DoesNotExist):
            world.do(step, *how.get(step, tuple)())
        if chance.random() < 0.7:
            world.look()
    world.look()
    assert world.warm > 12, "many looks only laid totals over"


def test_totals_are_laid_over_and_nothing_else_is_read_again(committed_db: CommittedDatabase) -> None:
    """ARCHITECTURE 5: a deposit and a repayment read no group again; a coin that counts no more does"""
    world = Followed()
    version = world.book.version
    world.do("deposit", 0, "BTC", "3")
    world.do("deposit", 2, "BTC", "1")  # an account that secures nothing
    with acting(BUILDER):
        repayment.repay(loan_id=world.loan.pk, share=Decimal("0.1"), actor=world.desk.borrower, at=world.now)
    world.look()
    assert (world.book.version, world.warm) == (version, 1)
    world.do("release", "ETH")
    world.look()
    assert (world.book.version, world.warm) == (version + 1, 1)


@pytest.mark.django_db
def test_lines_are_looked_up_again_when_they_begin_and_when_they_end() -> None:
    """R-GEN-42: an override from noon on for a day, told of by no change of the group; then the group's own"""
    group = build.secured_debt().group
    other = build.group(build.master(build.customer()), [])
    build.fund_pool("USDT")
    build.debt(other, amount="1000")
    book = refreshed()

    def initial(at: datetime) -> tuple[float, float]:
        lines = told(book, at)["lines"]
        return lines[group.pk][0], lines[other.pk][0]

    assert initial(NOON) == (0.72, 0.72)
    build.limits("0.5", "0.6", "0.7", "0.8", at=NOON, ends_at=NOON + DAY, customer=group.customer)
    assert initial(NOON - SECOND) == (0.72, 0.72)
    assert initial(NOON) == (0.5, 0.72)
    assert initial(NOON + DAY - SECOND) == (0.5, 0.72)
    assert initial(NOON + DAY) == (0.72, 0.72)
    build.limits("0.65", "0.7", "0.8", "0.9", at=NOON, asset=build.asset("USDT"))
    assert initial(NOON) == (0.5, 0.65)
    build.limits("0.3", "0.6", "0.7", "0.8", at=NOON, group=group)
    assert initial(NOON) == (0.3, 0.65)
    assert book.version == 1, "no group was read again"


# --- Other people's transactions ------------------------------------------------------------------------------


class Post:
    """A transaction of somebody else that moves a coin from one group's wallet to another's and stays open."""

    def __init__(self, place: str, source: int, target: int) -> None:
        self.connection = psycopg.connect(place)
        self.connection.execute("SELECT set_config('app.actor', 'test:other', true)")
        self.move(source, target)

    def move(self, source: int, target: int) -> None:
        entry = self.connection.execute(
            "INSERT INTO accounts_journalentry (kind, reference, at) VALUES ('test', gen_random_uuid()::text, now())"
            " RETURNING id"
        ).fetchone()
        self.connection.execute(
            "INSERT INTO accounts_transfer (entry_id, debit_id, credit_id, amount) VALUES (%s, %s, %s, 0.01)",
            [entry[0] if entry else None, source, target],
        )

    def end(self, *, commits: bool) -> None:
        if commits:
            self.connection.commit()
        self.connection.close()


@contextmanager
def pairs(count: int) -> Iterator[list[tuple[int, int]]]:
    """That many pairs of wallets, each of a group of its own."""
    build.limits()
    build.ratios("BTC")
    build.prices(NOON, BTC="60000")
    found = []
    for _ in range(count):
        both = []
        for _ in range(2):
            owner = build.customer(is_screened=False)
            sub = build.account(owner)
            build.deposit(sub, "BTC", "5", at=build.LONG_AGO)
            build.group(build.master(owner), [sub])
            both.append(books.wallet(sub, "BTC").pk)
        found.append((both[0], both[1]))
    yield found


def amounts(book: Book) -> dict[int, float]:
    return dict(zip(book.wallets.id.tolist(), book.wallets.amount.tolist(), strict=True))


def test_what_commits_after_a_look_is_in_the_next(committed_db: CommittedDatabase) -> None:
    """TRUST C-06: the older of two transactions commits last, after a look that saw the younger one"""
    with pairs(2) as [(a, b), (c, d)]:
        build.group(build.master(build.customer(is_screened=False)), [])
        book = refreshed()
        older = Post(committed_db.url, a, b)
        younger = Post(committed_db.url, c, d)
        younger.end(commits=True)
        book.refresh()
        assert [amounts(book)[pk] for pk in (a, b, c, d)] == [5, 5, 4.99, 5.01]
        older.end(commits=True)
        book.refresh()
        assert [amounts(book)[pk] for pk in (a, b, c, d)] == [4.99, 5.01, 4.99, 5.01]
        build.deposit(build.account(build.customer(is_screened=False)), "BTC", "1")
        version = book.version
        book.refresh()
        assert book.version == version, "it was followed, not read whole"


def test_the_newest_total_holds_whichever_transaction_is_older(committed_db: CommittedDatabase) -> None:
    """TRUST C-06: the older one changes a wallet last; later only what the younger one told is told again"""
    with pairs(3) as [(a, b), (c, d), (e, f)]:
        book = refreshed()
        older = Post(committed_db.url, c, d)
        between = Post(committed_db.url, e, f)
        Post(committed_db.url, a, b).end(commits=True)
        older.move(a, b)
        older.end(commits=True)
        for _ in range(2):
            version = book.version
            book.refresh()
            assert [amounts(book)[pk] for pk in (a, b, c, d, e, f)] == [4.98, 5.02, 4.99, 5.01, 5, 5]
            assert book.version == version, "it was followed, not read whole"
        between.move(a, b)
        between.end(commits=True)
        book.refresh()
        assert amounts(book) == amounts(refreshed())
        assert amounts(book)[a] == 4.97


def test_with_any_interleaving_no_commit_is_missed(committed_db: CommittedDatabase) -> None:
    """TRUST C-06: transactions begin, commit, are undone and are looked at in any order"""
    chance = random.Random(20260105)
    with pairs(5) as found:
        book, running, warm = refreshed(), {}, 0
        for _ in range(250):
            number = chance.randrange(len(found))
            if number not in running:
                running[number] = Post(committed_db.url, *chance.sample(found[number], 2))
            elif chance.random() < 0.7:
                running.pop(number).end(commits=chance.random() < 0.7)
            if chance.random() < 0.4:
                version = book.version
                book.refresh()
                warm += book.version == version
                assert amounts(book) == amounts(refreshed())
        for post in running.values():
            post.end(commits=True)
        book.refresh()
        assert amounts(book) == amounts(refreshed())
        assert warm > 40


# --- The feed is kept short -------------------------------------------------------------------------------------


def test_a_book_that_slept_through_the_feed_reads_everything_again(committed_db: CommittedDatabase) -> None:
    """TRUST E1: what was forgotten is missed by nobody"""
    later = datetime.now(UTC) + timedelta(hours=2)
    with pairs(2) as [(a, b), (c, d)]:
        book, awake = refreshed(), refreshed()
        Post(committed_db.url, a, b).end(commits=True)
        Post(committed_db.url, c, d).end(commits=True)
        awake.refresh()
        assert moved.forget_moved(at=datetime.now(UTC)) == 0  # younger than an hour
        assert moved.forget_moved(at=later) > 0
        assert Moved.objects.count() == 1  # the newest stays, as the mark of how far it was forgotten
        version, warm = book.version, awake.version
        book.refresh()
        awake.refresh()
        assert (book.version, awake.version) == (version + 1, warm)
        assert amounts(book) == amounts(awake)
        assert [amounts(book)[pk] for pk in (a, b, c, d)] == [4.99, 5.01, 4.99, 5.01]


def test_another_database_in_place_of_the_old_one_is_read_whole(committed_db: CommittedDatabase) -> None:
    """TRUST E1: a backup was restored, or a standby took over, while the worker lived; it lacks the last commit"""
    backup = f"{committed_db.name}_backup"
    place = committed_db.owner_url.rpartition("/")[0] + "/postgres"

    def serve(*commands: str) -> None:
        connection.close()
        with psycopg.connect(place, autocommit=True) as owner:
            for command in commands:
                names = sql.Identifier(committed_db.name), sql.Identifier(backup)
                owner.execute(sql.SQL(command).format(*names))

    with pairs(2) as [(a, b), (c, d)]:
        serve("DROP DATABASE IF EXISTS {1}", "CREATE DATABASE {1} TEMPLATE {0}")
        Post(committed_db.url, a, b).end(commits=True)
        book = refreshed()
        assert [amounts(book)[pk] for pk in (a, b, c, d)] == [4.99, 5.01, 5, 5]
        serve("DROP DATABASE {0} WITH (FORCE)", "ALTER DATABASE {1} RENAME TO {0}")
        Post(committed_db.url, c, d).end(commits=True)
        book.refresh()
        assert [amounts(book)[pk] for pk in (a, b, c, d)] == [5, 5, 4.99, 5.01]


def test_what_a_running_transaction_told_is_not_forgotten(committed_db: CommittedDatabase) -> None:
    """TRUST C-06: nor what came after it, for its reader has to ask from it on"""
    later = datetime.now(UTC) + timedelta(hours=2)
    with pairs(2) as [(a, b), (c, d)]:
        older = Post(committed_db.url, a, b)
        book = refreshed()
        Post(committed_db.url, c, d).end(commits=True)
        moved.forget_moved(at=later)
        older.end(commits=True)
        version = book.version
        book.refresh()
        assert book.version == version
        assert [amounts(book)[pk] for pk in (a, b, c, d)] == [4.99, 5.01, 4.99, 5.01]
