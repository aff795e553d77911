"""Debt entries at a third of the cost: migration 0002's checks and sums and 0008's note in one pass, guards in C.

Every check stays. A pass only tells that something is off; which row it is, and what to call it, is asked after that.
Debts are looked up in the order of the rows, which is theirs: neighbours share a page.
"""

from django.db import migrations, models

APPLY = """
CREATE OR REPLACE FUNCTION risk_apply_debt_entries() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = public, pg_temp SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE lines bigint; debts bigint; moved bigint[] := '{}'; is_suspect boolean; wrong bigint;
BEGIN
    SELECT count(*), count(DISTINCT debt_id) INTO lines, debts FROM added;
    IF lines = 0 THEN
        RETURN NULL;
    ELSIF lines = debts THEN  -- the usual case: what is checked against a debt is checked while it is changed
        WITH changed AS (
            UPDATE risk_debt d SET principal = d.principal + a.principal, interest = d.interest + a.interest,
                    late_fee = d.late_fee + a.late_fee, accrued_through = greatest(d.accrued_through, a.period_end)
                FROM added a
                WHERE d.id = a.debt_id AND d.closed_at IS NULL
                    AND (a.kind <> 'charge' OR a.basis = d.principal AND a.period_start = d.accrued_through)
                RETURNING d.id, d.asset_id, d.late_multiplier, a.entry_id, a.kind = 'charge' AS is_charge,
                    a.principal, a.interest, a.late_fee, a.annual_rate, a.basis * a.annual_rate AS a_year),
        summed AS MATERIALIZED (
            SELECT entry_id, asset_id, sum(principal) AS principal, sum(interest) AS interest,
                sum(late_fee) AS late_fee,
                bool_or(principal <> 0) AS moves_principal,
                -- A day at 0 % is a charge too; without a row here its entry would move nothing.
                bool_or(is_charge OR interest <> 0) AS moves_interest,
                bool_or(late_fee <> 0) AS moves_late_fee,
                max(greatest(min_scale(principal), min_scale(interest), min_scale(late_fee))) AS places,
                max(365 * interest - a_year) FILTER (WHERE is_charge) AS beyond,
                max(365 * late_fee - (late_multiplier - 1) * a_year)  -- a late fee of nothing is seldom too much
                    FILTER (WHERE is_charge AND (late_fee <> 0 OR late_multiplier < 1 OR annual_rate < 0))
                    AS late_beyond
            FROM changed GROUP BY entry_id, asset_id),
        judged AS MATERIALIZED (
            SELECT s.*, e.id IS NULL OR e.xid <> pg_current_xact_id() OR s.places > c.places
                OR coalesce(greatest(s.beyond, s.late_beyond), 0) > 365 * power(10::numeric, -c.places) AS is_off
            FROM summed s JOIN accounts_asset c ON c.symbol = s.asset_id
            LEFT JOIN accounts_journalentry e ON e.id = s.entry_id),
        noted AS (
            INSERT INTO accounts_controlsum AS c (entry_id, account_id, ledger, subledger)
                SELECT s.entry_id, a.id, 0, v.net FROM judged s
                CROSS JOIN LATERAL (VALUES ('principal', s.principal, moves_principal),
                    ('interest', s.interest, moves_interest), ('late_fee', s.late_fee, moves_late_fee))
                    AS v (kind, net, moves)
                LEFT JOIN accounts_ledgeraccount a ON a.code = v.kind || ':' || s.asset_id
                WHERE v.moves AND NOT EXISTS (SELECT FROM judged WHERE is_off)
                ON CONFLICT (entry_id, account_id) DO UPDATE SET subledger = c.subledger + excluded.subledger)
        SELECT (SELECT array_agg(id) FROM changed), (SELECT bool_or(is_off) FROM judged) INTO moved, is_suspect;
    ELSE
        WITH linked AS (  -- where the charge before it left off
            SELECT *, lag(period_end) OVER (PARTITION BY debt_id ORDER BY period_start) AS before FROM added),
        summed AS MATERIALIZED (
            SELECT a.entry_id, d.asset_id, sum(a.principal) AS principal, sum(a.interest) AS interest,
                sum(a.late_fee) AS late_fee,
                bool_or(a.principal <> 0) AS moves_principal,
                bool_or(a.interest <> 0 OR a.kind = 'charge') AS moves_interest,
                bool_or(a.late_fee <> 0) AS moves_late_fee,
                bool_or(d.closed_at IS NOT NULL OR a.kind = 'charge'
                    AND (a.basis <> d.principal OR a.period_start <> coalesce(a.before, d.accrued_through)))
                    AS is_broken,
                max(greatest(min_scale(a.principal), min_scale(a.interest), min_scale(a.late_fee))) AS places,
                max(greatest(365 * a.interest - a.basis * a.annual_rate,
                    365 * a.late_fee - (d.late_multiplier - 1) * a.basis * a.annual_rate))
                    FILTER (WHERE a.kind = 'charge') AS beyond
            FROM linked a JOIN risk_debt d ON d.id = a.debt_id GROUP BY a.entry_id, d.asset_id),
        judged AS MATERIALIZED (
            SELECT s.*, e.id IS NULL OR e.xid <> pg_current_xact_id() OR s.is_broken OR s.places > c.places
                OR coalesce(s.beyond, 0) > 365 * power(10::numeric, -c.places) AS is_off
            FROM summed s JOIN accounts_asset c ON c.symbol = s.asset_id
            LEFT JOIN accounts_journalentry e ON e.id = s.entry_id),
        noted AS (
            INSERT INTO accounts_controlsum AS c (entry_id, account_id, ledger, subledger)
                SELECT s.entry_id, a.id, 0, v.net FROM judged s
                CROSS JOIN LATERAL (VALUES ('principal', s.principal, moves_principal),
                    ('interest', s.interest, moves_interest), ('late_fee', s.late_fee, moves_late_fee))
                    AS v (kind, net, moves)
                LEFT JOIN accounts_ledgeraccount a ON a.code = v.kind || ':' || s.asset_id
                WHERE v.moves AND NOT EXISTS (SELECT FROM judged WHERE is_off)
                ON CONFLICT (entry_id, account_id) DO UPDATE SET subledger = c.subledger + excluded.subledger)
        SELECT bool_or(is_off) INTO is_suspect FROM judged;
        IF NOT is_suspect THEN
            WITH changed AS (
                UPDATE risk_debt d SET principal = d.principal + s.principal, interest = d.interest + s.interest,
                        late_fee = d.late_fee + s.late_fee, accrued_through = greatest(d.accrued_through, s.through)
                    FROM (SELECT debt_id, sum(principal) AS principal, sum(interest) AS interest,
                            sum(late_fee) AS late_fee, max(period_end) AS through
                        FROM added GROUP BY debt_id ORDER BY debt_id) s
                    WHERE d.id = s.debt_id RETURNING d.id)
            SELECT array_agg(id) INTO moved FROM changed;
        END IF;
    END IF;
    IF is_suspect IS NOT false OR cardinality(moved) IS DISTINCT FROM debts THEN
        moved := coalesce(moved, '{}');
        SELECT t.entry_id INTO wrong FROM (SELECT DISTINCT entry_id FROM added) t
            LEFT JOIN accounts_journalentry e ON e.id = t.entry_id
            WHERE e.id IS NULL OR e.xid <> pg_current_xact_id() LIMIT 1;
        IF wrong IS NOT NULL THEN
            RAISE EXCEPTION 'entry % is sealed or missing', wrong USING ERRCODE = 'restrict_violation';
        END IF;
        -- The chain: a charge starts where the debt, or the charge before it, left off. No gap, overlap or repeat.
        SELECT s.debt_id INTO wrong FROM (
                SELECT debt_id, period_start,
                    lag(period_end) OVER (PARTITION BY debt_id ORDER BY period_start) AS before
                FROM added WHERE kind = 'charge') s
            JOIN risk_debt d ON d.id = s.debt_id
            WHERE s.period_start <> coalesce(s.before, d.accrued_through) AND d.id <> ALL (moved) LIMIT 1;
        IF wrong IS NOT NULL THEN
            RAISE EXCEPTION 'a charge on debt % does not start where it is accrued through', wrong
                USING ERRCODE = 'check_violation', CONSTRAINT = 'charges_are_a_chain';
        END IF;
        SELECT a.debt_id INTO wrong FROM added a JOIN risk_debt d ON d.id = a.debt_id
            JOIN accounts_asset s ON s.symbol = d.asset_id
            WHERE a.principal <> round(a.principal, s.places) OR a.interest <> round(a.interest, s.places)
                OR a.late_fee <> round(a.late_fee, s.places) OR d.closed_at IS NOT NULL LIMIT 1;
        IF wrong IS NOT NULL THEN
            RAISE EXCEPTION 'debt % is closed, or an amount is finer than its asset', wrong
                USING ERRCODE = 'check_violation', CONSTRAINT = 'debt_open_and_at_its_places';
        END IF;
        -- I-12: on the principal there is, at most the rate, and late at most the multiplier; a unit for rounding up.
        SELECT a.debt_id INTO wrong FROM added a JOIN risk_debt d ON d.id = a.debt_id
            JOIN accounts_asset s ON s.symbol = d.asset_id
            WHERE a.kind = 'charge' AND (a.basis <> d.principal AND d.id <> ALL (moved)
                OR 365 * a.interest > a.basis * a.annual_rate + 365 * power(10::numeric, -s.places)
                OR 365 * a.late_fee > (d.late_multiplier - 1) * a.basis * a.annual_rate
                    + 365 * power(10::numeric, -s.places))
            LIMIT 1;
        IF wrong IS NOT NULL THEN
            RAISE EXCEPTION 'a charge on debt % is not what its principal and rate make', wrong
                USING ERRCODE = 'check_violation', CONSTRAINT = 'charge_is_plausible';
        END IF;
        RAISE EXCEPTION 'a debt entry names a debt that does not exist' USING ERRCODE = 'foreign_key_violation';
    END IF;
    INSERT INTO risk_moved (kind, ids) VALUES ('debt', moved);
    RETURN NULL;
END $$;
DROP TRIGGER debt_entry_noted ON risk_debtentry;
DROP FUNCTION risk_note_debts();
-- Numbers in their order are read more often than they are worth compressing.
ALTER TABLE risk_moved ALTER COLUMN ids SET STORAGE EXTERNAL;
"""
# As migrations 0002 and 0008 made them.
APPLY_BACK = """
CREATE OR REPLACE FUNCTION risk_apply_debt_entries() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = public, pg_temp SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE wrong bigint; touched bigint; moved bigint;
BEGIN
    SELECT t.entry_id INTO wrong FROM (SELECT DISTINCT entry_id FROM added) t
        LEFT JOIN accounts_journalentry e ON e.id = t.entry_id
        WHERE e.id IS NULL OR e.xid <> pg_current_xact_id() LIMIT 1;
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION 'entry % is sealed or missing', wrong USING ERRCODE = 'restrict_violation';
    END IF;
    -- The chain: a charge starts where the debt, or the charge before it, left off. No gap, overlap or repeat.
    SELECT s.debt_id INTO wrong FROM (
            SELECT debt_id, period_start, lag(period_end) OVER (PARTITION BY debt_id ORDER BY period_start) AS before
            FROM added WHERE kind = 'charge') s
        JOIN risk_debt d ON d.id = s.debt_id
        WHERE s.period_start <> coalesce(s.before, d.accrued_through) LIMIT 1;
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION 'a charge on debt % does not start where it is accrued through', wrong
            USING ERRCODE = 'check_violation', CONSTRAINT = 'charges_are_a_chain';
    END IF;
    SELECT a.debt_id INTO wrong FROM added a JOIN risk_debt d ON d.id = a.debt_id
        JOIN accounts_asset s ON s.symbol = d.asset_id
        WHERE a.principal <> round(a.principal, s.places) OR a.interest <> round(a.interest, s.places)
            OR a.late_fee <> round(a.late_fee, s.places) OR d.closed_at IS NOT NULL LIMIT 1;
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION 'debt % is closed, or an amount is finer than its asset', wrong
            USING ERRCODE = 'check_violation', CONSTRAINT = 'debt_open_and_at_its_places';
    END IF;
    -- I-12: on the principal there is, at most the rate, and late at most the multiplier; a unit for rounding up.
    SELECT a.debt_id INTO wrong FROM added a JOIN risk_debt d ON d.id = a.debt_id
        JOIN accounts_asset s ON s.symbol = d.asset_id
        WHERE a.kind = 'charge' AND (a.basis <> d.principal
            OR a.interest > a.basis * a.annual_rate / 365 + power(10::numeric, -s.places)
            OR a.late_fee > (d.late_multiplier - 1) * a.basis * a.annual_rate / 365 + power(10::numeric, -s.places))
        LIMIT 1;
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION 'a charge on debt % is not what its principal and rate make', wrong
            USING ERRCODE = 'check_violation', CONSTRAINT = 'charge_is_plausible';
    END IF;
    SELECT count(DISTINCT debt_id) INTO touched FROM added;
    UPDATE risk_debt d SET principal = d.principal + s.principal, interest = d.interest + s.interest,
            late_fee = d.late_fee + s.late_fee, accrued_through = greatest(d.accrued_through, s.through)
        FROM (SELECT debt_id, sum(principal) AS principal, sum(interest) AS interest, sum(late_fee) AS late_fee,
                max(period_end) AS through FROM added GROUP BY debt_id) s
        WHERE d.id = s.debt_id;
    GET DIAGNOSTICS moved = ROW_COUNT;
    IF moved <> touched THEN
        RAISE EXCEPTION 'a debt entry names a debt that does not exist' USING ERRCODE = 'foreign_key_violation';
    END IF;
    INSERT INTO accounts_controlsum AS c (entry_id, account_id, ledger, subledger)
        SELECT s.entry_id, a.id, 0, s.net FROM (
                SELECT e.entry_id, d.asset_id, v.kind, sum(v.delta) AS net
                FROM added e JOIN risk_debt d ON d.id = e.debt_id,
                LATERAL (VALUES ('principal', e.principal), ('interest', e.interest), ('late_fee', e.late_fee))
                    AS v (kind, delta)
                -- A day at 0 % is a charge too; without a row here its entry would move nothing.
                GROUP BY e.entry_id, d.asset_id, v.kind
                HAVING bool_or(v.delta <> 0 OR e.kind = 'charge' AND v.kind = 'interest')) s
        LEFT JOIN accounts_ledgeraccount a ON a.code = s.kind || ':' || s.asset_id
        ON CONFLICT (entry_id, account_id) DO UPDATE SET subledger = c.subledger + excluded.subledger;
    RETURN NULL;
END $$;

CREATE FUNCTION risk_note_debts() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO risk_moved (kind, ids)
        SELECT 'debt', array_agg(DISTINCT debt_id) FROM added HAVING count(*) > 0;
    RETURN NULL;
END $$;
REVOKE EXECUTE ON FUNCTION risk_note_debts() FROM PUBLIC;
CREATE TRIGGER debt_entry_noted AFTER INSERT ON risk_debtentry REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION risk_note_debts();
ALTER TABLE risk_moved ALTER COLUMN ids SET STORAGE EXTENDED;
"""

