"""Pages about the customer's own matters, and the health of the process."""

from django.urls import path

from accounts.pages import (
    access_review,
    agreement,
    colours,
    contacts,
    exports,
    firm,
    firm_inbox,
    health,
    keys,
    mail,
    notices,
    preferences,
    security,
)

app_name = "accounts"

urlpatterns = [
    path("notices/", notices.inbox, name="notices"),
    path("notices/<int:notice_id>/", notices.notice, name="notice"),
    path("notices/preferences/", preferences.preference, name="preferences"),
    path("notices/preferences/test/", preferences.send_test, name="test_notice"),
    path("notices/<int:notice_id>/acknowledge/", notices.acknowledge, name="acknowledge"),
    path("notices/contacts/add/", contacts.add, name="contact_add"),
    path("notices/contacts/<int:contact_id>/test/", contacts.test, name="contact_test"),
    path("notices/contacts/<int:contact_id>/remove/", contacts.remove, name="contact_remove"),
    path("access-review/", access_review.review, name="access_review"),
    path("exports/", exports.index, name="exports"),
    path("exports/<int:export_id>/", exports.export, name="export"),
    path("exports/<int:export_id>/file/", exports.download, name="export_file"),
    path("firm/", firm.firm, name="firm"),
    path("firm/two-people/", firm.policy, name="firm_policy"),
    path("firm/roles/", firm.role, name="firm_role"),
    path("firm/waiting/", firm_inbox.index, name="firm_waiting"),
    path("firm/waiting/<int:approval_id>/", firm_inbox.proposal, name="firm_proposal"),
    path("firm/waiting/<int:approval_id>/release/", firm_inbox.release, name="firm_release"),
    path("firm/waiting/<int:approval_id>/refuse/", firm_inbox.reject, name="firm_refuse"),
    path("firm/waiting/<int:approval_id>/withdraw/", firm_inbox.withdraw, name="firm_withdraw"),
    path("mail/", mail.letters, name="mail"),
    path("mail/<str:name>/", mail.letter, name="letter"),
    path("keys/", keys.index, name="keys"),
    path("keys/<int:api_key_id>/revoke/", keys.revoke, name="key_revoke"),
    path("security/", security.security, name="security"),
    path("colours/", colours.choose, name="colours"),
    path("agreement/", agreement.agreement, name="agreement"),
    path("livez", health.live, name="livez"),
    path("readyz", health.ready, name="readyz"),
]
