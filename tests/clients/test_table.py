"""The table in docs/api.md is of the endpoints there are, and every one of them was served to some client."""

from tests.clients import shapes, table


def test_the_table_names_exactly_the_endpoints():
    written = table.rows_of(table.PAGE.read_text())
    assert sorted(written) == sorted(table.registered()), "make clients"


def test_every_endpoint_was_served_to_a_client():
    unserved = [
        name for name, cells in table.rows_of(table.PAGE.read_text()).items() if set(cells) == {table.NO}
    ]
    assert unserved == [], "drive them in tests/clients, then make clients"


def test_every_endpoint_has_its_shape_written_down():
    assert sorted(shapes.SHAPES) == sorted(table.registered())


def test_a_table_replaces_the_one_before_and_nothing_else():
    reports = {
        name: {"versions": {name: "1.0"}, "served": {"GET /a": 2}, "by_hand": []}
        for name in ("official", "ccxt")
    }
    text = f"before\n{table.START}\n| `GET /old` | yes |\n{table.END}\nafter\n"
    once = table.with_table(text, table.table(["GET /a", "GET /b"], reports))
    assert table.rows_of(once) == {"GET /a": ["yes", "yes"], "GET /b": ["·", "·"]}
    assert once.startswith("before\n")
    assert once.endswith("\nafter\n")
    assert table.with_table(once, table.table(["GET /a", "GET /b"], reports)) == once
