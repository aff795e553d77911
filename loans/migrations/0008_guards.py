"""What is offered on the fixed-rate market keeps its terms, and nobody takes more of it than there is (R-VIP-26)."""

from django.conf import settings
from django.db import migrations

ROLE = settings.DATABASE_APP_ROLE

FORWARD = f"""
REVOKE UPDATE, DELETE ON loans_supplyorder FROM {ROLE};
GRANT UPDATE (closed_at) ON loans_supplyorder TO {ROLE};
CREATE TRIGGER supplyorder_audit AFTER INSERT OR UPDATE OR DELETE ON loans_supplyorder
    FOR EACH ROW EXECUTE FUNCTION accounts_audit('id');
CREATE TRIGGER supplytake_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON loans_supplytake
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
REVOKE UPDATE, DELETE ON loans_supplytake FROM {ROLE};
CREATE FUNCTION loans_supply_not_overtaken() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = public, pg_temp AS $$
DECLARE offered numeric; shut timestamptz; taken numeric;
BEGIN
    SELECT amount, closed_at INTO offered, shut FROM loans_supplyorder WHERE id = NEW.order_id FOR UPDATE;
    SELECT coalesce(sum(amount), 0) INTO taken FROM loans_supplytake WHERE order_id = NEW.order_id;
    IF shut IS NOT NULL OR taken + NEW.amount > offered THEN
        RAISE EXCEPTION 'supply order % has % left, not %', NEW.order_id, offered - taken, NEW.amount
            USING ERRCODE = 'check_violation', CONSTRAINT = 'supply_not_overtaken';
    END IF;
    RETURN NEW;
END $$;
REVOKE EXECUTE ON FUNCTION loans_supply_not_overtaken() FROM PUBLIC;
CREATE TRIGGER supply_not_overtaken BEFORE INSERT ON loans_supplytake
    FOR EACH ROW EXECUTE FUNCTION loans_supply_not_overtaken();
"""
REVERSE = f"""
DROP TRIGGER supply_not_overtaken ON loans_supplytake;
DROP FUNCTION loans_supply_not_overtaken();
DROP TRIGGER supplytake_append_only ON loans_supplytake;
DROP TRIGGER supplyorder_audit ON loans_supplyorder;
GRANT UPDATE, DELETE ON loans_supplyorder, loans_supplytake TO {ROLE};
"""


class Migration(migrations.Migration):
    dependencies = [("loans", "0007_supply")]

    operations = [migrations.RunSQL(FORWARD, REVERSE)]