# Who changes which totals is told without calling a function for each row, and after the change: a trigger before it
# would lock each row once more. At depth 1 and beyond it is the entries' own trigger.
GUARD = """
DROP TRIGGER debt_guard ON risk_debt;
DROP FUNCTION risk_guard_debt();
CREATE FUNCTION risk_guard_new_debt() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a debt must open empty' USING ERRCODE = 'restrict_violation';
END $$;
CREATE FUNCTION risk_guard_debt() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'totals of debt % move only with its entries', OLD.id USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER debt_guard_new BEFORE INSERT ON risk_debt FOR EACH ROW
    WHEN (NEW.principal <> 0 OR NEW.interest <> 0 OR NEW.late_fee <> 0 OR NEW.accrued_through <> NEW.opened_at)
    EXECUTE FUNCTION risk_guard_new_debt();
CREATE TRIGGER debt_guard AFTER UPDATE ON risk_debt FOR EACH ROW
    WHEN (pg_trigger_depth() = 0 AND (NEW.principal, NEW.interest, NEW.late_fee, NEW.accrued_through, NEW.opened_at)
        IS DISTINCT FROM (OLD.principal, OLD.interest, OLD.late_fee, OLD.accrued_through, OLD.opened_at))
    EXECUTE FUNCTION risk_guard_debt();
"""
GUARD_BACK = """
DROP TRIGGER debt_guard ON risk_debt;
DROP TRIGGER debt_guard_new ON risk_debt;
DROP FUNCTION risk_guard_debt();
DROP FUNCTION risk_guard_new_debt();
CREATE FUNCTION risk_guard_debt() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.principal <> 0 OR NEW.interest <> 0 OR NEW.late_fee <> 0 OR NEW.accrued_through <> NEW.opened_at THEN
            RAISE EXCEPTION 'a debt must open empty' USING ERRCODE = 'restrict_violation';
        END IF;
    ELSIF pg_trigger_depth() < 2 AND (NEW.principal, NEW.interest, NEW.late_fee, NEW.accrued_through, NEW.opened_at)
            IS DISTINCT FROM (OLD.principal, OLD.interest, OLD.late_fee, OLD.accrued_through, OLD.opened_at) THEN
        RAISE EXCEPTION 'totals of debt % move only with its entries', OLD.id USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER debt_guard BEFORE INSERT OR UPDATE ON risk_debt FOR EACH ROW EXECUTE FUNCTION risk_guard_debt();
"""


class Migration(migrations.Migration):
    dependencies = [("risk", "0008_guards")]

    operations = [
        # One index for two: a million charges a night are written to each.
        migrations.RemoveConstraint("debtentry", "one_charge_per_period"),
        migrations.AddConstraint(
            "debtentry",
            models.UniqueConstraint(fields=("debt", "period_start"), name="one_charge_per_period"),
        ),
        migrations.AlterField(
            "debtentry",
            "debt",
            models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=models.deletion.PROTECT,
                related_name="entries",
                to="risk.debt",
            ),
        ),
        migrations.RunSQL(APPLY, APPLY_BACK),
        migrations.RunSQL(GUARD, GUARD_BACK),
    ]
