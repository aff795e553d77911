from django.apps import AppConfig


class RiskConfig(AppConfig):
    name = "risk"

    def ready(self) -> None:
        from accounts import closing, exports, ledger, membership, notices
        from risk import accrual, entries, funding, over, proof
        from risk.models import CollateralGroup, Debt, Liquidation, MarginCall

        ledger.checks += proof.checks
        closing.obstacles.append(accrual.still_to_charge)
        closing.obstacles.append(funding.still_to_charge)
        exports.makers[entries.DEBT_ENTRIES] = entries.make
        membership.owners["group_id"] = membership.owner_in(CollateralGroup)
        membership.owners["debt_id"] = membership.owner_in(Debt, "group__customer_id")
        membership.owners["call_id"] = membership.owner_in(MarginCall, "group__customer_id")
        membership.owners["liquidation_id"] = membership.owner_in(Liquidation, "group__customer_id")
        notices.over.update(over.judges)
