"""A firm through its pages: members, what needs two, what waits, and every button by each role (R-ADM-09)."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse

from accounts import firms, membership
from accounts.commands import acting
from accounts.models import Approval, Customer, Delivery, FirmPolicy, Notice, User
from loans.models import Application, Loan
from risk.models import Member, Movement
from tests import build
from tests.build import BUILDER, LONG_AGO, TEN
from tests.loans import desk as desks
from tests.loans import talks, visit
from tests.loans.desk import Desk
from tests.loans.test_firm_members import everything
from tests.loans.test_pages_borrower import hidden, text_of, wish
from tests.loans.test_pages_offers import hidden_inputs

pytestmark = pytest.mark.django_db
ROLES = ("signatory", "treasurer", "trader", "viewer")
NONE = {"apply": False, "accept": False, "withdraw": False, "remove": False}


@dataclass(frozen=True)
class House:
    desk: Desk
    loan: Loan
    more: Any  # an empty second account of the group
    users: dict[str, User]

    def client(self, who: str) -> Client:
        return visit.client_of(self.users[who])


@pytest.fixture
def house() -> Iterator[House]:
    """500,000 USDT against 25 BTC, an empty second account, a member of each role, and strangers."""
    with visit.at(TEN):
        desk = desks.set_up()
        more = build.account(desk.owner, label="Second")
        loan = desks.drawn(desk, "500000", account_uids=(desk.sub.pk, more.pk))
        users = {role: build.colleague(desk.owner, role) for role in ROLES}
        users |= {"boss": desk.applicant, "manager": desk.manager, "admin": build.user("admin")}
        users |= {"other": build.user(), "one": build.colleague(desk.owner, "signatory", only=desk.sub)}
        build.customer("Elsewhere", member=users["other"])
        yield House(desk, loan, more, users)


def two_for(house: House, **acts: bool) -> None:
    firms.set_policy(customer_id=house.desk.owner.pk, **(NONE | acts), actor=BUILDER, at=LONG_AGO)


def key() -> dict[str, Any]:
    return {"key": str(uuid4())}


def twice(client: Client, url: str, form: dict[str, Any]) -> Any:
    """Look first, then press the button that the look showed."""
    shown = client.post(url, form)
    if shown.status_code != 200:
        return shown
    return client.post(url, form | {"seen": hidden(shown, "seen")})


def out(house: House, amount: str = "1") -> dict[str, Any]:
    told = {"account": house.desk.sub.pk, "wallet": "spot", "asset": "BTC", "amount": amount}
    return key() | told | {"address": "bc1q"}


# --- The firm's page --------------------------------------------------------------------------------------


def test_every_member_reads_who_may_do_what_and_only_a_signatory_changes_it(house: House) -> None:
    """R-ADM-09"""
    for role in ROLES:
        answer = house.client(role).get(reverse("accounts:firm"))
        words = text_of(answer)
        assert answer.status_code == 200
        assert house.users["trader"].name in words
        assert "Two people" in words
        assert ("Change the role" in words) is (role == "signatory")
        assert ("you may not say who may do what" in words) is (role != "signatory")
    for who in ("one", "other", "manager", "admin"):
        answer = house.client(who).get(reverse("accounts:firm"))
        assert answer.status_code == (200 if who == "other" else 404)
        assert house.desk.owner.name not in text_of(answer)


def test_a_person_has_no_such_page_and_a_visitor_signs_in(house: House) -> None:
    """R-ADM-09"""
    with acting(BUILDER):
        Customer.objects.filter(name="Elsewhere").update(kind="person")
    client = house.client("other")
    assert client.get(reverse("accounts:firm")).status_code == 404
    assert reverse("accounts:firm") not in client.get(reverse("loans:home")).content.decode()
    assert client.post(reverse("accounts:firm_policy"), key() | {"withdraw": "on"}).status_code == 404
    assert not FirmPolicy.objects.exists()
    assert Client().get(reverse("accounts:firm")).status_code == 302


def test_a_signatory_switches_two_people_on_and_two_of_them_switch_it_off(house: House) -> None:
    """R-ADM-09"""
    owner, url = house.desk.owner, reverse("accounts:firm_policy")
    for role in ("treasurer", "trader", "viewer"):
        refused = house.client(role).post(url, key() | {"withdraw": "on"})
        assert refused.status_code == 422
        assert "Ask a signatory" in text_of(refused)
    assert membership.policy_of(owner.pk, at=TEN) is None
    done = house.client("boss").post(url, key() | {"withdraw": "on", "remove": "on"})
    assert done["Location"] == reverse("accounts:firm")
    assert "two people" in text_of(house.client("viewer").get(reverse("accounts:firm")))
    later = TEN + timedelta(minutes=1)
    with visit.at(later):
        sent = house.client("boss").post(url, key() | {"remove": "on"})
        waiting = Approval.objects.get()
        assert sent["Location"] == reverse("accounts:firm_proposal", args=[waiting.pk])
        assert membership.policy_of(owner.pk, at=later).withdraw  # type: ignore[union-attr]
        release = reverse("accounts:firm_release", args=[waiting.pk])
        assert house.client("treasurer").post(release, key()).status_code == 422
        assert house.client("signatory").post(release, key()).status_code == 302
        now = membership.policy_of(owner.pk, at=later)
    assert now is not None
    assert (now.withdraw, now.remove) == (False, True)


def test_a_role_is_changed_on_the_page_and_a_signature_by_two(house: House) -> None:
    """R-ADM-09"""
    url, viewer = reverse("accounts:firm_role"), house.users["viewer"]
    assert (
        house.client("treasurer").post(url, key() | {"member": viewer.pk, "role": "trader"}).status_code
        == 422
    )
    assert house.client("boss").post(url, key() | {"member": viewer.pk, "role": "trader"}).status_code == 302
    assert viewer.memberships.get().role == "trader"
    stranger = key() | {"member": house.users["other"].pk, "role": "viewer"}
    assert house.client("boss").post(url, stranger).status_code == 422
    sent = house.client("boss").post(url, key() | {"member": viewer.pk, "role": "signatory"})
    assert sent["Location"] == reverse("accounts:firm_proposal", args=[Approval.objects.get().pk])
    assert viewer.memberships.get().role == "trader"


# --- The four acts through their pages --------------------------------------------------------------------


def test_a_withdrawal_waits_for_a_colleague_and_is_paid_when_they_release_it(house: House) -> None:
    """R-ADM-09: the second person sees what the first saw, what it would do now, and the exact arguments."""
    two_for(house, withdraw=True)
    boss, treasurer = house.client("boss"), house.client("treasurer")
    sent = twice(boss, reverse("risk:move", args=["withdraw"]), out(house))
    waiting = Approval.objects.get()
    page = reverse("accounts:firm_proposal", args=[waiting.pk])
    assert sent["Location"] == page
    assert "is sent to your colleagues: Withdraw 1.00 BTC" in text_of(boss.get(page))
    assert build.balance(house.desk.sub, "BTC") == 25

    assert "Firm (1)" in text_of(treasurer.get(reverse("loans:home")))
    assert "Firm (1)" not in text_of(boss.get(reverse("loans:home")))
    assert "Withdraw 1.00 BTC" in text_of(treasurer.get(reverse("accounts:firm_waiting")))
    words = text_of(treasurer.get(page))
    for told in ("bc1q", "LTV before", "Possibleyes", "What exactly is done", "Release A-"):
        assert told in words
    assert "Release A-" not in text_of(boss.get(page))
    assert "Release A-" not in text_of(house.client("viewer").get(page))

    done = treasurer.post(reverse("accounts:firm_release", args=[waiting.pk]), key())
    assert done["Location"] == page
    assert build.balance(house.desk.sub, "BTC") == 24
    again = treasurer.post(reverse("accounts:firm_release", args=[waiting.pk]), key())
    assert (again.status_code, "released already" in text_of(again)) == (422, True)
    assert Movement.objects.filter(kind="withdrawal").count() == 1
    assert "Released" in text_of(boss.get(reverse("accounts:firm_waiting")))


def test_it_is_refused_with_a_reason_or_taken_back(house: House) -> None:
    """R-ADM-09"""
    two_for(house, withdraw=True)
    boss, treasurer = house.client("boss"), house.client("treasurer")
    for amount in ("1", "2"):
        twice(boss, reverse("risk:move", args=["withdraw"]), out(house, amount))
    first, second = Approval.objects.order_by("pk")
    refuse = reverse("accounts:firm_refuse", args=[first.pk])
    assert treasurer.post(refuse, key() | {"reason": ""}).status_code == 422
    assert treasurer.post(refuse, key() | {"reason": "Wrong <b>address</b>"}).status_code == 302
    page = boss.get(reverse("accounts:firm_proposal", args=[first.pk])).content.decode()
    assert "Wrong &lt;b&gt;address&lt;/b&gt;" in page
    take_back = reverse("accounts:firm_withdraw", args=[second.pk])
    assert treasurer.post(take_back, key()).status_code == 422
    assert boss.post(take_back, key()).status_code == 302
    assert [row.status for row in Approval.objects.order_by("pk")] == ["refused", "withdrawn"]
    assert build.balance(house.desk.sub, "BTC") == 25


def test_an_account_leaves_the_collateral_by_two(house: House) -> None:
    """R-ADM-09"""
    two_for(house, remove=True)
    url = reverse("loans:collateral", args=[house.loan.group_id])
    form = key() | {"what": "remove", "account": house.more.pk}
    sent = twice(house.client("treasurer"), url, form)
    waiting = Approval.objects.get()
    assert sent["Location"] == reverse("accounts:firm_proposal", args=[waiting.pk])
    assert Member.objects.filter(account=house.more, released_at=None).exists()
    assert "LTV after" in text_of(house.client("boss").get(sent["Location"]))
    house.client("boss").post(reverse("accounts:firm_release", args=[waiting.pk]), key())
    assert not Member.objects.filter(account=house.more, released_at=None).exists()


def test_a_request_is_sent_by_two(house: House) -> None:
    """R-ADM-09: on the terms that the first accepted, as the first person's request."""
    two_for(house, apply=True)
    desk, boss = house.desk, house.client("boss")
    form = wish(desk, amount_1="200000", accounts=[desk.sub.pk, house.more.pk])
    sheet = boss.post(reverse("loans:apply"), form)
    sent = boss.post(reverse("loans:apply"), hidden_inputs(sheet) | {"step": "accept"})
    waiting = Approval.objects.get()
    assert sent["Location"] == reverse("accounts:firm_proposal", args=[waiting.pk])
    assert Application.objects.count() == 1
    words = text_of(house.client("treasurer").get(sent["Location"]))
    for told in (
        "Borrow 200,000.00 USDT",
        "8.40 % fixed",
        "Terms as your colleague accepted themyes",
        "30 days",
    ):
        assert told in words
    house.client("treasurer").post(reverse("accounts:firm_release", args=[waiting.pk]), key())
    made = Application.objects.latest("pk")
    assert (Application.objects.count(), made.applicant, made.status) == (2, desk.applicant, "submitted")


