"""What a program that borrows also does: looks at its account, and moves coins between its firm's accounts."""

from decimal import Decimal

from accounts.models import Account
from accounts.sapi.wire import ms
from tests.clients.stage import Client, Told
from tests.clients.world import World

SAPI = "/sapi/v1"
MOVE = f"POST {SAPI}/sub-account/universalTransfer"
MOVES = f"GET {SAPI}/sub-account/universalTransfer"
OWN_WALLETS = f"POST {SAPI}/asset/transfer"


def general(client: Client, world: World) -> None:
    """The time, the state of the site, the account, its wallets and the coins there are."""
    assert client.ask("GET /api/v3/ping") == {}
    told = client.ask("GET /api/v3/time")["serverTime"]
    assert abs(told - ms(world.site.now())) < 2000
    assert client.ask("GET /api/v3/exchangeInfo")["timezone"] == "UTC"
    assert client.ask(f"GET {SAPI}/system/status") == {"status": 0, "msg": "normal"}
    found = client.ask("GET /api/v3/account")
    assert (found["uid"], free(found["balances"], "USDT")) == (world.master.pk, 50000)
    assert client.ask(f"GET {SAPI}/account/info")["vipLevel"] == 1
    allowed = client.ask(f"GET {SAPI}/account/apiRestrictions")
    assert (allowed["ipRestrict"], allowed["enableWithdrawals"]) == (True, True)
    assert client.ask(f"GET {SAPI}/account/apiRestrictions", "reader")["enableWithdrawals"] is False
    assert free(client.ask("POST /sapi/v3/asset/getUserAsset"), "USDT") == 50000
    assert client.ask(f"POST {SAPI}/asset/get-funding-asset") == []
    assert {row["walletName"] for row in client.ask(f"GET {SAPI}/asset/wallet/balance")} >= {
        "Spot",
        "Funding",
    }
    coins = {row["coin"]: row for row in client.ask(f"GET {SAPI}/capital/config/getall")}
    assert Decimal(coins["USDT"]["free"]) == 50000
    margin(client)


def margin(client: Client) -> None:
    """What margin's clients ask of anybody: the coins, their pairs and prices, and what they count for."""
    assert {row["assetName"] for row in client.ask(f"GET {SAPI}/margin/allAssets")} >= {"BTC", "ETH", "USDT"}
    pairs = {row["symbol"] for row in client.ask(f"GET {SAPI}/margin/allPairs")}
    assert pairs >= {"BTCUSDT", "ETHUSDT"}
    client.ask(f"GET {SAPI}/margin/isolated/allPairs")
    priced = client.ask(f"GET {SAPI}/margin/priceIndex", symbol="BTCUSDT")
    assert (priced["symbol"], Decimal(priced["price"])) == ("BTCUSDT", 60000)
    client.ask(f"GET {SAPI}/margin/crossMarginCollateralRatio")


def transfers(client: Client, world: World) -> None:
    """Between a firm's own accounts and wallets, each once; what is not theirs or not there does not move."""
    spare = world.spare.email
    before, had = world.balance(world.master), world.balance(world.spare)
    move = {"fromEmail": spare, "fromAccountType": "SPOT", "toAccountType": "SPOT", "asset": "USDT"}
    said = client.ask(MOVE, **move, amount=1000.25, clientTranId="move-1")
    assert world.balance(world.master) == before + Decimal("1000.25")
    assert world.balance(world.spare) == had - Decimal("1000.25")
    client.refused(MOVE, -5002, **move, amount=1000000.0)
    client.refused(MOVE, -5021, **move | {"fromEmail": "nobody@example.com"}, amount=1.0)
    client.refused(MOVE, -5021, **move | {"fromEmail": world.foreign.group.receiver.email}, amount=1.0)
    assert world.balance(world.spare) == had - Decimal("1000.25")
    (row,) = client.ask(MOVES, fromEmail=spare)["result"]
    assert (row["tranId"], row["fromEmail"]) == (said["tranId"], spare)
    assert (Decimal(row["amount"]), row["clientTranId"]) == (Decimal("1000.25"), "move-1")
    own_wallets(client, world)


