"""Turn the stories into events: at this time, this person does this, by the command that a page would call."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Context, Decimal, localcontext
from functools import partial
from typing import Final

from accounts import approvals
from accounts.catalogue import DemoParameters
from accounts.commands import Actor
from accounts.models import Account, Approval
from accounts.money import ONE, ZERO, exact, round_up
from accounts.words import tell
from loans.demo import opening
from loans.demo.company import Resident
from loans.demo.parts import (
    FIXED,
    Draw,
    Move,
    Outcome,
    Renew,
    Repay,
    Step,
    Story,
    TopUp,
    Trade,
    Wants,
    Withdraw,
)
from loans.demo.past import Past
from loans.models import Application, Loan
from loans.vip import applications, offers, origination, renewal, repayment
from loans.vip.sheets import CoinRate, Wanted
from loans.vip.terms import Request, Wish
from risk import gate
from risk.valuation import Tier, market_value_needed

BEFORE_REQUEST: Final = timedelta(hours=5)  # when the collateral comes in
BROUGHT: Final = Context(prec=5)  # people move round amounts
UNTIL_RELEASED: Final = timedelta(minutes=50)  # how long a second person takes
ADDRESS: Final = "bc1q-demo-address-that-nobody-owns"


@dataclass(frozen=True, slots=True)
class Event:
    at: datetime
    what: str
    act: Callable[[datetime], object]


@dataclass(frozen=True, slots=True)
class World:
    """What a plot looks up: the market, its end, and the coins' figures."""

    market: Past
    end: datetime
    coins: Mapping[str, DemoParameters]
    checker: Actor  # who releases what the managers propose

    def before(self, days: str) -> datetime:
        return self.end - timedelta(seconds=int(Decimal(days) * 86_400))


def events_of(story: Story, *, who: Resident, world: World) -> Iterator[Event]:
    """Everything that happens in one story; in no order."""
    plot = _Plot(story, who, world)
    yield from plot.collateral()
    for number in range(len(story.draws)):
        yield from plot.draw(number)
    for step in story.steps:
        yield Event(
            world.before(step.ago), f"{type(step).__name__} of {story.borrower}", partial(plot.take, step)
        )


