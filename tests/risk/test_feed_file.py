"""The file feed: bars are known when they close, and a bad recording names its line."""

import gzip
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk.feeds import file
from risk.feeds.file import BadPriceFile, Bar, read_bars, steps

START = datetime(2020, 3, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HEADER = "time_utc,asset,open,high,low,close"
REAL_PRICES = Path(__file__).parents[2].parent / "shared" / "data" / "prices"


def row(minutes: int, asset: str = "BTC", close: str = "100") -> str:
    return f"{START + minutes * MINUTE:%Y-%m-%dT%H:%M:%SZ},{asset},{close},{close},{close},{close}"


def bars_from(tmp_path: Path, *rows: str, header: str = HEADER) -> list[Bar]:
    path = tmp_path / "prices.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return read_bars(path)


def lengths(bars: list[Bar], asset: str = "BTC") -> list[int]:
    return [(bar.closes_at - bar.opened_at) // MINUTE for bar in bars if bar.asset == asset]


def test_a_bar_is_known_when_it_closes_and_lasts_until_the_next_row_of_its_asset(tmp_path: Path) -> None:
    bars = bars_from(tmp_path, row(0), row(0, "ETH"), row(1), row(2), row(5, "ETH"))
    assert lengths(bars) == [1, 1, 1]
    assert lengths(bars, "ETH") == [5, 5]
    assert [(at, [bar.asset for bar in closed]) for at, closed in steps(bars)] == [
        (START + 1 * MINUTE, ["BTC"]),
        (START + 2 * MINUTE, ["BTC"]),
        (START + 3 * MINUTE, ["BTC"]),
        (START + 5 * MINUTE, ["ETH"]),
        (START + 10 * MINUTE, ["ETH"]),
    ]


@pytest.mark.parametrize(
    ("opened", "expected"),
    [
        ([0, 1, 2, 7, 12], [1, 1, 5, 5, 5]),  # one-minute rows, then five-minute rows
        ([0, 5, 10, 11, 12], [5, 5, 1, 1, 1]),
        ([0, 60, 120], [60, 60, 60]),
        ([0, 1, 2, 500, 501], [1, 1, 1, 1, 1]),  # a hole is no bar of eight hours
        ([0, 500, 501], [60, 1, 1]),  # nothing to go by yet: known late rather than early
        ([0], [60]),
    ],
)
def test_bar_lengths_follow_the_local_spacing(tmp_path: Path, opened: list[int], expected: list[int]) -> None:
    assert lengths(bars_from(tmp_path, *(row(minutes) for minutes in opened))) == expected


def test_columns_may_stand_in_any_order_and_extra_ones_are_ignored(tmp_path: Path) -> None:
    (bar,) = bars_from(
        tmp_path,
        "x,90,95,80,85,BTC,2020-03-12T02:00:00+02:00",
        header="note,open,high,low,close,asset,time_utc",
    )
    assert bar == Bar("BTC", START, START + 60 * MINUTE, Decimal(85), Decimal(95), Decimal(80))


def test_gzip_and_plain_text_give_the_same_bars(tmp_path: Path) -> None:
    text = "\n".join([HEADER, row(0), row(1, close="4e-05")])
    packed = tmp_path / "prices.csv.gz"
    packed.write_bytes(gzip.compress(text.encode()))
    plain = tmp_path / "prices.csv"
    plain.write_text("\ufeff" + text.replace("\n", "\r\n"))
    assert read_bars(packed) == read_bars(plain)
    assert read_bars(packed)[1].close == Decimal("0.00004")


@pytest.mark.parametrize(
    ("bad", "complaint"),
    [
        ("2020-03-12T00:01:00Z,BTC,1,1,1,x", "line 3: close 'x' is not a number."),
        ("2020-03-12T00:01:00Z,BTC,1,1,1,0", "line 3: close '0' is not positive."),
        ("2020-03-12T00:01:00Z,BTC,-1,1,1,1", "line 3: open '-1' is not a number."),
        ("2020-03-12T00:01:00Z,BTC,1,NaN,1,1", "line 3: high 'NaN' is not a number."),
        ("2020-03-12T00:01:00Z,BTC,1,1,inf,1", "line 3: low 'inf' is not a number."),
        ("2020-03-12T00:01:00Z,BTC,1,1,1,1e99", "line 3: close '1e99' is not a price in USD between"),
        ("2020-03-12T00:01:00Z,BTC,1,1,1,１", "line 3: close '１' is not a number."),
        (
            "2020-03-12T00:01:00Z,BTC,1,2,1,3",
            "line 3: open and close of BTC are not between its low and its high.",
        ),
        (
            "2020-03-12T00:01:00Z,BTC,1,1,2,1",
            "line 3: open and close of BTC are not between its low and its high.",
        ),
        ("2020-03-12T00:01:00Z,btc,1,1,1,1", "line 3: asset 'btc' is not"),
        ("2020-03-12T00:01:00Z,BTC,1,1,1", "line 3: 5 cells instead of 6."),
        ("2020-03-12T00:01:00,BTC,1,1,1,1", "line 3: time '2020-03-12T00:01:00' has no time zone"),
        ("yesterday,BTC,1,1,1,1", "line 3: time 'yesterday' is not an ISO 8601 time."),
        ("0001-01-01T00:00:00+09:00,BTC,1,1,1,1", "line 3: time '0001-01-01T00:00:00+09:00' is not"),
        ("9999-12-31T23:59:00Z,BTC,1,1,1,1", "line 3: time '9999-12-31T23:59:00Z' is not"),
        ("2020-03-11T23:59:00Z,ETH,1,1,1,1", "line 3: 2020-03-11T23:59:00Z comes after a later time."),
        ("2020-03-12T00:00:00Z,BTC,1,1,1,1", "line 3: BTC has this time already on line 2."),
        (
            "2020-03-12T00:00:30Z,BTC,1,1,1,1",
            "line 3: BTC has a row only 0:00:30 before; a bar is 1 to 60 minutes.",
        ),
        ('2020-03-12T00:01:00Z,BTC,1,1,1,"1', "line 3: unexpected end of data."),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, bad: str, complaint: str) -> None:
    with pytest.raises(BadPriceFile) as refusal:
        bars_from(tmp_path, row(0), bad)
    assert str(refusal.value).startswith(complaint)


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("a.csv", b"", "The price file is empty."),
        ("a.csv", HEADER.encode(), "The price file has no rows."),
        ("a.csv", b"time_utc,asset,open,high,low\n", "line 1: column close must be there once"),
        ("a.csv", b"time_utc,asset,open,high,low,close,close\n", "line 1: column close must be there once"),
        ("a.csv", b"\xff\xfe\xfa\n", "a.csv is not text"),
        ("a.csv.gz", HEADER.encode(), "a.csv.gz is not a whole gzip file"),
        ("a.csv.gz", gzip.compress(HEADER.encode() * 99, mtime=0)[:-9], "a.csv.gz is not a whole gzip file"),
    ],
)
def test_a_file_that_is_no_recording_is_refused(
    tmp_path: Path, name: str, content: bytes, complaint: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(BadPriceFile) as refusal:
        read_bars(path)
    assert str(refusal.value).startswith(complaint)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadPriceFile, match="No such file"):
        read_bars(tmp_path / "none.csv")


def test_a_file_too_long_for_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file, "MAX_ROWS", 2)
    assert len(bars_from(tmp_path, row(0), row(1))) == 2
    with pytest.raises(BadPriceFile, match=r"^line 4: a price file may have at most 2 rows\.$"):
        bars_from(tmp_path, row(0), row(1), row(2))


