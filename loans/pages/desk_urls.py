"""The addresses of the desk, the liquidation stories, the journal and the demo's market; part of `loans`."""

from django.urls import path

from loans.pages import desk, desk_liquidations, desk_requests, market

urlpatterns = [
    path("desk/", desk.queue, name="desk"),
    path("desk/requests/<int:request_id>/", desk_requests.detail, name="desk_request"),
    path("desk/requests/<int:request_id>/approve/", desk_requests.approve, name="desk_approve"),
    path("desk/requests/<int:request_id>/reject/", desk_requests.reject, name="desk_reject"),
    path("desk/clients/", desk.clients, name="clients"),
    path("desk/clients/<int:client_id>/", desk.client, name="desk_client"),
    path("desk/calls/", desk.calls, name="desk_calls"),
    path("liquidations/", desk_liquidations.index, name="liquidations"),
    path("liquidations/<int:liquidation_id>/", desk_liquidations.story, name="liquidation"),
    path("ledger/entries/<int:entry_id>/", desk_liquidations.entry, name="ledger_entry"),
    path("market/", market.market, name="market"),
]
