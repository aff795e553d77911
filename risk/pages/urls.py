"""Pages about what is held, what it is worth and whether it is safe."""

from django.urls import path, re_path

from risk.pages import context, explain, groups, market, movements, soft, wallets, warnings, whatif

app_name = "risk"

urlpatterns = [
    path("live/", context.live, name="live"),
    path("prices/", market.market, name="market"),
    path("groups/", groups.groups, name="groups"),
    path("groups/<int:group_id>/", groups.group, name="group"),
    path("groups/<int:group_id>/explain/", explain.explain, name="explain"),
    path(
        "groups/<int:group_id>/explain/accounts/<int:uid>/<slug:symbol>/",
        explain.wallet,
        name="explain_wallet",
    ),
    path("groups/<int:group_id>/explain/debts/<int:debt_id>/", explain.debt, name="explain_debt"),
    path("groups/<int:group_id>/warnings/", warnings.warnings, name="warnings"),
    path("groups/<int:group_id>/warnings/remove/", warnings.remove, name="warnings_remove"),
    path("groups/<int:group_id>/soft/", soft.soft, name="soft"),
    path("groups/<int:group_id>/soft/end/", soft.end, name="soft_end"),
    path("groups/<int:group_id>/what-if/", whatif.what_if, name="what_if"),
    path("wallets/", wallets.wallets, name="wallets"),
    path("wallets/movements/", wallets.movements, name="movements"),
    re_path(r"^wallets/(?P<kind>deposit|withdraw|transfer|trade)/$", movements.move, name="move"),
]
