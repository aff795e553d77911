from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "accounts"

    def ready(self) -> None:
        from accounts import chain, closing, exports, jobs, journal, ledger, membership  # noqa: F401  jobs listens
        from accounts import tongue as tongue  # from here on pages say words in their reader's language
        from accounts.models import ApiKey, Approval, LedgerAccount, Notice, NoticeContact

        ledger.checks.append(chain.problems)
        ledger.checks.append(closing.tampered)
        exports.makers[journal.JOURNAL] = journal.make_journal
        exports.makers[journal.TRIAL_BALANCE] = journal.make_trial_balance
        membership.owners["notice_id"] = membership.owner_in(Notice)
        membership.owners["contact_id"] = membership.owner_in(NoticeContact)
        membership.owners["approval_id"] = membership.owner_in(Approval)
        membership.owners["api_key_id"] = membership.owner_in(ApiKey, "account__customer_id")
        membership.owners["entry_id"] = ledger.customer_of
        membership.owners["ledger_code"] = membership.owner_in(
            LedgerAccount, "account__customer_id", key="code"
        )
