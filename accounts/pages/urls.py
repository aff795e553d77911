"""Pages about the customer's own matters, and the health of the process."""

from django.urls import path

from accounts.pages import agreement, health, notices, preferences

app_name = "accounts"

urlpatterns = [
    path("notices/", notices.inbox, name="notices"),
    path("notices/<int:notice_id>/", notices.notice, name="notice"),
    path("notices/preferences/", preferences.preference, name="preferences"),
    path("notices/preferences/test/", preferences.send_test, name="test_notice"),
    path("agreement/", agreement.agreement, name="agreement"),
    path("livez", health.live, name="livez"),
    path("readyz", health.ready, name="readyz"),
]
