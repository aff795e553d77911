"""Whose groups and accounts an address of our own API reaches; what is not theirs is not there. R-GEN-95"""

from django.db.models import QuerySet
from django.http import Http404

from accounts.api.edge import Asker
from accounts.models import Account
from risk.models import CollateralGroup


def groups_of(asker: Asker) -> QuerySet[CollateralGroup]:
    """The customer's groups; who acts for one account sees the group it borrows in, not one it secures."""
    rows = CollateralGroup.objects.filter(customer=asker.customer).select_related("customer", "receiver")
    return rows if asker.only is None else rows.filter(receiver=asker.only)


def group_of(asker: Asker, group_id: int, *, is_open: bool = True) -> CollateralGroup:
    """One of them.

    Raises:
        Http404: somebody else's, none, or, with `is_open`, one that was closed.
    """
    rows = groups_of(asker).filter(pk=group_id)
    row = (rows.filter(closed_at__isnull=True) if is_open else rows).first()
    if row is None:
        raise Http404
    return row


def account_of(asker: Asker, uid: int) -> Account:
    """One of the customer's accounts.

    Raises:
        Http404: somebody else's, none, or not the one that the asker acts for.
    """
    rows = Account.objects.filter(customer=asker.customer, pk=uid)
    row = (rows if asker.only is None else rows.filter(pk=asker.only.pk)).first()
    if row is None:
        raise Http404
    return row
