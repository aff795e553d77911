from django.apps import AppConfig


class LoansConfig(AppConfig):
    name = "loans"

    def ready(self) -> None:
        from accounts import ledger
        from loans.vip import sheets

        ledger.checks.append(sheets.tampered)