class _Plot:
    """One story while it is played: it remembers the requests it has made."""

    def __init__(self, story: Story, who: Resident, world: World) -> None:
        self.story, self.who, self.world = story, who, world
        self.requests: dict[int, Application] = {}
        self.proposals: dict[int, Approval] = {}

    def collateral(self) -> Iterator[Event]:
        """Bring in, in equal parts, what gives the story its LTV."""
        if not self.story.draws:
            return
        at = self.world.before(self.story.draws[0].ago) - BEFORE_REQUEST
        accounts = [self.who.accounts[label] for label in self.story.accounts]
        for coin, amount in _pledge(self.story, self.who, self.world).items():
            part = _typed(amount / len(accounts))
            for account in accounts:
                yield Event(
                    at,
                    f"collateral of {self.story.borrower}",
                    partial(self._deposit, account, coin, part, "spot"),
                )

    def draw(self, number: int) -> Iterator[Event]:
        draw = self.story.draws[number]
        asked_at = self.world.before(draw.ago)
        decided_at = asked_at + timedelta(minutes=int(Decimal(draw.hours) * 60))
        told = f"{draw.purpose!r} of {self.story.borrower}"
        yield Event(asked_at, f"request for {told}", partial(self._ask, number))
        if draw.outcome != Outcome.WAITING:
            yield Event(decided_at, f"decision on {told}", partial(self._decide, number))
            yield Event(decided_at + UNTIL_RELEASED, f"release of {told}", partial(self._release, number))

    def take(self, step: Step, at: datetime) -> None:
        match step:
            case Repay():
                for loan in self._loans(step.draw):
                    self._repay(loan, Decimal(step.share), at)
            case Renew():
                for loan in self._loans(step.draw):
                    self._bring(loan, renewal.due_amounts(loan, at=at).interest, at)
                    renewal.renew(loan_id=loan.pk, term_days=step.days, actor=self.who.actor, at=at)
            case TopUp():
                account = self.who.accounts[step.account]
                self._deposit(account, step.coin, Decimal(step.amount), step.wallet, at)
            case Withdraw():
                gate.withdraw(
                    account_uid=self.who.accounts[step.account].pk,
                    asset=step.coin,
                    amount=Decimal(step.amount),
                    address=ADDRESS,
                    actor=self.who.actor,
                    at=at,
                )
            case Move():
                self._move(step, at)
            case Trade():
                gate.trade(
                    account_uid=self.who.accounts[step.account].pk,
                    sell=step.sell,
                    amount=Decimal(step.amount),
                    buy=step.buy,
                    actor=self.who.actor,
                    at=at,
                )

    def _ask(self, number: int, at: datetime) -> None:
        story, draw, who = self.story, self.story.draws[number], self.who
        request = Request(
            customer_id=who.customer.pk,
            applicant_id=who.user.pk,
            receiver_uid=who.accounts[story.receiver].pk,
            account_uids=tuple(who.accounts[label].pk for label in story.accounts),
            coins=tuple(coin for coin, _ in story.coins),
            wishes=tuple(Wish(coin, Decimal(amount)) for coin, amount in draw.coins),
            rate_type=draw.rate,
            term_days=draw.days,
            contact=who.user.email,
            purpose=draw.purpose,
            manager_id=who.manager.pk if who.manager else 0,
        )
        if draw.wants is None:
            self.requests[number] = applications.submit(request=request, actor=who.actor, at=at)
            return
        self.requests[number] = applications.negotiate(
            request=request,
            wanted=_wanted(draw.wants),
            message=draw.wants.message,
            actor=who.actor,
            at=at,
        )

    def _decide(self, number: int, at: datetime) -> None:
        draw, request, manager = self.story.draws[number], self.requests[number], self.who.decider
        if draw.outcome == Outcome.CANCELLED:
            applications.cancel(application_id=request.pk, actor=self.who.actor, at=at)
        elif draw.outcome == Outcome.REJECTED:
            origination.reject(application_id=request.pk, reason=draw.reason, actor=manager, at=at)
        elif draw.outcome == Outcome.OFFERED:
            assert draw.offer is not None
            offers.counter_offer(
                application_id=request.pk,
                version=2,
                wanted=_wanted(draw.offer),
                message=draw.offer.message,
                actor=manager,
                at=at,
            )
        else:
            self._approve(number, request, at)

    def _approve(self, number: int, request: Application, at: datetime) -> None:
        """A large one is only proposed; `_release` pays it out (R-VIP-12)."""
        sheet = request.offers.get(version=1).sha256
        arguments = {"application_id": request.pk, "sheet_sha256": sheet}
        worth = origination.worth(arguments | {"at": at})
        proposal = approvals.run_or_propose(
            command="vip.approve",
            arguments=arguments,
            title=tell("Approve {request} of {customer}", request=request, customer=request.customer.name),
            preview={"request": str(request), "sheet": sheet, "worth_usd": f"{worth:.2f}"},
            reason="Known client, good cover",
            actor=self.who.decider,
            at=at,
            customer=request.customer,
        )
        if proposal is not None:
            self.proposals[number] = proposal

    def _release(self, number: int, at: datetime) -> None:
        if number in self.proposals:
            approvals.release(approval_id=self.proposals[number].pk, actor=self.world.checker, at=at)

    def _loans(self, number: int) -> list[Loan]:
        """The running loans of a request, coin by coin; a renewed one stands for its first."""
        group = Loan.objects.filter(line__application=self.requests[number]).values("group")
        rows = Loan.objects.filter(group__in=group, debt__closed_at__isnull=True).select_related(
            "debt", "group"
        )
        wanted = {coin for coin, _ in self.story.draws[number].coins}
        terms = {"term_days": self.story.draws[number].days} if self.story.draws[number].days else {}
        return [loan for loan in rows.filter(**terms).order_by("asset_id", "pk") if loan.asset_id in wanted]

    def _repay(self, loan: Loan, share: Decimal, at: datetime) -> None:
        payoff = renewal.due_amounts(loan, at=at).payoff
        self._bring(loan, payoff * share, at)
        repayment.repay(loan_id=loan.pk, share=share, actor=self.who.actor, at=at)

    def _bring(self, loan: Loan, needed: Decimal, at: datetime) -> None:
        """Bring in what Spot lacks, a whole amount of it."""
        missing = needed - renewal.due_amounts(loan, at=at).spot
        if missing > 0:
            receiver = self.who.accounts[self.story.receiver]
            self._deposit(receiver, loan.asset_id, round_up(missing, 0), "spot", at)

    def _move(self, step: Move, at: datetime) -> None:
        from_wallet, to_wallet = step.wallets
        gate.transfer(
            source_uid=self.who.accounts[step.source].pk,
            source_wallet=from_wallet,
            target_uid=self.who.accounts[step.target].pk,
            target_wallet=to_wallet,
            asset=step.coin,
            amount=Decimal(step.amount),
            actor=self.who.actor,
            at=at,
        )

    def _deposit(self, account: Account, coin: str, amount: Decimal, wallet: str, at: datetime) -> None:
        gate.deposit(
            account_uid=account.pk, asset=coin, amount=amount, wallet=wallet, actor=self.who.actor, at=at
        )


