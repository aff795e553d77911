"""Who works at the demo's desk and who borrows from it. Names are invented; addresses cannot receive mail."""

from dataclasses import dataclass
from datetime import time
from typing import Final

from accounts.models import Account, Customer, Membership, User
from accounts.words import tell

MAIL: Final = "lombard.example"  # a reserved ending (RFC 2606): nobody can own it
PASSWORD: Final = "lombard-demo-desk"  # noqa: S105  of every login, printed for everybody; only a demo has it


@dataclass(frozen=True, slots=True)
class Login:
    """A documented way in: `name`@lombard.example with the demo's one password."""

    name: str
    shows: str

    @property
    def email(self) -> str:
        return f"{self.name}@{MAIL}"


@dataclass(frozen=True, slots=True)
class Staff:
    name: str
    role: str
    login: Login


@dataclass(frozen=True, slots=True)
class Colleague:
    """One more of a firm's people, and what they may do there."""

    name: str
    role: str
    login: Login


@dataclass(frozen=True, slots=True)
class Borrower:
    """A customer. `subs` are (label, kind) of its accounts below the master; `manager` is a login's name, or nobody's.

    Without `login` nobody can sign in for it, but its member still acts in the stories. `quiet` are the hours
    between which it wants no message that can wait, in London. `unproven`: who they are is still being checked.
    """

    name: str
    vip_level: int
    manager: str
    subs: tuple[tuple[str, str], ...]
    person: bool = False
    member: str = ""  # who signs in for a firm
    login: Login | None = None
    whitelisted: bool = False
    has_agreed: bool = True
    phone: str = ""  # of a range that is given to nobody; with it, notices come by SMS too
    quiet: tuple[time, time] | None = None
    colleagues: tuple[Colleague, ...] = ()
    unproven: bool = False

    @property
    def kind(self) -> str:
        return Customer.Kind.PERSON if self.person else Customer.Kind.FIRM

    @property
    def member_name(self) -> str:
        return self.member or (self.name if self.person else f"{self.name}, treasury")

    @property
    def handle(self) -> str:
        """The local part of its addresses."""
        return self.login.name if self.login else self.name.split()[0].lower()


SUB: Final = Account.Kind.SUB.value
VIRTUAL: Final = Account.Kind.SUB_VIRTUAL.value
MANAGED: Final = Account.Kind.SUB_MANAGED.value
RESERVE: Final = ("Reserve", SUB)

STAFF: Final = (
    Staff(
        "Vera Lindqvist",
        User.Role.VIP_MANAGER,
        Login(
            "manager",
            tell(
                "VIP manager: requests to decide, a called client who promised, a client's file, loans due this week"
            ),
        ),
    ),
    Staff(
        "Marco Ossola",
        User.Role.VIP_MANAGER,
        Login("manager2", tell("the other VIP manager: alone up to 2,000,000 USD and an LTV of 68 %")),
    ),
    Staff(
        "Ruth Adeyemi",
        User.Role.RISK_OFFICER,
        Login(
            "risk", tell("risk officer: prices, groups, liquidations; waits for a second person to lower BTC")
        ),
    ),
    Staff(
        "Olav Brandt",
        User.Role.RISK_OFFICER,
        Login("risk2", tell("the other risk officer: may release what the first one proposed")),
    ),
    Staff(
        "Noor Haddad", User.Role.OPS, Login("ops", tell("operations: looks at everything, may freeze things"))
    ),
    Staff(
        "Felix Grau",
        User.Role.FINANCE,
        Login("finance", tell("finance: pools and lenders, a closed month, a corrected entry, the ledger")),
    ),
    Staff("Odile Marchand", User.Role.AUDITOR, Login("auditor", tell("auditor: everything, to read only"))),
    Staff("Ada Novak", User.Role.ADMIN, Login("admin", tell("admin: people and parameters"))),
)

