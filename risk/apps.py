from django.apps import AppConfig


class RiskConfig(AppConfig):
    name = "risk"

    def ready(self) -> None:
        from accounts import ledger
        from risk import proof

        ledger.checks += proof.checks
