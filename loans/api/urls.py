"""/api/v1, the part about loans.

Addresses have no slash at the end, none is redirected, and what is not there says so as JSON. Lists take `?page=&size=`
and answer `{rows, total}` (accounts/api/lists.py); what a firm keeps for two answers 202 (accounts/api/second.py).
"""

from django.urls import URLPattern, path, re_path

from loans.api import applications, enquiries, loans, market, nothing, offers, paying, record_urls

APPLICATION = "applications/<int:application_id>"
OFFER = f"{APPLICATION}/offers/<int:version>"
LOAN = "loans/<int:loan_id>"

urlpatterns: list[URLPattern] = [
    path("applications", applications.Applications.as_view(), name="api_applications"),
    path("applications/check", applications.Check.as_view(), name="api_check"),
    path("applications/negotiate", applications.Negotiate.as_view(), name="api_negotiate"),
    path(APPLICATION, applications.OneApplication.as_view(), name="api_application"),
    path(f"{APPLICATION}/cancel", applications.Cancel.as_view(), name="api_cancel"),
    path(f"{APPLICATION}/offers", offers.Offers.as_view(), name="api_offers"),
    path(OFFER, offers.OneOffer.as_view(), name="api_offer"),
    path(f"{OFFER}/accept", offers.Accept.as_view(), name="api_accept"),
    path(f"{OFFER}/decline", offers.Decline.as_view(), name="api_decline"),
    path(f"{OFFER}/counter", offers.Counter.as_view(), name="api_counter"),
    path("loans", loans.Loans.as_view(), name="api_loans"),
    path(LOAN, loans.OneLoan.as_view(), name="api_loan"),
    path(f"{LOAN}/charges", loans.Charges.as_view(), name="api_charges"),
    path(f"{LOAN}/payments", loans.Payments.as_view(), name="api_payments"),
    path(f"{LOAN}/repay", paying.Repay.as_view(), name="api_repay"),
    path(f"{LOAN}/renew", paying.Renew.as_view(), name="api_renew"),
    path(f"{LOAN}/auto-repay", paying.AutoRepay.as_view(), name="api_auto_repay"),
    path(f"{LOAN}/sheet", paying.LoanSheet.as_view(), name="api_sheet"),
    path(f"{LOAN}/sheet.pdf", paying.LoanSheetPaper.as_view(), name="api_sheet_pdf"),
    path("rates", market.Rates.as_view(), name="api_rates"),
    path("limits", market.Limits.as_view(), name="api_limits"),
    path("enquiries", enquiries.Enquiries.as_view(), name="api_enquiries"),
    path("enquiries/<int:enquiry_id>/withdraw", enquiries.WithdrawEnquiry.as_view(), name="api_withdraw"),
    *record_urls.patterns,
    # The last address of all under /api/v1: of the apps, loans comes last.
    re_path(r"^[\s\S]*$", nothing.Nothing.as_view(), name="api_nothing"),
]
