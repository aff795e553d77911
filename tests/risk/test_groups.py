"""Opening, extending and releasing collateral groups; adding and removing accounts."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from accounts.commands import Actor, acting
from accounts.models import Account, Asset
from risk import debts, groups
from risk.models import CollateralGroup, Debt, Liquidation, Member, ProductCode, RiskEvent
from tests import build
from tests.build import NOON

pytestmark = pytest.mark.django_db

BORROWER = Actor("test:borrower")


def opened(receiver: Account, accounts: list[Account], coins: tuple[str, ...] = ("BTC",), **options: object):
    with acting(BORROWER):
        return groups.open_or_extend(
            customer=options.pop("customer", receiver.customer),
            receiver=receiver,
            product="vip",
            accounts=accounts,
            coins=[Asset.objects.get(pk=coin) for coin in coins],
            at=NOON,
            **options,
        )


def live(group: CollateralGroup) -> tuple[set[int], set[str]]:
    members = group.members.filter(released_at__isnull=True).values_list("account_id", flat=True)
    coins = group.coins.filter(released_at__isnull=True).values_list("asset_id", flat=True)
    return set(members), set(coins)


@pytest.fixture
def coins() -> None:
    for symbol in ("BTC", "ETH"):
        build.asset(symbol)
    build.asset("OLD", collateral=False)


@pytest.fixture
def debt() -> Debt:
    """1 000 000 USDT against 25 BTC at 60 000: LTV 66.67 %, initial 72 %."""
    row = build.secured_debt()
    build.prices(BTC="60000", USDT="1")
    return row


def member_of(debt: Debt) -> Account:
    return debt.group.members.get().account


# --- Opening and extending --------------------------------------------------------------------------


def test_a_group_opens_with_its_accounts_coins_and_an_event(coins: None) -> None:
    """R-GEN-12, R-GEN-34"""
    owner = build.customer()
    receiver, first, second = (
        build.master(owner),
        build.account(owner),
        build.account(owner, kind="sub_virtual"),
    )

    group = opened(receiver, [first, second, first], ("BTC", "ETH"))

    assert (group.customer, group.receiver, group.product, group.closed_at) == (owner, receiver, "vip", None)
    assert live(group) == ({first.uid, second.uid}, {"BTC", "ETH"})
    event = RiskEvent.objects.get(group=group)
    assert (event.kind, event.at) == ("opened", NOON)
    assert event.facts == {"accounts": [first.uid, second.uid], "coins": ["BTC", "ETH"]}


def test_a_second_order_on_the_receiver_joins_its_group_and_adds_to_it(coins: None) -> None:
    """R-GEN-12, R-GEN-34: accounts and coins are the union over the orders."""
    owner = build.customer()
    receiver, first, second = build.master(owner), build.account(owner), build.account(owner)
    group = opened(receiver, [first], ("BTC",))

    assert opened(receiver, [first, second], ("BTC", "ETH")) == group
    assert opened(receiver, [first], ("BTC",)) == group

    assert live(group) == ({first.uid, second.uid}, {"BTC", "ETH"})
    kinds = list(RiskEvent.objects.filter(group=group).order_by("pk").values_list("kind", "facts"))
    assert kinds == [
        ("opened", {"accounts": [first.uid], "coins": ["BTC"]}),
        ("member_added", {"accounts": [second.uid], "coins": ["ETH"]}),
    ]


def test_a_collateral_account_backs_one_receiver_at_a_time(coins: None) -> None:
    """R-GEN-13"""
    owner = build.customer()
    shared, other = build.account(owner), build.account(owner)
    opened(build.master(owner), [shared])

    with pytest.raises(groups.AccountInUse, match="already in use") as refusal:
        opened(other, [build.account(owner), shared])

    assert refusal.value.code == "collateral_account_in_use"
    assert CollateralGroup.objects.count() == 1
    assert Member.objects.count() == 1


def _virtual_receiver(owner, receiver, account, stranger):
    return build.account(owner, kind="sub_virtual"), [account]


def _strange_receiver(owner, receiver, account, stranger):
    return stranger, [account]


def _own_receiver(owner, receiver, account, stranger):
    return receiver, [account, receiver]


def _managed(owner, receiver, account, stranger):
    return receiver, [account, build.account(owner, kind="sub_managed")]


def _strange_account(owner, receiver, account, stranger):
    return receiver, [account, stranger]


@pytest.mark.parametrize("product", ProductCode.values)
def test_the_database_itself_knows_one_live_pledge_per_account(product: str, coins: None) -> None:
    """R-GEN-13, R-GEN-16: whatever the products of the two groups are; a released pledge does not count."""
    owner = build.customer()
    sub = build.account(owner)
    first = build.group(build.master(owner), [sub])
    with acting(BORROWER):
        second = CollateralGroup.objects.create(
            product=product, customer=owner, receiver=build.account(owner), name="Second", opened_at=NOON
        )
        with (
            pytest.raises(IntegrityError, match="collateral_account_in_one_live_group"),
            transaction.atomic(),
        ):
            Member.objects.create(group=second, account=sub, since=NOON)
        assert list(sub.pledges.values_list("group", flat=True)) == [first.pk]
        first.members.update(released_at=NOON)
        assert Member.objects.create(group=second, account=sub, since=NOON).pk


@pytest.mark.parametrize(
    ("make", "refusal"),
    [
        pytest.param(_virtual_receiver, groups.BadReceiver, id="R-VIP-03 virtual receiver"),
        pytest.param(_strange_receiver, groups.BadReceiver, id="R-GEN-15 another customer's receiver"),
        pytest.param(_own_receiver, groups.BadCollateralAccount, id="R-GEN-14 receiver as collateral"),
        pytest.param(_managed, groups.BadCollateralAccount, id="R-VIP-04 managed sub"),
        pytest.param(_strange_account, groups.BadCollateralAccount, id="R-GEN-15 another customer's account"),
    ],
)
def test_accounts_that_cannot_form_a_group_are_refused(
    make: Callable[..., tuple[Account, list[Account]]], refusal: type[Exception], coins: None
) -> None:
    """R-GEN-10, R-GEN-14, R-GEN-15, R-VIP-03, R-VIP-04"""
    owner = build.customer()
    stranger = build.master(build.customer())
    receiver, accounts = make(owner, build.master(owner), build.account(owner), stranger)

    with pytest.raises(refusal):
        opened(receiver, accounts, customer=owner)

    assert not CollateralGroup.objects.exists()
    assert not Member.objects.exists()


def test_a_coin_that_does_not_count_cannot_be_chosen(coins: None) -> None:
    """R-GEN-33"""
    owner = build.customer()
    with pytest.raises(groups.NotCollateral, match="OLD"):
        opened(build.master(owner), [build.account(owner)], ("BTC", "OLD"))
    assert not CollateralGroup.objects.exists()


def test_the_limit_on_accounts_counts_those_already_there(coins: None) -> None:
    """R-VIP-04"""
    owner = build.customer()
    receiver, accounts = build.master(owner), [build.account(owner) for _ in range(3)]
    group = opened(receiver, accounts[:2], max_accounts=2)
    with pytest.raises(groups.TooManyAccounts, match="at most 2 .* would make 3"):
        opened(receiver, accounts[1:], max_accounts=2)
    assert live(group)[0] == {account.uid for account in accounts[:2]}


def test_accounts_are_locked_before_groups_and_both_in_order(debt: Debt) -> None:
    """ARCHITECTURE 4: one lock order for everybody, so that two commands wait and never deadlock."""
    other = build.account(debt.customer)
    uids = [other.uid, member_of(debt).uid]
    with (
        acting(BORROWER),
        CaptureQueriesContext(
            connection,
        ) as queries,
    ):
        held = groups.hold(uids=uids, receiver=debt.group.receiver_id)

    locks = [query["sql"] for query in queries.captured_queries if " FOR " in query["sql"]]
    assert ["accounts_account" in locks[0], "risk_collateralgroup" in locks[1], len(locks)] == [True, True, 2]
    assert 'ORDER BY "accounts_account"."uid" ASC FOR NO KEY UPDATE' in locks[0]
    assert 'ORDER BY "risk_collateralgroup"."id" ASC FOR NO KEY UPDATE' in locks[1]
    assert set(held.accounts) == {*uids, debt.group.receiver_id}
    assert held.pledged == {member_of(debt).uid: debt.group}
    assert held.groups == {debt.group_id: debt.group}


# --- Adding an account ------------------------------------------------------------------------------


def added(debt: Debt, uid: int, *, max_accounts: int = 50) -> Member:
    return groups.add_account(
        group_id=debt.group_id, uid=uid, max_accounts=max_accounts, actor=BORROWER, at=NOON
    )


@pytest.mark.parametrize(
    ("btc", "ltv_after"),
    [
        pytest.param("60000", "0.333333333333", id="SAFE at 66.7 %"),
        pytest.param("54000", "0.370370370370", id="WATCH at 74.1 %"),
        pytest.param("46000", "0.434782608695", id="CALL at 87.0 %"),
    ],
)
def test_an_account_may_be_added_below_liquidation(btc: str, ltv_after: str) -> None:
    """R-VIP-52; the event tells the LTV it leads to, rounded down."""
    debt = build.secured_debt(btc="25")
    build.prices(BTC=btc, USDT="1")
    more = build.account(debt.customer)
    build.deposit(more, "BTC", "25")

    member = added(debt, more.uid)

    assert (member.group_id, member.account_id, member.since) == (debt.group_id, more.uid, NOON)
    event = RiskEvent.objects.get(kind="member_added")
    assert (event.facts, event.ltv) == ({"accounts": [more.uid]}, Decimal(ltv_after))


def test_at_liquidation_an_account_is_added_only_in_grace() -> None:
    """R-VIP-52, last column: yes in grace, no without, never while collateral is being sold."""
    debt = build.secured_debt()
    build.prices(BTC="43956", USDT="1")  # EX-09: 43 956.04 is the 91 % price
    more = build.account(debt.customer)
    build.deposit(more, "BTC", "10")
    with pytest.raises(groups.NotPermitted, match="below the liquidation line of 91 %"):
        added(debt, more.uid)
    assert live(debt.group)[0] == {member_of(debt).uid}

    with acting(BORROWER):
        CollateralGroup.objects.filter(pk=debt.group_id).update(grace_until=NOON + timedelta(minutes=1))
    assert added(debt, more.uid).account == more


def test_while_collateral_is_sold_the_group_is_locked() -> None:
    """R-GEN-70"""
    debt = build.secured_debt()
    build.prices(BTC="60000", USDT="1")
    running(debt)
    with pytest.raises(groups.NotPermitted, match="being sold"):
        added(debt, build.account(debt.customer).uid)
    with pytest.raises(groups.NotPermitted, match="being sold"):
        removed(debt, member_of(debt).uid)
    assert live(debt.group)[0] == {member_of(debt).uid}


def running(debt: Debt) -> None:
    with acting(BORROWER):
        Liquidation.objects.create(
            group=debt.group,
            cause="ltv",
            started_at=NOON,
            debt_value=1,
            collateral_value=1,
            market_value=1,
            snapshot={},
        )


def test_a_top_up_stays_open_when_the_price_of_the_debt_is_old() -> None:
    """R-GEN-22"""
    debt = build.secured_debt()
    build.prices(NOON - timedelta(days=1), BTC="60000", USDT="1")
    more = build.account(debt.customer)
    added(debt, more.uid)
    assert RiskEvent.objects.get(kind="member_added").ltv is None
    assert more.uid in live(debt.group)[0]


def test_an_account_in_use_managed_or_beyond_the_limit_is_not_added(debt: Debt) -> None:
    """R-GEN-13, R-GEN-15, R-VIP-04"""
    other = build.secured_debt()
    managed = build.account(debt.customer, kind="sub_managed")
    fresh = build.account(debt.customer)
    for uid, refusal in (
        (member_of(debt).uid, groups.AccountInUse),
        (managed.uid, groups.BadCollateralAccount),
        (debt.group.receiver_id, groups.BadCollateralAccount),
        (member_of(other).uid, groups.BadCollateralAccount),
    ):
        with pytest.raises(refusal):
            added(debt, uid)
    with pytest.raises(groups.TooManyAccounts):
        added(debt, fresh.uid, max_accounts=1)
    with pytest.raises(Account.DoesNotExist):
        added(debt, 1)
    assert live(debt.group)[0] == {member_of(debt).uid}


# --- Removing an account ----------------------------------------------------------------------------


def removed(debt: Debt, uid: int) -> Member:
    return groups.remove_account(group_id=debt.group_id, uid=uid, actor=BORROWER, at=NOON)


def second_account(debt: Debt, btc: str) -> Account:
    account = build.account(debt.customer)
    build.deposit(account, "BTC", btc)
    added(debt, account.uid)
    return account


def test_an_account_leaves_when_ltv_stays_at_most_initial() -> None:
    """R-VIP-55: exactly 72 % after is allowed; with one unit of BTC less, it is not."""
    debt = build.secured_debt(btc="9.99999999", amount="720000", rate="0")
    build.prices(BTC="100000", USDT="1")
    unit, spare = second_account(debt, "0.00000001"), second_account(debt, "1")
    removed(debt, spare.uid)
    assert RiskEvent.objects.filter(kind="member_removed").get().ltv == Decimal("0.72")
    assert live(debt.group)[0] == {debt.group.members.earliest("pk").account_id, unit.uid}

    added(debt, spare.uid)
    removed(debt, unit.uid)
    with pytest.raises(groups.NotPermitted, match="above the initial line of 72 %"):
        removed(debt, spare.uid)
    assert live(debt.group)[0] == {debt.group.members.earliest("pk").account_id, spare.uid}


def test_from_the_initial_line_on_no_account_leaves_even_an_empty_one() -> None:
    """R-VIP-55: LTV must be below initial before; 720 000 of 1 000 000 is at it."""
    debt = build.secured_debt(btc="10", amount="720000", rate="0")
    build.prices(BTC="100000", USDT="1")
    empty = build.account(debt.customer)
    added(debt, empty.uid)
    with pytest.raises(groups.NotPermitted, match="only below the initial line of 72 %"):
        removed(debt, empty.uid)
    assert empty.uid in live(debt.group)[0]


def test_the_last_account_does_not_leave_a_debt_behind(debt: Debt) -> None:
    """R-VIP-55"""
    with pytest.raises(groups.NotPermitted, match="infinite"):
        removed(debt, member_of(debt).uid)
    assert live(debt.group)[0] == {member_of(debt).uid}


def test_no_account_leaves_while_the_debt_cannot_be_valued() -> None:
    """R-GEN-22"""
    debt = build.secured_debt()
    build.price("USDT", "1", at=NOON - timedelta(days=1))
    build.price("BTC", "60000")
    spare = second_account(debt, "100")
    with pytest.raises(groups.PriceTooOld, match="USDT"):
        removed(debt, spare.uid)
    assert spare.uid in live(debt.group)[0]


def test_an_account_of_another_group_cannot_be_removed_from_this_one(debt: Debt) -> None:
    other = build.secured_debt()
    with pytest.raises(groups.NotAMember):
        removed(debt, member_of(other).uid)
    assert live(other.group)[0] == {member_of(other).uid}


# --- Release ----------------------------------------------------------------------------------------


def repaid(debt: Debt) -> None:
    with acting(BORROWER):
        groups.hold(uids=[], group_ids=[debt.group_id])
        (locked,) = Debt.objects.locked(debt.pk)
        owed = debts.payoff_at(locked, at=NOON).total
        wallet = build.books.wallet(debt.group.receiver, "USDT")
        debts.take_payment(debt=locked, amount=owed, wallets=[wallet], reference=f"repay:{debt.pk}", at=NOON)


def released(debt: Debt) -> bool:
    with acting(BORROWER):
        (group,) = CollateralGroup.objects.locked(debt.group_id)
        return bool(groups.release_empty(group, at=NOON))


def test_a_group_that_owes_nothing_lets_everything_go() -> None:
    """R-GEN-34"""
    debt = build.secured_debt(rate="0")
    member = member_of(debt)
    assert not released(debt)
    assert live(debt.group) == ({member.uid}, {"BTC"})

    repaid(debt)
    assert released(debt)

    debt.group.refresh_from_db()
    assert (debt.group.closed_at, debt.group.band) == (NOON, "SAFE")
    assert live(debt.group) == (set(), set())
    kinds = list(debt.group.events.order_by("pk").values_list("kind", flat=True))
    assert kinds[-1] == "closed"
    assert not released(debt)
    with pytest.raises(groups.GroupClosed):
        added(debt, build.account(debt.customer).uid)
    assert opened(build.account(debt.customer), [member]).pk != debt.group_id  # the account is free again


def test_a_residual_debt_has_left_the_group_and_does_not_hold_it() -> None:
    """R-GEN-78"""
    debt = build.secured_debt()
    with acting(BORROWER):
        (locked,) = Debt.objects.locked(debt.pk)
        debts.make_residual(locked, at=NOON)
    assert released(debt)
    assert live(debt.group) == (set(), set())