def own_wallets(client: Client, world: World) -> None:
    before = world.balance(world.master)
    said = client.ask(OWN_WALLETS, type="MAIN_FUNDING", asset="USDT", amount=12.5)
    assert world.balance(world.master) == before - Decimal("12.5")
    assert free(client.ask(f"POST {SAPI}/asset/get-funding-asset"), "USDT") == Decimal("12.5")
    client.ask(OWN_WALLETS, type="FUNDING_MAIN", asset="USDT", amount=12.5)
    assert world.balance(world.master) == before
    (row,) = client.ask(f"GET {SAPI}/asset/transfer", type="MAIN_FUNDING")["rows"]
    assert (row["tranId"], Decimal(row["amount"])) == (said["tranId"], Decimal("12.5"))
    if (
        client.name != "typed"
    ):  # it signs with HMAC only; a signature in Base64 has letters that must survive a form
        for number in range(4):
            client.ask(OWN_WALLETS, "rsa", type="MAIN_FUNDING", asset="USDT", amount=1.5 + number)
            client.ask(OWN_WALLETS, "ed25519", type="FUNDING_MAIN", asset="USDT", amount=1.5 + number)
        assert world.balance(world.master) == before


def withdrawal(client: Client, world: World) -> None:
    """R-VIP-52: coins leave, once, and the history says so; more than there are do not."""
    before = world.balance(world.master)
    out = {"coin": "USDT", "address": "0x00000000000000000000000000000000000000aa"}
    said = client.ask(f"POST {SAPI}/capital/withdraw/apply", **out, amount=100.5, withdrawOrderId="out-1")
    assert world.balance(world.master) == before - Decimal("100.5")
    (row,) = client.ask(f"GET {SAPI}/capital/withdraw/history", coin="USDT")
    assert (row["id"], row["withdrawOrderId"], row["address"]) == (said["id"], "out-1", out["address"])
    assert Decimal(row["amount"]) == Decimal("100.5")
    client.refused(f"POST {SAPI}/capital/withdraw/apply", -2015, "reader", **out, amount=1.0)
    client.refused(f"POST {SAPI}/capital/withdraw/apply", -4026, **out, amount=9000000.0)
    assert world.balance(world.master) == before - Decimal("100.5")


def sub_accounts(client: Client, world: World) -> None:
    """The list, a new one, and a sub-account's own key, which reaches no further than itself."""
    listed = client.ask(f"GET {SAPI}/sub-account/list")["subAccounts"]
    ours = {world.spare.email: world.spare.pk, world.desk.sub.email: world.desk.sub.pk}
    assert {row["email"]: row["subUserId"] for row in listed} == ours
    email = client.ask(f"POST {SAPI}/sub-account/virtualSubAccount", subAccountString="desk")["email"]
    assert Account.objects.get(email=email).customer_id == world.desk.owner.pk
    for version in ("v3", "v4"):
        if client.knows(f"GET /sapi/{version}/sub-account/assets"):
            held = client.ask(f"GET /sapi/{version}/sub-account/assets", email=world.spare.email)
            assert free(held["balances"], "USDT") == world.balance(world.spare)
    if client.knows(f"GET {SAPI}/sub-account/spotSummary"):
        summary = client.ask(f"GET {SAPI}/sub-account/spotSummary")
        assert {row["email"] for row in summary["spotSubUserAssetBtcVoList"]} >= set(ours)
    before, had = world.balance(world.master), world.balance(world.desk.sub)
    client.ask(f"POST {SAPI}/sub-account/transfer/subToMaster", "sub", asset="USDT", amount=5.5)
    assert world.balance(world.master) == before + Decimal("5.5")
    to_sub = {"toEmail": world.desk.sub.email, "asset": "USDT", "amount": 6.5}
    client.ask(f"POST {SAPI}/sub-account/transfer/subToSub", "sub", **to_sub)
    assert world.balance(world.desk.sub) == had + Decimal("6.5")
    out = client.ask(f"GET {SAPI}/sub-account/transfer/subUserHistory", "sub", asset="USDT", type=2)
    assert {Decimal(row["qty"]) for row in out} >= {Decimal("5.5"), Decimal("6.5")}
    client.ask(f"GET {SAPI}/sub-account/sub/transfer/history")
    assert client.ask("GET /sapi/v1/loan/vip/ongoing/orders", "sub")["total"] == 0
    client.refused("POST /sapi/v1/loan/vip/repay", -2015, "sub", orderId=world.foreign.pk, amount=1.0)


def free(found: list[Told], symbol: str) -> Decimal:
    return next((Decimal(str(row["free"])) for row in found if row["asset"] == symbol), Decimal(0))
