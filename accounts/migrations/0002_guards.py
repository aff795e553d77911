"""The database keeps the books true, whoever is connected and whatever Python does.

Totals move only with transfers; entries are sealed, append-only and whole at commit; the application's role may
not touch totals or history; a change of a fact names its actor. docs/architecture.md explains each trigger.
"""

from django.conf import settings
from django.db import migrations

ROLE = settings.DATABASE_APP_ROLE

RIGHTS = f"""
GRANT USAGE ON SCHEMA public TO {ROLE};
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {ROLE};
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {ROLE};
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {ROLE};
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO {ROLE};
REVOKE UPDATE, DELETE ON accounts_journalentry, accounts_transfer, accounts_ledgeraccount, accounts_auditrecord,
    accounts_agreement, accounts_acceptance FROM {ROLE};
REVOKE INSERT, UPDATE, DELETE ON accounts_controlsum FROM {ROLE};
REVOKE UPDATE, DELETE ON accounts_idempotencykey FROM {ROLE};
GRANT UPDATE (result) ON accounts_idempotencykey TO {ROLE};
REVOKE DELETE ON accounts_account, accounts_customer, accounts_user, accounts_asset, accounts_notice FROM {ROLE};
REVOKE INSERT, UPDATE, DELETE ON django_migrations FROM {ROLE};
"""
RIGHTS_BACK = f"""
ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE ALL ON TABLES FROM {ROLE};
ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE ALL ON SEQUENCES FROM {ROLE};
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {ROLE};
REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM {ROLE};
REVOKE USAGE ON SCHEMA public FROM {ROLE};
"""

APPEND_ONLY = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER entry_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON accounts_journalentry
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER transfer_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON accounts_transfer
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON accounts_auditrecord
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER ledger_account_kept BEFORE DELETE OR TRUNCATE ON accounts_ledgeraccount
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""
APPEND_ONLY_BACK = """
DROP TRIGGER ledger_account_kept ON accounts_ledgeraccount;
DROP TRIGGER audit_append_only ON accounts_auditrecord;
DROP TRIGGER transfer_append_only ON accounts_transfer;
DROP TRIGGER entry_append_only ON accounts_journalentry;
DROP FUNCTION refuse_change();
"""

STAMP = """
ALTER TABLE accounts_journalentry ADD COLUMN xid xid8 NOT NULL DEFAULT pg_current_xact_id();
ALTER TABLE accounts_auditrecord ADD COLUMN xid xid8 NOT NULL DEFAULT pg_current_xact_id();
CREATE FUNCTION accounts_stamp() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN  -- when and in which transaction a row was written is the database's word
    NEW.xid := pg_current_xact_id();
    NEW.recorded_at := clock_timestamp();
    RETURN NEW;
END $$;
CREATE TRIGGER entry_stamp BEFORE INSERT ON accounts_journalentry FOR EACH ROW EXECUTE FUNCTION accounts_stamp();
CREATE TRIGGER audit_stamp BEFORE INSERT ON accounts_auditrecord FOR EACH ROW EXECUTE FUNCTION accounts_stamp();
"""
STAMP_BACK = """
DROP TRIGGER audit_stamp ON accounts_auditrecord;
DROP TRIGGER entry_stamp ON accounts_journalentry;
DROP FUNCTION accounts_stamp();
ALTER TABLE accounts_auditrecord DROP COLUMN xid;
ALTER TABLE accounts_journalentry DROP COLUMN xid;
"""

