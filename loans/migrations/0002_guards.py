"""Rate cards, product terms, request lines and events are history; a request's status moves along the table only."""

from django.conf import settings
from django.db import migrations

ROLE = settings.DATABASE_APP_ROLE
HISTORY = ["ratecard", "product", "applicationline", "loanevent", "loan"]
AUDITED = ["ratecard", "product", "application", "loan"]

FORWARD = "".join(
    f"CREATE TRIGGER {name}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON loans_{name}"
    f" FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();\n"
    f"REVOKE UPDATE, DELETE ON loans_{name} FROM {ROLE};\n"
    for name in HISTORY
) + "".join(
    f"CREATE TRIGGER {name}_audit AFTER INSERT OR UPDATE OR DELETE ON loans_{name}"
    f" FOR EACH ROW EXECUTE FUNCTION accounts_audit('id');\n"
    for name in AUDITED
)
REVERSE = "".join(f"DROP TRIGGER {name}_audit ON loans_{name};\n" for name in AUDITED) + "".join(
    f"DROP TRIGGER {name}_append_only ON loans_{name};\nGRANT UPDATE, DELETE ON loans_{name} TO {ROLE};\n"
    for name in HISTORY
)

MOVES = f"""
REVOKE UPDATE, DELETE ON loans_application FROM {ROLE};
GRANT UPDATE (status, decided_at, decided_by_id, decision_reason) ON loans_application TO {ROLE};
REVOKE UPDATE, DELETE ON loans_application_collateral_accounts, loans_application_collateral_coins FROM {ROLE};
CREATE FUNCTION loans_application_moves() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' AND NEW.status <> 'submitted' THEN
        RAISE EXCEPTION 'a request starts as submitted' USING ERRCODE = 'check_violation';
    END IF;
    IF TG_OP = 'UPDATE' AND OLD.status <> NEW.status AND (OLD.status, NEW.status) NOT IN (
        ('submitted', 'approved'), ('submitted', 'rejected'), ('submitted', 'cancelled'), ('approved', 'disbursed')
    ) THEN
        RAISE EXCEPTION 'a request cannot go from % to %', OLD.status, NEW.status
            USING ERRCODE = 'check_violation', CONSTRAINT = 'application_moves';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER application_moves BEFORE INSERT OR UPDATE ON loans_application
    FOR EACH ROW EXECUTE FUNCTION loans_application_moves();
"""
MOVES_BACK = f"""
DROP TRIGGER application_moves ON loans_application;
DROP FUNCTION loans_application_moves();
GRANT UPDATE, DELETE ON loans_application, loans_application_collateral_accounts,
    loans_application_collateral_coins TO {ROLE};
"""


class Migration(migrations.Migration):
    dependencies = [("loans", "0001_initial"), ("risk", "0002_guards")]

    operations = [migrations.RunSQL(FORWARD, REVERSE), migrations.RunSQL(MOVES, MOVES_BACK)]
