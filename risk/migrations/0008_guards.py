"""The change feed: every change of a wallet, a debt or a group leaves a row that says which, and in which transaction.

One row for each statement, whatever it touched, so a chunk of accruals costs one. A reader asks for all rows from the
oldest transaction that was still running when it last looked: that one may have committed since.
"""

from django.conf import settings
from django.db import migrations

ROLE = settings.DATABASE_APP_ROLE

HISTORY = ["pacelimit", "redemption"]
RIGHTS = "".join(
    f"CREATE TRIGGER {name}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON risk_{name}"
    f" FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();\n"
    f"CREATE TRIGGER {name}_audit AFTER INSERT ON risk_{name} FOR EACH ROW EXECUTE FUNCTION accounts_audit('id');\n"
    f"REVOKE UPDATE, DELETE ON risk_{name} FROM {ROLE};\n"
    for name in HISTORY
)
RIGHTS_BACK = "".join(
    f"DROP TRIGGER {name}_audit ON risk_{name};\nDROP TRIGGER {name}_append_only ON risk_{name};\n"
    f"GRANT UPDATE, DELETE ON risk_{name} TO {ROLE};\n"
    for name in HISTORY
)

# Of whom the screen reads more than totals: a change may move a line, a band or what counts.
GROUPS = {
    "collateralgroup": "id",
    "member": "group_id",
    "groupcoin": "group_id",
    "margincall": "group_id",
    "liquidation": "group_id",
    "liquidationdelay": "group_id",
    "deleveraging": "group_id",
    "warningline": "group_id",
}
FEED = f"""
ALTER TABLE risk_moved ADD COLUMN xid xid8 NOT NULL DEFAULT pg_current_xact_id();
CREATE INDEX moved_by_xid ON risk_moved (xid);
REVOKE INSERT, UPDATE ON risk_moved FROM {ROLE};

CREATE FUNCTION risk_note_wallets() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO risk_moved (kind, ids)
        SELECT 'wallet', array_agg(id) FROM touched WHERE account_id IS NOT NULL HAVING count(*) > 0;
    RETURN NULL;
END $$;
CREATE TRIGGER wallet_noted AFTER UPDATE ON accounts_ledgeraccount REFERENCING NEW TABLE AS touched
    FOR EACH STATEMENT EXECUTE FUNCTION risk_note_wallets();

CREATE FUNCTION risk_note_debts() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO risk_moved (kind, ids)
        SELECT 'debt', array_agg(DISTINCT debt_id) FROM added HAVING count(*) > 0;
    RETURN NULL;
END $$;
CREATE TRIGGER debt_entry_noted AFTER INSERT ON risk_debtentry REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION risk_note_debts();

CREATE FUNCTION risk_note_groups() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = public, pg_temp AS $$
BEGIN
    EXECUTE format('INSERT INTO risk_moved (kind, ids)'
        ' SELECT ''group'', array_agg(DISTINCT %I) FROM touched HAVING count(*) > 0', TG_ARGV[0]);
    RETURN NULL;
END $$;
-- Row by row, and not for the totals that entries move: a transition table of a million updated debts is not free.
CREATE FUNCTION risk_note_group() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO risk_moved (kind, ids) VALUES ('group', ARRAY[NEW.group_id]);
    RETURN NULL;
END $$;
CREATE TRIGGER debt_noted_insert AFTER INSERT ON risk_debt FOR EACH ROW EXECUTE FUNCTION risk_note_group();
CREATE TRIGGER debt_noted_update AFTER UPDATE OF closed_at, residual_since ON risk_debt
    FOR EACH ROW EXECUTE FUNCTION risk_note_group();
REVOKE EXECUTE ON FUNCTION risk_note_wallets(), risk_note_debts(), risk_note_groups(), risk_note_group() FROM PUBLIC;
""" + "".join(
    f"CREATE TRIGGER {name}_noted_{event.lower()} AFTER {event} ON risk_{name} REFERENCING NEW TABLE AS touched"
    f" FOR EACH STATEMENT EXECUTE FUNCTION risk_note_groups('{column}');\n"
    for name, column in GROUPS.items()
    for event in ("INSERT", "UPDATE")
)
FEED_BACK = (
    "".join(
        f"DROP TRIGGER {name}_noted_{event} ON risk_{name};\n"
        for name in GROUPS
        for event in ("insert", "update")
    )
    + f"""
DROP TRIGGER debt_noted_update ON risk_debt;
DROP TRIGGER debt_noted_insert ON risk_debt;
DROP FUNCTION risk_note_group();
DROP TRIGGER debt_entry_noted ON risk_debtentry;
DROP TRIGGER wallet_noted ON accounts_ledgeraccount;
DROP FUNCTION risk_note_groups();
DROP FUNCTION risk_note_debts();
DROP FUNCTION risk_note_wallets();
GRANT INSERT, UPDATE ON risk_moved TO {ROLE};
DROP INDEX moved_by_xid;
ALTER TABLE risk_moved DROP COLUMN xid;
"""
)


class Migration(migrations.Migration):
    dependencies = [("risk", "0007_scale"), ("accounts", "0009_guards")]

    operations = [migrations.RunSQL(RIGHTS, RIGHTS_BACK), migrations.RunSQL(FEED, FEED_BACK)]