TOTALS = """
CREATE FUNCTION accounts_guard_totals() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' AND (NEW.debits <> 0 OR NEW.credits <> 0) THEN
        RAISE EXCEPTION 'ledger account % must open empty', NEW.code USING ERRCODE = 'restrict_violation';
    END IF;
    -- Depth 1 is somebody's own UPDATE; the transfers' trigger comes at depth 2.
    IF TG_OP = 'UPDATE' AND pg_trigger_depth() < 2 THEN
        RAISE EXCEPTION 'totals of % move only with transfers', OLD.code USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER ledger_account_guard BEFORE INSERT OR UPDATE ON accounts_ledgeraccount
    FOR EACH ROW EXECUTE FUNCTION accounts_guard_totals();

CREATE FUNCTION accounts_apply_transfers() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = public, pg_temp SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE wrong text;
BEGIN
    SELECT e.reference INTO wrong FROM (SELECT DISTINCT entry_id FROM added) t
        JOIN accounts_journalentry e ON e.id = t.entry_id WHERE e.xid <> pg_current_xact_id() LIMIT 1;
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION 'entry % is sealed', wrong USING ERRCODE = 'restrict_violation';
    END IF;
    SELECT d.code || ' and ' || c.code INTO wrong FROM added t
        JOIN accounts_ledgeraccount d ON d.id = t.debit_id JOIN accounts_ledgeraccount c ON c.id = t.credit_id
        JOIN accounts_asset a ON a.symbol = d.asset_id
        WHERE d.asset_id <> c.asset_id OR t.amount <> round(t.amount, a.places) LIMIT 1;
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION 'a transfer between % mixes assets or is finer than the asset', wrong
            USING ERRCODE = 'check_violation', CONSTRAINT = 'transfer_of_one_asset_at_its_places';
    END IF;
    -- One lock order for everyone: wallets by id, then house accounts by id.
    PERFORM 1 FROM accounts_ledgeraccount WHERE account_id IS NOT NULL
        AND id IN (SELECT debit_id FROM added UNION SELECT credit_id FROM added) ORDER BY id FOR NO KEY UPDATE;
    PERFORM 1 FROM accounts_ledgeraccount WHERE account_id IS NULL
        AND id IN (SELECT debit_id FROM added UNION SELECT credit_id FROM added) ORDER BY id FOR NO KEY UPDATE;
    UPDATE accounts_ledgeraccount a SET debits = a.debits + s.debit, credits = a.credits + s.credit
        FROM (SELECT id, sum(debit) AS debit, sum(credit) AS credit FROM (
                SELECT debit_id AS id, amount AS debit, 0::numeric AS credit FROM added
                UNION ALL SELECT credit_id, 0, amount FROM added) sides GROUP BY id) s
        WHERE a.id = s.id;
    INSERT INTO accounts_controlsum AS c (entry_id, account_id, ledger, subledger)
        SELECT s.entry_id, s.id, sum(s.net), 0 FROM (
                SELECT entry_id, debit_id AS id, amount AS net FROM added
                UNION ALL SELECT entry_id, credit_id, -amount FROM added) s
        JOIN accounts_ledgeraccount a ON a.id = s.id
        WHERE a.kind IN ('principal', 'interest', 'late_fee') GROUP BY s.entry_id, s.id
        ON CONFLICT (entry_id, account_id) DO UPDATE SET ledger = c.ledger + excluded.ledger;
    RETURN NULL;
END $$;
CREATE TRIGGER transfer_apply AFTER INSERT ON accounts_transfer REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION accounts_apply_transfers();

CREATE FUNCTION accounts_entry_is_whole() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = public, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM accounts_controlsum WHERE entry_id = NEW.id AND ledger <> subledger) THEN
        RAISE EXCEPTION 'entry %: control accounts and debts differ', NEW.reference
            USING ERRCODE = 'check_violation', CONSTRAINT = 'controls_equal_their_debts';
    END IF;
    IF NOT EXISTS (SELECT 1 FROM accounts_transfer WHERE entry_id = NEW.id)
        AND NOT EXISTS (SELECT 1 FROM accounts_controlsum WHERE entry_id = NEW.id) THEN
        RAISE EXCEPTION 'entry % moves nothing', NEW.reference
            USING ERRCODE = 'check_violation', CONSTRAINT = 'entry_moves_something';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER entry_is_whole AFTER INSERT ON accounts_journalentry
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION accounts_entry_is_whole();
"""
TOTALS_BACK = """
DROP TRIGGER entry_is_whole ON accounts_journalentry;
DROP FUNCTION accounts_entry_is_whole();
DROP TRIGGER transfer_apply ON accounts_transfer;
DROP FUNCTION accounts_apply_transfers();
DROP TRIGGER ledger_account_guard ON accounts_ledgeraccount;
DROP FUNCTION accounts_guard_totals();
"""

