from django.apps import AppConfig


class LoansConfig(AppConfig):
    name = "loans"

    def ready(self) -> None:
        from accounts import exports, ledger, membership, notices
        from loans import confirmations, statements
        from loans.models import (
            Application,
            BalanceConfirmation,
            ClientDocument,
            Enquiry,
            Loan,
            SignedSheet,
            Statement,
        )
        from loans.vip import over, sheets

        ledger.checks.append(sheets.tampered)
        ledger.checks.append(confirmations.tampered)
        membership.owners["application_id"] = membership.owner_in(Application)
        membership.owners["loan_id"] = membership.owner_in(Loan)
        membership.owners["confirmation_id"] = membership.owner_in(BalanceConfirmation)
        membership.owners["enquiry_id"] = membership.owner_in(Enquiry)
        notices.over.update(over.judges)
        ledger.checks.append(statements.tampered)
        membership.owners["statement_id"] = membership.owner_in(Statement)
        membership.owners["document_id"] = membership.owner_in(ClientDocument)
        membership.owners["sheet_id"] = membership.owner_in(SignedSheet)
        exports.makers[statements.PDF] = statements.as_pdf
        exports.makers[statements.CSV] = statements.as_csv
