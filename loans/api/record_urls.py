"""/api/v1: collateral accounts, cure rules, statements, confirmations and histories; part of loans/api/urls.py."""

from django.urls import URLPattern, path

from loans.api import histories, statements
from loans.api.collateral import Member, Members, MembersCheck
from loans.api.rules import Rehearse, Rule, Rules, Runs

patterns: list[URLPattern] = [
    path("groups/<int:group_id>/accounts", Members.as_view(), name="api_members"),
    path("groups/<int:group_id>/accounts/check", MembersCheck.as_view(), name="api_members_check"),
    path("groups/<int:group_id>/accounts/<int:uid>", Member.as_view(), name="api_member"),
    path("groups/<int:group_id>/cure-rules", Rules.as_view(), name="api_cure_rules"),
    path("groups/<int:group_id>/cure-rules/rehearse", Rehearse.as_view(), name="api_cure_rules_rehearse"),
    path("groups/<int:group_id>/cure-rules/runs", Runs.as_view(), name="api_cure_runs"),
    path("groups/<int:group_id>/cure-rules/<int:rule_id>", Rule.as_view(), name="api_cure_rule"),
    path("statements", statements.Statements.as_view(), name="api_statements"),
    path("statements/<int:statement_id>", statements.StatementEdge.as_view(), name="api_statement"),
    path("statements/<int:statement_id>.pdf", statements.StatementPdf.as_view(), name="api_statement_pdf"),
    path("statements/<int:statement_id>.csv", statements.StatementCsv.as_view(), name="api_statement_csv"),
    path(
        "statements/<int:statement_id>/verify",
        statements.StatementProof.as_view(),
        name="api_statement_proof",
    ),
    path("confirmations", statements.Confirmations.as_view(), name="api_confirmations"),
    path("confirmations/<int:row_id>", statements.Confirmation.as_view(), name="api_confirmation"),
    path(
        "confirmations/<int:row_id>/answer",
        statements.ConfirmationAnswer.as_view(),
        name="api_confirmation_answer",
    ),
    path("histories/repayments", histories.Repayments.as_view(), name="api_history_repayments"),
    path("histories/interest", histories.Interest.as_view(), name="api_history_interest"),
    path("histories/flows", histories.Flows.as_view(), name="api_history_flows"),
    path("histories/liquidations", histories.Liquidations.as_view(), name="api_history_liquidations"),
    path("histories/adjustments", histories.Adjustments.as_view(), name="api_history_adjustments"),
    path("histories/orders", histories.Orders.as_view(), name="api_history_orders"),
]
