"""Whom a member acts for: all of a customer, or one of its accounts only. R-GEN-95

A firm lets the user of one desk see and move that desk's coins, and nothing of what the firm owes.
"""

from datetime import datetime

from accounts.commands import Actor, FourEyes, command
from accounts.errors import Refused
from accounts.firms import refuse_short_handed
from accounts.models import Customer, Membership, User
from accounts.people import BadDetails, NotAMember, refuse_others_client
from accounts.words import tell


class LastWholeMember(Refused):
    code = "last_whole_member"


@command(
    "members.limit",
    returns=Membership,
    four_eyes=FourEyes(makers=frozenset({User.Role.VIP_MANAGER, User.Role.ADMIN}), needed=lambda _: False),
)
def limit(
    *,
    customer_id: int,
    user_id: int,
    account_uid: int | None,
    actor: Actor,
    at: datetime,
    key: str = "",
    reason: str = "",
) -> Membership:
    """From now on the user acts for this one account only; with None, for all of the customer again. R-GEN-95

    A VIP manager does it for their own clients, an admin for all.

    Raises:
        NotYourRole, people.NotYourClient: neither of them.
        people.NotAMember: the user does not act for this customer.
        people.BadDetails: the account is not the customer's.
        LastWholeMember: nobody would be left who acts for all of the customer.
        firms.LastSignatory, firms.TooFewPeople: no signatory would, or not the two the firm asks for (R-ADM-09).
    """
    customer = Customer.objects.select_for_update(of=("self",)).get(pk=customer_id)
    refuse_others_client(customer=customer, actor=actor)
    membership = customer.memberships.filter(user_id=user_id).first()
    if membership is None:
        raise NotAMember(tell("This user does not act for {customer}.", customer=customer.name))
    account = None
    if account_uid is not None:
        account = customer.accounts.filter(pk=account_uid).first()
        if account is None:
            raise BadDetails(
                tell(
                    "{customer} has no account {account_uid}.",
                    customer=customer.name,
                    account_uid=account_uid,
                )
            )
        if not customer.memberships.filter(account=None).exclude(pk=membership.pk).exists():
            raise LastWholeMember(
                tell("Somebody else must act for all of {customer} first.", customer=customer.name)
            )
    membership.account = account
    membership.save(update_fields=["account"])
    refuse_short_handed(customer, at=at)
    return membership