def test_other_terms_are_asked_for_and_an_offer_accepted_by_two(house: House) -> None:
    """R-ADM-09, R-VIP-11"""
    two_for(house, apply=True, accept=True)
    desk, boss, treasurer = house.desk, house.client("boss"), house.client("treasurer")

    def release() -> None:
        waiting = Approval.objects.get(status="pending")
        answer = treasurer.get(reverse("accounts:firm_proposal", args=[waiting.pk]))
        assert "8" in text_of(answer)
        assert treasurer.post(reverse("accounts:firm_release", args=[waiting.pk]), key()).status_code == 302

    form = wish(desk, amount_1="200000", accounts=[desk.sub.pk, house.more.pk])
    wanted = hidden_inputs(boss.post(reverse("loans:apply"), form)) | {"step": "negotiate"}
    boss.post(reverse("loans:apply"), wanted | {"want-rate_USDT": "7.75", "want-message": "Please."})
    release()
    row = Application.objects.latest("pk")
    assert row.status == "negotiating"
    talks.move("counter_offer", row, desk, wanted=talks.wanted("0.083"))
    accept = reverse("loans:accept_offer", args=[row.pk])
    sent = boss.post(accept, key() | {"version": 3})
    assert sent["Location"].startswith("/firm/waiting/")
    row.refresh_from_db()
    assert row.status == "offered"
    release()
    row.refresh_from_db()
    assert row.status == "submitted"