AUDIT = """
CREATE FUNCTION accounts_audit() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = public, pg_temp AS $$
DECLARE
    who text := coalesce(current_setting('app.actor', true), '');
    old_row jsonb; new_row jsonb; pk text;
BEGIN
    IF who = '' THEN
        RAISE EXCEPTION 'a change of % must name its actor', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF TG_OP <> 'INSERT' THEN old_row := to_jsonb(OLD) - 'password' - 'last_login'; END IF;
    IF TG_OP <> 'DELETE' THEN new_row := to_jsonb(NEW) - 'password' - 'last_login'; END IF;
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
CREATE TRIGGER customer_audit AFTER INSERT OR UPDATE OR DELETE ON accounts_customer
    FOR EACH ROW EXECUTE FUNCTION accounts_audit('id');
CREATE TRIGGER membership_audit AFTER INSERT OR UPDATE OR DELETE ON accounts_membership
    FOR EACH ROW EXECUTE FUNCTION accounts_audit('id');
CREATE TRIGGER account_audit AFTER INSERT OR UPDATE OR DELETE ON accounts_account
    FOR EACH ROW EXECUTE FUNCTION accounts_audit('uid');
CREATE TRIGGER asset_audit AFTER INSERT OR UPDATE OR DELETE ON accounts_asset
    FOR EACH ROW EXECUTE FUNCTION accounts_audit('symbol');
CREATE TRIGGER user_audit AFTER INSERT OR UPDATE OF role, is_active, email, name ON accounts_user
    FOR EACH ROW EXECUTE FUNCTION accounts_audit('id');
"""
AUDIT_BACK = """
DROP TRIGGER user_audit ON accounts_user;
DROP TRIGGER asset_audit ON accounts_asset;
DROP TRIGGER account_audit ON accounts_account;
DROP TRIGGER membership_audit ON accounts_membership;
DROP TRIGGER customer_audit ON accounts_customer;
DROP FUNCTION accounts_audit();
"""

# R-GEN-01: amounts booked at an asset's places would be misread, or could never leave again, at others.
PLACES = """
CREATE FUNCTION accounts_keep_places() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM public.accounts_ledgeraccount WHERE asset_id = OLD.symbol) THEN
        RAISE EXCEPTION 'the places of % are in use', OLD.symbol USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER asset_keeps_places BEFORE UPDATE OF places ON accounts_asset
    FOR EACH ROW WHEN (OLD.places <> NEW.places) EXECUTE FUNCTION accounts_keep_places();
"""
PLACES_BACK = """
DROP TRIGGER asset_keeps_places ON accounts_asset;
DROP FUNCTION accounts_keep_places();
"""

# A trigger's function that runs with the owner's rights is nobody else's to put on a table of their own; and with
# `pg_temp` named last it reads no temporary table in place of a real one.
DEFINERS = """
REVOKE EXECUTE ON FUNCTION accounts_apply_transfers(), accounts_entry_is_whole(), accounts_audit() FROM PUBLIC;
"""

UIDS = "ALTER TABLE accounts_account ALTER COLUMN uid RESTART WITH 10000001;"


class Migration(migrations.Migration):
    dependencies = [("accounts", "0001_initial")]

    operations = [
        migrations.RunSQL(RIGHTS, RIGHTS_BACK),
        migrations.RunSQL(APPEND_ONLY, APPEND_ONLY_BACK),
        migrations.RunSQL(STAMP, STAMP_BACK),
        migrations.RunSQL(TOTALS, TOTALS_BACK),
        migrations.RunSQL(AUDIT, AUDIT_BACK),
        migrations.RunSQL(PLACES, PLACES_BACK),
        migrations.RunSQL(DEFINERS, migrations.RunSQL.noop),
        migrations.RunSQL(UIDS, migrations.RunSQL.noop),
    ]