# --- How much collateral --------------------------------------------------------------------------------------


@exact
def _pledge(story: Story, who: Resident, world: World) -> dict[str, Decimal]:
    """How much of each coin gives the story its LTV when it is wanted, at the market of that time."""
    prices = world.market.prices(world.before(story.ltv_ago))
    recognised = _owed(story, who, world, prices) / Decimal(story.ltv)
    amounts = {}
    for coin, share in story.coins:
        tiers = tuple(Tier(floor=floor, ratio=ratio) for floor, ratio in world.coins[coin].tiers)
        value = market_value_needed(recognised_value=recognised * Decimal(share), tiers=tiers)
        assert value is not None, f"{story.borrower} pledges more {coin} than counts"
        amounts[coin] = value / prices[coin]
    return amounts


def _owed(story: Story, who: Resident, world: World, prices: Mapping[str, Decimal]) -> Decimal:
    """USD owed when the LTV is wanted, with interest to the day; of what is paid out by then, or else of all."""
    wanted = Decimal(story.ltv_ago)
    paid = [draw for draw in story.draws if draw.outcome == Outcome.PAID_OUT and Decimal(draw.ago) > wanted]
    total = ZERO
    for draw in paid or story.draws:
        number = story.draws.index(draw)
        days = Decimal(draw.ago) - wanted if paid else ZERO
        left = ONE
        for step in story.steps:
            if isinstance(step, Repay) and step.draw == number and Decimal(step.ago) > wanted:
                left *= ONE - Decimal(step.share)
        for coin, amount in draw.coins:
            interest = _rate(draw, world.coins[coin], who.customer.vip_level) * days / 365
            total += Decimal(amount) * (ONE + interest) * left * prices[coin]
    return total


def _rate(draw: Draw, coin: DemoParameters, vip_level: int) -> Decimal:
    if draw.rate == FIXED and draw.days is not None:
        card_level = max(level for level in opening.CARD_LEVELS if level <= vip_level)
        return opening.fixed_rate(coin, term_days=draw.days, vip_level=card_level)
    return coin.flexible_rate


def _typed(amount: Decimal) -> Decimal:
    """Five digits, as people type it."""
    with localcontext(BROUGHT):
        return +amount


def _wanted(wants: Wants) -> Wanted:
    """On the published lines, but for the margin call."""
    return Wanted(
        rates=tuple(CoinRate(coin, Decimal(rate)) for coin, rate in wants.rates),
        initial=opening.LINES.initial,
        margin_call=Decimal(wants.margin_call),
        liquidation=opening.LINES.liquidation,
        cutoff=opening.LINES.cutoff,
        fee=opening.LINES.fee,
        term_days=wants.days,
        overdue_hours=wants.overdue_hours,
    )
