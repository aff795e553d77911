"""The change feed tells the new totals too: a book in memory then reads the feed alone, not every row that moved.

Doubles, as the books in memory have them; nothing is decided on them (ARCHITECTURE 5). A row's number is drawn while
its statement holds the rows that it tells of, so of one wallet or debt the higher number has the newer total.
"""

from importlib import import_module

import django.contrib.postgres.fields
from django.db import migrations, models

APPLY_BEFORE = import_module("risk.migrations.0009_accrual").APPLY.split("DROP TRIGGER debt_entry_noted")[0]
TOTALS = (
    "(d.principal + d.interest + d.late_fee)::float8 AS new_total,"
    " date_part('epoch', d.accrued_through) AS new_end"
)
REPLACED = {
    "moved bigint[] := '{}';": "moved bigint[] := '{}'; totals float8[]; ends float8[];",
    "RETURNING d.id, d.asset_id,": f"RETURNING d.id, {TOTALS}, d.asset_id,",
    "SELECT (SELECT array_agg(id) FROM changed), (SELECT bool_or(is_off) FROM judged) INTO moved, is_suspect;": """
        SELECT array_agg(id), array_agg(new_total), array_agg(new_end), (SELECT bool_or(is_off) FROM judged)
            INTO moved, totals, ends, is_suspect FROM changed;""",
    "RETURNING d.id)": f"RETURNING d.id, {TOTALS})",
    "SELECT array_agg(id) INTO moved FROM changed;": """
            SELECT array_agg(id), array_agg(new_total), array_agg(new_end) INTO moved, totals, ends FROM changed;""",
    "INSERT INTO risk_moved (kind, ids) VALUES ('debt', moved);": (
        "INSERT INTO risk_moved (kind, ids, totals, ends) VALUES ('debt', moved, totals, ends);"
    ),
}


def _apply() -> str:
    text: str = APPLY_BEFORE
    for before, after in REPLACED.items():
        assert text.count(before) == 1, before
        text = text.replace(before, after)
    return text


WALLETS = """
CREATE OR REPLACE FUNCTION risk_note_wallets() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO risk_moved (kind, ids, totals)
        SELECT 'wallet', array_agg(id), array_agg((credits - debits)::float8) FROM touched
        WHERE account_id IS NOT NULL HAVING count(*) > 0;
    RETURN NULL;
END $$;
ALTER TABLE risk_moved ALTER COLUMN totals SET STORAGE EXTERNAL, ALTER COLUMN ends SET STORAGE EXTERNAL;
"""
WALLETS_BACK = """
CREATE OR REPLACE FUNCTION risk_note_wallets() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO risk_moved (kind, ids)
        SELECT 'wallet', array_agg(id) FROM touched WHERE account_id IS NOT NULL HAVING count(*) > 0;
    RETURN NULL;
END $$;
"""
NUMBERS = django.contrib.postgres.fields.ArrayField(models.FloatField(), null=True)


class Migration(migrations.Migration):
    dependencies = [("risk", "0011_late_debts")]

    operations = [
        migrations.AddField("moved", "totals", NUMBERS),
        migrations.AddField("moved", "ends", NUMBERS),
        migrations.RunSQL(_apply(), APPLY_BEFORE),
        migrations.RunSQL(WALLETS, WALLETS_BACK),
    ]
