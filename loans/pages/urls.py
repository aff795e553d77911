"""Home, the loans and requests of a borrower, and (from `desk_urls`) the manager's desk."""

from django.urls import path

from loans.pages import apply, collateral, desk_urls, home, loan, requests

app_name = "loans"

urlpatterns = [
    path("", home.home, name="home"),
    path("apply/", apply.apply, name="apply"),
    path("loans/", loan.loans, name="list"),
    path("loans/<int:loan_id>/", loan.loan, name="loan"),
    path("loans/<int:loan_id>/repay/", loan.repay, name="repay"),
    path("loans/<int:loan_id>/renew/", loan.renew, name="renew"),
    path("debts/<int:debt_id>/", loan.of_debt, name="of_debt"),
    path("groups/<int:group_id>/accounts/", collateral.collateral, name="collateral"),
    path("requests/", requests.requests, name="requests"),
    path("requests/<int:application_id>/", requests.one_request, name="request"),
    *desk_urls.urlpatterns,
]
