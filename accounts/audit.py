"""Who looked at whom: the house's views of a customer's data stand in the same trail as its acts (R-ADM-07)."""

from accounts.commands import Actor, acting, request_id
from accounts.models import AuditRecord, Customer


def viewed(*, customer: Customer | int, actor: Actor, what: str) -> None:
    """Write down that `actor` looked at `what` (a page's name) of the customer: one insert."""
    customer_id = customer.pk if isinstance(customer, Customer) else customer
    with acting(actor):
        AuditRecord.objects.create(
            kind=AuditRecord.Kind.VIEW,
            subject=f"accounts_customer:{customer_id}",
            actor=actor.label,
            request=request_id.get(),
            after={"page": what},
        )