def test_who_acts_for_one_account_sends_it_to_the_others_and_learns_no_ltv(house: House) -> None:
    """R-ADM-09, R-GEN-95"""
    two_for(house, withdraw=True)
    one = house.client("one")
    sent = twice(one, reverse("risk:move", args=["withdraw"]), out(house))
    words = text_of(one.get(sent["Location"]))
    assert "Take A-" in words
    assert "LTV" not in words
    twice(house.client("boss"), reverse("risk:move", args=["withdraw"]), out(house, "2"))
    theirs, others = Approval.objects.order_by("pk")
    assert one.get(reverse("accounts:firm_proposal", args=[others.pk])).status_code == 404
    assert one.post(reverse("accounts:firm_release", args=[others.pk]), key()).status_code == 404
    assert others.title not in text_of(one.get(reverse("accounts:firm_waiting")))
    house.client("boss").post(reverse("accounts:firm_release", args=[theirs.pk]), key())
    assert build.balance(house.desk.sub, "BTC") == 24


def test_to_others_a_firms_proposals_do_not_exist(house: House) -> None:
    """R-ADM-09, TRUST B-13, B-14: not to another firm, nor to the desk, whose inbox stays empty."""
    two_for(house, withdraw=True)
    twice(house.client("boss"), reverse("risk:move", args=["withdraw"]), out(house))
    waiting = Approval.objects.get()
    before = everything()
    for who in ("other", "manager", "admin"):
        client = house.client(who)
        assert client.get(reverse("accounts:firm_proposal", args=[waiting.pk])).status_code == 404
        for name in ("firm_release", "firm_refuse", "firm_withdraw"):
            answer = client.post(reverse(f"accounts:{name}", args=[waiting.pk]), key() | {"reason": "x"})
            assert answer.status_code == 404
        for name in ("approval", "approval_release", "approval_refuse", "approval_withdraw"):
            assert client.post(reverse(f"loans:{name}", args=[waiting.pk]), key()).status_code in {404, 405}
            assert client.get(reverse(f"loans:{name}", args=[waiting.pk])).status_code == 404
    assert "Withdraw 1.00 BTC" not in text_of(house.client("admin").get(reverse("loans:approvals")))
    assert everything() == before


