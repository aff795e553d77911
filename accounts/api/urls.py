"""/api/v1: the schema and its page; what is the customer's own."""

from django.urls import URLPattern, path

from accounts.api import dialect, docs, me, notices, proposals

urlpatterns: list[URLPattern] = [
    path("me", me.Me.as_view(), name="api_me"),
    path("agreement", me.AgreementInForce.as_view(), name="api_agreement"),
    path("agreement/accept", me.AcceptAgreement.as_view(), name="api_accept_agreement"),
    path("proposals", proposals.Proposals.as_view(), name="api_proposals"),
    path("proposals/<int:approval_id>", proposals.OneProposal.as_view(), name="api_proposal"),
    path("notices", notices.Notices.as_view(), name="api_notices"),
    path("notices/<int:notice_id>", notices.NoticeEdge.as_view(), name="api_notice"),
    path("notices/<int:notice_id>/read", notices.NoticeRead.as_view(), name="api_notice_read"),
    path(
        "notices/<int:notice_id>/acknowledge",
        notices.NoticeAcknowledge.as_view(),
        name="api_notice_acknowledge",
    ),
    path("contacts", notices.Contacts.as_view(), name="api_contacts"),
    path("preferences", notices.Preferences.as_view(), name="api_preferences"),
    path("schema", docs.Schema.as_view(), name="api_schema"),
    path("schema.json", docs.JsonSchema.as_view(), name="api_schema_json"),
    path("dialect.json", dialect.described, name="api_dialect"),
    path("docs", docs.page, name="api_docs"),
]
