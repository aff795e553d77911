"""Which of a customer's accounts a request is about: the key's own, its master's, or one named by its address."""

from typing import Final

from accounts.models import Account
from accounts.sapi.errors import Denied
from accounts.sapi.registry import Call

NOT_FOR_YOU: Final = -1002
UNRELATED: Final = -5021


def master_only(call: Call) -> None:
    """Refuse a key that does not reach all of the customer's accounts. R-GEN-95

    Raises:
        Denied: a sub-account's key, or its member acts for one account only.
    """
    if call.caller.only is not None:
        raise Denied(
            NOT_FOR_YOU,
            "You are not authorized to execute this request: it takes a key of the master account.",
        )


def sub_only(call: Call) -> None:
    """Refuse the master's key where the request means a sub-account by it.

    Raises:
        Denied: the key is the master's.
    """
    if call.account.is_master:
        raise Denied(
            NOT_FOR_YOU, "You are not authorized to execute this request: it takes a key of a sub-account."
        )


def master_of(call: Call) -> Account:
    return call.account if call.account.is_master else call.customer.accounts.get(kind=Account.Kind.MASTER)


def named(call: Call, email: str) -> Account:
    """The customer's account with that address; for callers that act for all of them.

    Raises:
        Denied: there is none, or it is another customer's: said alike.
    """
    if email == call.account.email:
        return call.account
    found = None
    if call.caller.membership.account_id is None:
        found = call.customer.accounts.filter(email=email).first()
    if found is None:
        raise Denied(UNRELATED, "This parent sub have no relation: none of your accounts has that address.")
    return found