def test_what_a_firms_people_ask_each_other_is_not_read_by_the_desk(house: House) -> None:
    """R-ADM-09: a manager must not learn from a notice what a firm has yet to agree on."""
    two_for(house, withdraw=True)
    twice(house.client("boss"), reverse("risk:move", args=["withdraw"]), out(house))
    notice = Notice.objects.get(kind="firm_proposal")
    assert "Withdraw 1.00" in notice.body
    Delivery.objects.filter(notice=notice).update(status=Delivery.Status.FAILED)
    assert Delivery.objects.filter(notice=notice).exists()
    mine = text_of(house.client("treasurer").get(reverse("accounts:notice", args=[notice.pk])))
    assert "Withdraw 1.00" in mine
    owner = house.desk.owner.pk
    for who in ("manager", "admin"):
        client = house.client(who)
        assert client.get(reverse("loans:desk_notice", args=[notice.pk])).status_code == 404
        for page in (
            reverse("loans:client_notices", args=[owner]),
            reverse("loans:client_timeline", args=[owner]),
            reverse("loans:desk_client", args=[owner]),
            reverse("loans:undelivered"),
        ):
            assert "waits for a second person" not in text_of(client.get(page))


# --- Every button by each role ----------------------------------------------------------------------------


def buttons(house: House) -> dict[str, tuple[str, dict[str, Any], bool]]:
    """By command: where its button posts to, what, and whether the page shows the effect first."""
    desk, loan = house.desk, house.loan
    row = desks.submitted(desk, "50000", account_uids=(desk.sub.pk, house.more.pk))
    spare = build.account(desk.owner)
    move = {"account": desk.sub.pk, "asset": "BTC", "amount": "1"}
    return {
        "gate.withdraw": (reverse("risk:move", args=["withdraw"]), out(house), True),
        "gate.transfer": (
            reverse("risk:move", args=["transfer"]),
            move | {"wallet": "spot", "target": desk.sub.pk, "target_wallet": "funding"},
            True,
        ),
        "gate.trade": (reverse("risk:move", args=["trade"]), move | {"buy": "USDT"}, True),
        "groups.add_account": (
            reverse("loans:collateral", args=[loan.group_id]),
            {"what": "add", "account": spare.pk},
            True,
        ),
        "vip.repay": (reverse("loans:repay", args=[loan.pk]), {"how": "amount", "amount": "1000"}, True),
        "vip.set_auto_repay": (reverse("loans:auto_repay", args=[loan.pk]), {"on": "on"}, False),
        "vip.cancel": (reverse("loans:request", args=[row.pk]), {}, False),
        "risk.set_warning_line": (reverse("risk:warnings", args=[loan.group_id]), {"ltv": "70"}, False),
        "loans.enquire": (reverse("loans:enquiry"), {"contact": "me", "wish": "More"}, False),
        "notices.set_preference": (
            reverse("accounts:preferences"),
            {"by_email": "on", "time_zone": "UTC"},
            False,
        ),
        "notices.send_test": (reverse("accounts:test_notice"), {}, False),
    }