BORROWERS: Final = (
    Borrower(
        "Alder Street Capital",
        5,
        "manager",
        (
            RESERVE,
            ("Algo1", VIRTUAL),
            ("Trading", SUB),
            ("Margin book", SUB),
            ("Fund of one", MANAGED),
            ("Spare", SUB),
        ),
        member="Nora Keller",
        login=Login(
            "borrower",
            tell(
                "two loan groups: one healthy with a loan due in 5 days, one that a push of -3 % in BTC calls; own"
                " rules against a fall, a withdrawal to release, balances to confirm, last month's statement"
            ),
        ),
        phone="+447700900140",
        colleagues=(
            Colleague(
                "Jan Vermeer",
                Membership.Role.TREASURER,
                Login(
                    "treasurer",
                    tell("treasurer of that firm: has sent a withdrawal that waits for the signatory"),
                ),
            ),
            Colleague(
                "Rosa Lindgren",
                Membership.Role.TRADER,
                Login(
                    "trader",
                    tell("trader of that firm: trades and moves coins, borrows and withdraws nothing"),
                ),
            ),
            Colleague(
                "Emil Novak",
                Membership.Role.VIEWER,
                Login("viewer", tell("viewer of that firm: looks at everything of it, may do nothing")),
            ),
        ),
    ),
    Borrower(
        "Kestrel Digital",
        3,
        "manager",
        (RESERVE, ("Staking", SUB)),
        member="Ines Duarte",
        login=Login(
            "called",
            tell(
                "in margin call right now, with what to repay or to add; more contacts, and de-leveraging from 84 %"
            ),
        ),
        phone="+447700900141",
    ),
    Borrower(
        "Meridian Treasury",
        9,
        "manager",
        (RESERVE, ("Cold store", SUB)),
        member="Anders Holm",
        login=Login("negotiated", tell("own LTV lines; a push of -10 % in BTC liquidates it")),
        phone="+447700900142",
    ),
    Borrower(
        "Marlow & Finch",
        2,
        "manager2",
        (RESERVE,),
        member="Hugh Marlow",
        login=Login("overdue", tell("a loan two days past its expiry, at three times the interest")),
        phone="+447700900143",
        quiet=(time(22), time(7)),
    ),
    Borrower(
        "Tiber Quant",
        4,
        "manager2",
        (RESERVE, ("Desk2", VIRTUAL)),
        member="Livia Conti",
        login=Login(
            "liquidated", tell("liquidated a week ago: every sale, the fee, and the surplus that stayed")
        ),
        phone="+447700900144",
    ),
    Borrower(
        "Harbour Lane Partners",
        6,
        "manager",
        (RESERVE, ("Treasury", SUB)),
        member="Grace Okafor",
        login=Login(
            "deal", tell("a request in negotiation: the desk's offer is open, to accept or to counter")
        ),
        phone="+447700900145",
    ),
    Borrower(
        "Cinder Row Mining",
        4,
        "manager",
        (RESERVE,),
        member="Pavel Dvorak",
        login=Login("delayed", tell("delayed liquidation: a running 24 h clock and the amount needed now")),
        phone="+447700900146",
    ),
    Borrower(
        "Wexford Arbitrage",
        3,
        "manager2",
        (RESERVE,),
        member="Cara Nolan",
        login=Login("residual", tell("a liquidation that fell short: the rest, paid by instalments")),
        phone="+447700900147",
    ),
    Borrower(
        "Sofia Marin",
        0,
        "",
        (("Savings", SUB),),
        person=True,
        has_agreed=False,
        unproven=True,
        login=Login(
            "novip", tell("no VIP level: an enquiry that waits for a manager; identity still being checked")
        ),
    ),
    Borrower(
        "Jonas Weber",
        1,
        "manager",
        (("Savings", SUB),),
        person=True,
        has_agreed=False,
        login=Login(
            "new", tell("first loan still to come: has coins, must accept the agreement, then may apply")
        ),
    ),
    Borrower("Elena Petrova", 2, "manager", (RESERVE,), person=True),
    Borrower("Halcyon Fund", 6, "manager2", (RESERVE, ("Cash", SUB))),
    Borrower("Ostrava Mining", 3, "manager2", (("Treasury", SUB), ("Pool payouts", SUB))),
    Borrower("Blue Heron Partners", 4, "manager", (RESERVE,)),
    Borrower(
        "Kenji Sato",
        3,
        "manager",
        (RESERVE, ("Bots", VIRTUAL)),
        person=True,
        login=Login("recalled", tell("an open loan called back, due in 2 days, with auto-repay on")),
        phone="+447700900148",
    ),
    Borrower("Quill Market Making", 7, "manager2", (("MM1", VIRTUAL), ("MM2", VIRTUAL), RESERVE)),
    Borrower("Larkspur Ventures", 1, "manager2", (RESERVE,)),
    Borrower("Cobalt Ridge", 2, "manager", (RESERVE,)),
    Borrower("Fjord Asset Management", 3, "manager2", (RESERVE, ("Second book", SUB))),
    Borrower("Priya Raman", 1, "manager", (("Savings", SUB),), person=True),
    Borrower("Sundial Holdings", 5, "manager", (RESERVE, ("Growth", SUB), ("Income", SUB))),
    Borrower("Aster Labs", 2, "manager2", (("Treasury", SUB),)),
    Borrower("Basalt Group", 4, "manager", (RESERVE,)),
    Borrower("Tomas Oliveira", 0, "manager2", (("Savings", SUB),), person=True, whitelisted=True),
    Borrower(
        "Northgate OTC",
        8,
        "manager",
        (("Vault A", SUB), ("Vault B", SUB), ("Vault C", SUB), ("Hedge", SUB)),
    ),
    Borrower("Ivory Bay Commodities", 3, "manager2", (RESERVE,)),
    Borrower("Redwood Family Office", 4, "manager", (RESERVE, ("Heirs", SUB))),
    Borrower("Delphi Research", 1, "manager2", (RESERVE,)),
    Borrower("Zenith Arcade", 6, "manager", (("Treasury", SUB), ("Operations", SUB), ("Prizes", SUB))),
)

MAIN: Final = BORROWERS[0]


def logins() -> list[Login]:
    """Every documented login: borrowers with their colleagues first, the main one at the top."""
    found = []
    for borrower in BORROWERS:
        found += [borrower.login] if borrower.login is not None else []
        found += [colleague.login for colleague in borrower.colleagues]
    return [*found, *(staff.login for staff in STAFF)]
