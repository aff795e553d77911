"""The same borrowers under other lines and ways of selling, side by side; and the chart that compares them."""

import json
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from django.core.management import CommandError, call_command

from loans.demo import opening
from loans.sensitivity import LINES, variants
from loans.sensitivity_chart import BAR, Block, Row, draw, length, percent
from tests.conftest import CommittedDatabase

FALL = ["60000", "56000", "48000", "40000", "35000", "32000", "31000", "30500", "33000", "42000", "54000"]


@pytest.fixture
def crash(tmp_path: Path) -> Path:
    """Ten hours: down by half, and nearly back."""
    file = tmp_path / "crash.csv"
    rows = [
        f"2026-03-01T{hour:02}:00:00Z,{asset},{price},{price},{price},{price}\n"
        for hour, btc in enumerate(FALL)
        for asset, price in (("BTC", btc), ("ETH", Decimal(btc) / 20))
    ]
    file.write_text("time_utc,asset,open,high,low,close\n" + "".join(rows))
    return file


def compared(file: Path, **more: Any) -> tuple[dict[str, Any], str]:
    out, report = StringIO(), file.with_suffix(".json")
    call_command("sensitivity", str(file), borrowers=3, report=report, stdout=out, **more)
    return json.loads(report.read_text()), out.getvalue()


@pytest.mark.timeout(240)
def test_every_variant_has_the_same_loans_in_the_same_market(
    committed_db: CommittedDatabase, crash: Path
) -> None:
    """R-VIP-50, R-GEN-42, R-GEN-73, R-VIP-60: nine books, proved; nothing wrong, nothing missed"""
    told, out = compared(crash)
    rows = told["rows"]
    assert [(row["lines"], row["handling"]) for row in rows] == [(v.lines, v.handling) for v in variants()]
    assert len(rows) == 9
    assert {row["groups"] for row in rows} == {3}
    assert len({row["lent_usd"] for row in rows}) == 1
    assert {(row["wrong"], row["missed"]) for row in rows} == {(0, 0)}
    assert sum(row["calls"] for row in rows) >= 1
    assert sum(row["liquidations"] for row in rows) >= 1
    assert all(row["in_vain"] <= row["liquidations"] for row in rows)
    assert "72/77/91 full" in out


def test_the_lines_in_force_are_one_of_the_variants() -> None:
    """R-VIP-50, R-GEN-43: the default stays 72/77/91, and every set of lines rises"""
    assert LINES["72/77/91"] == opening.LINES
    assert [
        f"{x.initial:.0%}/{x.margin_call:.0%}/{x.liquidation:.0%}".replace("%", "") for x in LINES.values()
    ] == list(LINES)


@pytest.mark.parametrize("ratios", ["0", "1.01", "-1", "NaN", "half"])
def test_ratios_that_are_no_part_are_refused(crash: Path, ratios: str) -> None:
    with pytest.raises(CommandError, match="--ratios"):
        compared(crash, ratios=ratios)


# --- The chart --------------------------------------------------------------------------------------


def test_the_longest_bar_is_full_and_the_others_are_their_share_of_it() -> None:
    assert length(Decimal("0.02"), Decimal("0.02")) == BAR
    assert length(Decimal("0.005"), Decimal("0.02")) == Decimal(BAR) / 4
    assert length(Decimal(0), Decimal(0)) == 0


@pytest.mark.parametrize(
    ("share", "said"),
    [("0", "0 %"), ("0.00012", "0.012 %"), ("0.0123", "1.2 %"), ("0.126", "13 %"), ("1", "100 %")],
)
def test_a_share_is_told_with_the_figures_that_say_something(share: str, said: str) -> None:
    assert percent(Decimal(share)) == said


def test_the_chart_is_a_picture_that_says_all_its_figures() -> None:
    rows = (
        Row("72/77/91, full", Decimal("0.004"), Decimal("0.05"), is_default=True),
        Row("a & b", Decimal(0), Decimal(0)),
    )
    svg = draw([Block("ratios x 1", rows)], title="What was < lost")
    found = ElementTree.fromstring(svg)  # noqa: S314  our own text
    words = [text.text for text in found.iter("{http://www.w3.org/2000/svg}text")]
    assert words[0] == "What was < lost"
    assert {"72/77/91, full", "a & b", "ratios x 1", "0.400 %", "5.0 %"} <= set(words)
    widths = [rect.get("width") for rect in found.iter("{http://www.w3.org/2000/svg}rect")][1:]
    assert [Decimal(width or 0) for width in widths] == [BAR, BAR, 0, 0]
