"""Home, the loans and requests of a borrower, and (from `desk_urls`) the manager's desk."""

from django.urls import path

from loans.pages import (
    apply,
    collateral,
    confirmations,
    cure_rules,
    desk_urls,
    enquiry,
    fixed_market,
    history_urls,
    home,
    loan,
    offers,
    rates,
    requests,
)

app_name = "loans"

urlpatterns = [
    path("", home.home, name="home"),
    path("apply/", apply.apply, name="apply"),
    path("loans/", loan.loans, name="list"),
    path("loans/<int:loan_id>/", loan.loan, name="loan"),
    path("loans/<int:loan_id>/repay/", loan.repay, name="repay"),
    path("loans/<int:loan_id>/renew/", loan.renew, name="renew"),
    path("loans/<int:loan_id>/auto-repay/", loan.switch_auto_repay, name="auto_repay"),
    path("debts/<int:debt_id>/", loan.of_debt, name="of_debt"),
    path("debts/<int:debt_id>/repay/", loan.repay_debt, name="repay_debt"),
    path("groups/<int:group_id>/accounts/", collateral.collateral, name="collateral"),
    path("groups/<int:group_id>/rules/", cure_rules.rules, name="cure_rules"),
    path("groups/<int:group_id>/rules/remove/", cure_rules.remove, name="cure_rules_remove"),
    path("requests/", requests.requests, name="requests"),
    path("requests/<int:application_id>/", requests.one_request, name="request"),
    path("requests/<int:application_id>/accept/", offers.accept, name="accept_offer"),
    path("requests/<int:application_id>/decline/", offers.decline, name="decline_offer"),
    path("requests/<int:application_id>/counter/", offers.counter, name="counter"),
    path("sheets/<int:sheet_id>/", offers.sheet, name="sheet"),
    path("confirmations/", confirmations.index, name="confirmations"),
    path("confirmations/<int:row_id>/", confirmations.detail, name="confirmation"),
    path("confirmations/<int:row_id>/paper/", confirmations.paper, name="confirmation_paper"),
    path("confirmations/<int:row_id>/data/", confirmations.data, name="confirmation_data"),
    path("enquiry/", enquiry.enquiry, name="enquiry"),
    path("enquiry/<int:enquiry_id>/withdraw/", enquiry.withdraw, name="enquiry_withdraw"),
    path("fixed-market/", fixed_market.offers, name="fixed_market"),
    path("fixed-market/<str:symbol>/<int:days>/", fixed_market.take, name="fixed_take"),
    path("rates/", rates.board, name="rates"),
    path("rates/<str:symbol>/", rates.coin, name="rate"),
    path("rates/<str:symbol>/data.json", rates.data_json, name="rate_json"),
    path("rates/<str:symbol>/data.csv", rates.data_csv, name="rate_csv"),
    *history_urls.urlpatterns,
    *desk_urls.urlpatterns,
]
