"""Debts are the ledger's sub-ledger: chained, exact, and equal to their control accounts at every commit.

One statement trigger does the chain, the seal, the totals and the per-entry sums (docs/architecture.md);
prices, rates and limits are append-only; every other change of a fact names its actor.
"""

from django.conf import settings
from django.db import migrations

ROLE = settings.DATABASE_APP_ROLE

HISTORY = [
    "price",
    "debtentry",
    "debtrate",
    "flexiblerate",
    "ratioschedule",
    "collateraltier",
    "limits",
    "loanlimit",
    "feedrule",
    "settings",
    "riskevent",
    "sale",
    "movement",
]
AUDITED = [
    "limits",
    "ratioschedule",
    "collateraltier",
    "loanlimit",
    "flexiblerate",
    "feedrule",
    "settings",
    "collateralgroup",
    "member",
    "groupcoin",
    "margincall",
    "liquidation",
]

FORWARD = "".join(
    f"CREATE TRIGGER {name}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON risk_{name}"
    f" FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();\n"
    f"REVOKE UPDATE, DELETE ON risk_{name} FROM {ROLE};\n"
    for name in HISTORY
) + "".join(
    f"CREATE TRIGGER {name}_audit AFTER INSERT OR UPDATE OR DELETE ON risk_{name}"
    f" FOR EACH ROW EXECUTE FUNCTION accounts_audit('id');\n"
    for name in AUDITED
)
REVERSE = "".join(f"DROP TRIGGER {name}_audit ON risk_{name};\n" for name in AUDITED) + "".join(
    f"DROP TRIGGER {name}_append_only ON risk_{name};\nGRANT UPDATE, DELETE ON risk_{name} TO {ROLE};\n"
    for name in HISTORY
)

DEBTS = f"""
REVOKE UPDATE, DELETE ON risk_debt FROM {ROLE};
GRANT UPDATE (due_at, overdue_since, residual_since, closed_at, closed_reason) ON risk_debt TO {ROLE};
REVOKE DELETE ON risk_collateralgroup, risk_member, risk_groupcoin, risk_margincall, risk_liquidation FROM {ROLE};

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
CREATE TRIGGER debt_kept BEFORE DELETE OR TRUNCATE ON risk_debt FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
-- Not on the totals: a million charges must not write a million audit rows; the entries are their history.
CREATE TRIGGER debt_audit AFTER INSERT OR UPDATE OF due_at, overdue_since, residual_since, closed_at, closed_reason
    ON risk_debt FOR EACH ROW EXECUTE FUNCTION accounts_audit('id');

CREATE FUNCTION risk_apply_debt_entries() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
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
REVOKE EXECUTE ON FUNCTION risk_apply_debt_entries() FROM PUBLIC;
CREATE TRIGGER debt_entry_apply AFTER INSERT ON risk_debtentry REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION risk_apply_debt_entries();
"""
DEBTS_BACK = f"""
DROP TRIGGER debt_entry_apply ON risk_debtentry;
DROP FUNCTION risk_apply_debt_entries();
DROP TRIGGER debt_audit ON risk_debt;
DROP TRIGGER debt_kept ON risk_debt;
DROP TRIGGER debt_guard ON risk_debt;
DROP FUNCTION risk_guard_debt();
GRANT UPDATE, DELETE ON risk_debt TO {ROLE};
GRANT DELETE ON risk_collateralgroup, risk_member, risk_groupcoin, risk_margincall, risk_liquidation TO {ROLE};
"""

# I-17: a group, its receiver, its members and its debts have one owner.
OWNERS = """
CREATE FUNCTION risk_one_owner() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = public, pg_temp AS $$
DECLARE owner bigint; other bigint;
BEGIN
    IF TG_TABLE_NAME = 'risk_collateralgroup' THEN
        owner := NEW.customer_id;
        SELECT customer_id INTO other FROM accounts_account WHERE uid = NEW.receiver_id;
    ELSIF TG_TABLE_NAME = 'risk_member' THEN
        SELECT customer_id INTO owner FROM risk_collateralgroup WHERE id = NEW.group_id;
        SELECT customer_id INTO other FROM accounts_account WHERE uid = NEW.account_id;
        IF EXISTS (SELECT 1 FROM risk_collateralgroup WHERE id = NEW.group_id AND receiver_id = NEW.account_id) THEN
            RAISE EXCEPTION 'the receiving account cannot be collateral of its own group'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'receiver_is_not_collateral';
        END IF;
    ELSE
        owner := NEW.customer_id;
        SELECT customer_id INTO other FROM risk_collateralgroup WHERE id = NEW.group_id;
    END IF;
    IF owner <> other THEN
        RAISE EXCEPTION 'one group, one owner' USING ERRCODE = 'check_violation', CONSTRAINT = 'one_group_one_owner';
    END IF;
    RETURN NULL;
END $$;
REVOKE EXECUTE ON FUNCTION risk_one_owner() FROM PUBLIC;
CREATE CONSTRAINT TRIGGER group_one_owner AFTER INSERT OR UPDATE ON risk_collateralgroup
    FOR EACH ROW EXECUTE FUNCTION risk_one_owner();
CREATE CONSTRAINT TRIGGER member_one_owner AFTER INSERT OR UPDATE ON risk_member
    FOR EACH ROW EXECUTE FUNCTION risk_one_owner();
CREATE CONSTRAINT TRIGGER debt_one_owner AFTER INSERT ON risk_debt
    FOR EACH ROW EXECUTE FUNCTION risk_one_owner();
"""
OWNERS_BACK = """
DROP TRIGGER debt_one_owner ON risk_debt;
DROP TRIGGER member_one_owner ON risk_member;
DROP TRIGGER group_one_owner ON risk_collateralgroup;
DROP FUNCTION risk_one_owner();
"""


class Migration(migrations.Migration):
    dependencies = [("risk", "0001_initial"), ("accounts", "0002_guards")]

    operations = [
        migrations.RunSQL(FORWARD, REVERSE),
        migrations.RunSQL(DEBTS, DEBTS_BACK),
        migrations.RunSQL(OWNERS, OWNERS_BACK),
    ]
