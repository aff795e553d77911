"""What only one client has: ccxt's own vocabulary, and the weights that two of them read from the headers."""

from datetime import timedelta
from decimal import Decimal

from tests.clients.stage import Client
from tests.clients.world import World


def tell(client: Client, world: World) -> None:
    if client.name == "ccxt":
        ccxt(client, world)
    if client.knows("used weight"):
        world.go_to(world.site.now() + timedelta(minutes=1), client)
        assert client.ask("used weight")["GET /api/v3/account"] == 20


def ccxt(client: Client, world: World) -> None:
    assert client.ask("fetch_status")["status"] == "ok"
    assert abs(client.ask("fetch_time") - world.site.now().timestamp() * 1000) < 2000
    client.ask("load_markets")
    assert set(client.ask("fetch_currencies")) >= {"BTC", "USDT"}
    assert Decimal(str(client.ask("fetch_balance")["USDT"])) == world.balance(world.master)
    before = world.balance(world.master)
    client.ask("transfer", code="USDT", amount=7.5, fromAccount="spot", toAccount="funding")
    assert world.balance(world.master) == before - Decimal("7.5")
    client.ask("withdraw", code="USDT", amount=8.5, address="0x00000000000000000000000000000000000000aa")
    assert world.balance(world.master) == before - Decimal("16")
    assert sorted(client.ask("fetch_withdrawals", code="USDT")) == [8.5, 100.5]
