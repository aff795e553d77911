"""A closed period refuses postings in the database itself; what is history stays, and secrets stay out of the trail."""

from django.conf import settings
from django.db import migrations

ROLE = settings.DATABASE_APP_ROLE
HISTORY = ["firmpolicy", "screening", "periodclose", "auditlink"]
AUDITED = ["firmpolicy", "screening", "noticecontact", "periodclose"]

FORWARD = (
    "".join(
        f"CREATE TRIGGER {name}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON accounts_{name}"
        f" FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();\n"
        f"REVOKE UPDATE, DELETE ON accounts_{name} FROM {ROLE};\n"
        for name in HISTORY
    )
    + "".join(
        f"CREATE TRIGGER {name}_audit AFTER INSERT OR UPDATE OR DELETE ON accounts_{name}"
        f" FOR EACH ROW EXECUTE FUNCTION accounts_audit('id');\n"
        for name in AUDITED
    )
    + f"""
REVOKE UPDATE, DELETE ON accounts_noticecontact, accounts_export FROM {ROLE};
GRANT UPDATE (removed_at) ON accounts_noticecontact TO {ROLE};
GRANT UPDATE (status, done, total, heartbeat_at, finished_at, file_name, content_type, content, sha256, error)
    ON accounts_export TO {ROLE};
"""
)
REVERSE = (
    "".join(f"DROP TRIGGER {name}_audit ON accounts_{name};\n" for name in AUDITED)
    + "".join(f"DROP TRIGGER {name}_append_only ON accounts_{name};\n" for name in HISTORY)
    + "".join(f"GRANT UPDATE, DELETE ON accounts_{name} TO {ROLE};\n" for name in HISTORY)
    + f"GRANT UPDATE, DELETE ON accounts_noticecontact, accounts_export TO {ROLE};\n"
)

# Whoever posts holds the period's lock shared; whoever closes waits for all of them, and they see the close.
PERIODS = """
CREATE FUNCTION accounts_period_is_open() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE closed timestamptz;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(60011);
    SELECT max(through) INTO closed FROM accounts_periodclose;
    IF NEW.at <= closed THEN
        RAISE EXCEPTION 'the books are closed through %: entry % is dated %', closed, NEW.reference, NEW.at
            USING ERRCODE = 'check_violation', CONSTRAINT = 'period_is_open';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER entry_in_an_open_period BEFORE INSERT ON accounts_journalentry
    FOR EACH ROW EXECUTE FUNCTION accounts_period_is_open();
CREATE FUNCTION accounts_periods_in_order() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(60011);
    IF NEW.through <= (SELECT max(through) FROM accounts_periodclose) THEN
        RAISE EXCEPTION 'periods are closed in their order'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'periods_in_order';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER periods_in_order BEFORE INSERT ON accounts_periodclose
    FOR EACH ROW EXECUTE FUNCTION accounts_periods_in_order();
"""
PERIODS_BACK = """
DROP TRIGGER periods_in_order ON accounts_periodclose;
DROP FUNCTION accounts_periods_in_order();
DROP TRIGGER entry_in_an_open_period ON accounts_journalentry;
DROP FUNCTION accounts_period_is_open();
"""

# The chain takes up records in the order of their transactions (accounts/chain.py).
CHAIN = "CREATE INDEX audit_by_transaction ON accounts_auditrecord (xid, id);"
CHAIN_BACK = "DROP INDEX audit_by_transaction;"


def _audit(left_out: str) -> str:
    return f"""
CREATE OR REPLACE FUNCTION accounts_audit() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = public, pg_temp AS $$
DECLARE
    who text := coalesce(current_setting('app.actor', true), '');
    left_out text[] := '{left_out}';
    old_row jsonb; new_row jsonb; pk text;
BEGIN
    IF who = '' THEN
        RAISE EXCEPTION 'a change of % must name its actor', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF TG_OP <> 'INSERT' THEN old_row := to_jsonb(OLD) - left_out; END IF;
    IF TG_OP <> 'DELETE' THEN new_row := to_jsonb(NEW) - left_out; END IF;
    pk := coalesce(new_row, old_row)->>TG_ARGV[0];
    IF TG_OP = 'UPDATE' THEN  -- keep only what changed
        SELECT jsonb_object_agg(o.key, o.value), jsonb_object_agg(o.key, new_row->o.key) INTO old_row, new_row
            FROM jsonb_each(old_row) o WHERE o.value IS DISTINCT FROM new_row->o.key;
        IF old_row IS NULL THEN RETURN NULL; END IF;
    END IF;
    INSERT INTO accounts_auditrecord (kind, subject, actor, reason, request, before, after) VALUES (
        lower(TG_OP), TG_TABLE_NAME || ':' || pk, who, coalesce(current_setting('app.reason', true), ''),
        coalesce(current_setting('app.request', true), ''), old_row, new_row);
    RETURN NULL;
END $$;
REVOKE EXECUTE ON FUNCTION accounts_audit() FROM PUBLIC;
"""


class Migration(migrations.Migration):
    dependencies = [("accounts", "0006_firms_exports_and_closed_periods")]

    operations = [
        migrations.RunSQL(FORWARD, REVERSE),
        migrations.RunSQL(PERIODS, PERIODS_BACK),
        migrations.RunSQL(CHAIN, CHAIN_BACK),
        # Files are named by their digest, a webhook's secret by nothing.
        migrations.RunSQL(
            _audit("{password,last_login,secret,content,pdf}"), _audit("{password,last_login}")
        ),
    ]
