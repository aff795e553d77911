"""The master's sub-accounts: which there are, whether they are frozen, and what is in all of them together."""

from decimal import Decimal

from accounts import ledger
from accounts.models import Account
from accounts.sapi import family
from accounts.sapi.params import email, flag, whole
from accounts.sapi.registry import Call, endpoint
from accounts.sapi.wire import Json, dec, ms
from risk import freezes
from risk.models import Freeze
from risk.sapi.balances import Valuer


@endpoint(
    "GET /sapi/v1/sub-account/list",
    email("email"),
    flag("isFreeze"),
    whole("page", low=1, high=1000, default=1),
    whole("limit", low=1, high=200, default=200),
    example={
        "subAccounts": [
            {
                "subUserId": 12345678,
                "email": "trading@example.com",
                "remark": "Trading",
                "isFreeze": False,
                "createTime": 1767225600000,
                "isManagedSubAccount": False,
                "isAssetManagementSubAccount": False,
            }
        ]
    },
)
def list_of_subs(call: Call) -> Json:
    """`subUserId` is what the loan calls take as an account."""
    family.master_only(call)
    found = call.customer.accounts.exclude(kind=Account.Kind.MASTER).order_by("pk")
    if call["email"] is not None:
        found = found.filter(email=call["email"])
    frozen = _frozen(call)
    if call["isFreeze"] is not None:
        found = found.filter(pk__in=frozen) if call["isFreeze"] else found.exclude(pk__in=frozen)
    first = (call["page"] - 1) * call["limit"]
    return {
        "subAccounts": [
            {
                "subUserId": account.pk,
                "email": account.email,
                "remark": account.label,
                "isFreeze": account.pk in frozen,
                "createTime": ms(account.opened_at),
                "isManagedSubAccount": account.kind == Account.Kind.SUB_MANAGED,
                "isAssetManagementSubAccount": False,
            }
            for account in found[first : first + call["limit"]]
        ]
    }


@endpoint(
    "GET /sapi/v1/sub-account/spotSummary",
    email("email"),
    whole("page", low=1, high=1000, default=1),
    whole("size", low=1, high=20, default=10),
    example={
        "totalCount": 1,
        "masterAccountTotalAsset": "0.5",
        "spotSubUserAssetBtcVoList": [{"email": "trading@example.com", "totalAsset": "0.5"}],
    },
)
def spot_summary(call: Call) -> Json:
    """What Spot of each is worth in BTC at the last good prices."""
    family.master_only(call)
    found = call.customer.accounts.exclude(kind=Account.Kind.MASTER).order_by("pk")
    if call["email"] is not None:
        found = found.filter(email=call["email"])
    first = (call["page"] - 1) * call["size"]
    page = list(found[first : first + call["size"]])
    held: dict[int, dict[str, Decimal]] = {uid: {} for uid in (call.account.pk, *(row.pk for row in page))}
    for (uid, _, coin), amount in ledger.balances(account_ids=held).items():
        held[uid][coin] = amount
    valuer = Valuer(call.at, coins={coin for coins in held.values() for coin in coins})
    return {
        "totalCount": found.count(),
        "masterAccountTotalAsset": dec(valuer.total(held[call.account.pk])),
        "spotSubUserAssetBtcVoList": [
            {"email": row.email, "totalAsset": dec(valuer.total(held[row.pk]))} for row in page
        ],
    }


def _frozen(call: Call) -> set[int]:
    """The customer's accounts that a freeze stops entirely, be it one of everything. R-ADM-04"""
    uids = list(call.customer.accounts.values_list("pk", flat=True))
    found = [row for row in freezes.in_force(at=call.at, uids=uids) if row.what == Freeze.What.FULL]
    if any(row.account_id is None for row in found):
        return set(uids)
    return {row.account_id for row in found if row.account_id is not None}