TRADERS = {"gate.transfer", "gate.trade"}


def test_each_role_presses_every_button(house: House) -> None:
    """R-ADM-09: refused by the command, whatever the page shows; a viewer sees the pages and changes nothing."""
    for name, (url, form, has_look) in buttons(house).items():
        sure = {}
        if has_look:
            sure = {"seen": hidden(house.client("boss").post(url, form | key()), "seen")}
        for role in ("viewer", "trader"):
            client = house.client(role)
            if role == "trader" and name in TRADERS:
                continue
            before = everything()
            for data in (form | key(), form | key() | sure):
                refused = client.post(url, data)
                assert refused.status_code == 422, (name, role)
                assert "Ask a signatory" in text_of(refused), (name, role)
            assert everything() == before, (name, role)
    for name, (url, form, has_look) in buttons(house).items():
        who = "trader" if name in TRADERS else "treasurer"
        before = everything()
        client = house.client(who)
        done = twice(client, url, form | key()) if has_look else client.post(url, form | key())
        assert done.status_code == 302, (name, text_of(done)[-900:])
        assert everything() != before, name


def test_a_viewer_opens_every_page_of_the_firm_and_finds_no_button(house: House) -> None:
    """R-ADM-09"""
    viewer = house.client("viewer")
    row = desks.submitted(house.desk, "50000", account_uids=(house.desk.sub.pk, house.more.pk))
    group, loan = house.loan.group_id, house.loan.pk
    pages = {
        reverse("loans:home"): "",
        reverse("loans:apply"): "Check terms</button>",
        reverse("loans:list"): "",
        reverse("loans:loan", args=[loan]): "Check</button>",
        reverse("loans:request", args=[row.pk]): "Cancel request",
        reverse("loans:collateral", args=[group]): "Check</button>",
        reverse("risk:warnings", args=[group]): "Set this line",
        reverse("risk:wallets"): ">Withdraw</a>",
        reverse("risk:move", args=["withdraw"]): "Check</button>",
        reverse("accounts:preferences"): "Save</button>",
        reverse("accounts:firm"): "Change the role",
        reverse("accounts:firm_waiting"): "",
        reverse("loans:enquiry"): "Send to",
    }
    boss = house.client("boss")
    for url, button in pages.items():
        answer = viewer.get(url)
        assert answer.status_code == 200, url
        if button:
            assert button in boss.get(url).content.decode(), (url, button)
            assert button not in answer.content.decode(), (url, button)