def parsed(rows: Sequence[tuple[int, str]]) -> list[file.Row]:
    price = Decimal(100)
    return [
        file.Row(line, START + minutes * MINUTE, asset, price, price, price)
        for line, (minutes, asset) in enumerate(rows, start=2)
    ]


rows_of_file = st.sets(st.tuples(st.integers(0, 300), st.sampled_from(["BTC", "ETH", "DOGE"])), min_size=1)


@given(opened=st.sets(st.integers(0, 300), min_size=1), assets=st.permutations(["BTC", "ETH", "DOGE"]))
def test_rows_of_one_time_may_stand_in_any_order(opened: set[int], assets: list[str]) -> None:
    mixed = [(minutes, asset) for minutes in sorted(opened) for asset in assets]
    bars = file.bars_of(parsed(mixed))
    named = [(bar.closes_at, bar.asset) for bar in bars]
    assert named == sorted(named)
    assert bars == file.bars_of(parsed(sorted(mixed)))


@given(rows=rows_of_file, chance=st.randoms(use_true_random=False))
def test_rows_out_of_time_are_refused_wherever_they_stand(
    rows: set[tuple[int, str]], chance: random.Random
) -> None:
    mixed = sorted(rows)
    chance.shuffle(mixed)
    times = [minutes for minutes, _ in mixed]
    if times == sorted(times):
        assert len(file.bars_of(parsed(mixed))) == len(rows)
    else:
        with pytest.raises(BadPriceFile, match="comes after a later time"):
            file.bars_of(parsed(mixed))


