"""The addresses of histories and statements, a borrower's own and a client's; part of `loans`."""

from django.urls import path

from loans.pages import entry, history, statements

urlpatterns = [
    path("history/", history.index, name="history"),
    path("history/entries/<int:entry_id>/", entry.entry, name="entry"),
    path("history/<slug:slug>/", history.history, name="history_list"),
    path("history/<slug:slug>/rows.csv", history.rows_csv, name="history_csv"),
    path("statements/", statements.index, name="statements"),
    path("statements/ask/", statements.ask, name="statement_ask"),
    path("statements/<int:statement_id>/pdf/", statements.pdf, name="statement_pdf"),
    path("statements/<int:statement_id>/rows.csv", statements.rows_csv, name="statement_csv"),
    path("statements/<int:statement_id>/verify/", statements.verify, name="statement_verify"),
    path("desk/clients/<int:client_id>/history/", history.index, name="client_history"),
    path("desk/clients/<int:client_id>/history/<slug:slug>/", history.history, name="client_history_list"),
    path(
        "desk/clients/<int:client_id>/history/<slug:slug>/rows.csv",
        history.rows_csv,
        name="client_history_csv",
    ),
    path("desk/clients/<int:client_id>/statements/", statements.index, name="client_statements"),
    path("desk/clients/<int:client_id>/statements/ask/", statements.ask, name="client_statement_ask"),
]