@given(rows=rows_of_file)
def test_bars_neither_overlap_nor_are_known_early(rows: set[tuple[int, str]]) -> None:
    bars = file.bars_of(parsed(sorted(rows)))
    assert sorted((bar.opened_at, bar.asset) for bar in bars) == [
        (r.opened_at, r.asset) for r in parsed(sorted(rows))
    ]
    assert [bar.closes_at for bar in bars] == sorted(bar.closes_at for bar in bars)
    for asset in {bar.asset for bar in bars}:
        own = [bar for bar in bars if bar.asset == asset]
        assert all(MINUTE <= bar.closes_at - bar.opened_at <= 60 * MINUTE for bar in own)
        assert all(before.closes_at <= after.opened_at for before, after in pairwise(own))


@given(rows=rows_of_file, asked=st.integers(-10, 400))
def test_the_file_feed_knows_the_last_closed_bar_and_no_later_one(
    rows: set[tuple[int, str]], asked: int
) -> None:
    bars = file.bars_of(parsed(sorted(rows)))
    at = START + asked * MINUTE
    expected = {bar.asset: bar.closes_at for bar in bars if bar.closes_at <= at}
    assert {tick.asset: tick.observed_at for tick in file.feed(bars)(at)} == expected


@pytest.mark.parametrize(
    ("name", "rows", "instants", "known"),
    [
        ("2020-03-12_black_thursday", 8568, 2016, {"BTC": [5], "BNB": [30], "DOGE": [60]}),
        ("2021-05-19_may_crash", 66944, 10080, {"BTC": [1, 5], "ETH": [1]}),
        ("2022-05-09_luna", 41704, 11520, {"LUNA": [1], "SOL": [5], "BNB": [15]}),
        ("2023-03-11_usdc_depeg", 51840, 8640, {"USDC": [1]}),
        ("2024-08-05_yen_carry", 28896, 10080, {"BTC": [1], "LINK": [5], "BNB": [15]}),
    ],
)
def test_the_real_crashes_are_read_whole(
    name: str, rows: int, instants: int, known: dict[str, list[int]]
) -> None:
    path = REAL_PRICES / f"{name}.csv.gz"
    if not path.exists():
        pytest.skip(f"the recording {path.name} is not beside this project")
    bars = read_bars(path)
    assert (len(bars), sum(1 for _ in steps(bars))) == (rows, instants)
    for asset, minutes in known.items():
        assert sorted(set(lengths(bars, asset))) == minutes
