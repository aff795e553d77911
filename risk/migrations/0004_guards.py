"""The new parameters are history too; delays, freezes and plans change in their end only, and name their actor."""

from django.conf import settings
from django.db import migrations

ROLE = settings.DATABASE_APP_ROLE

HISTORY = ["assetcap", "handlingrule", "marketdepth"]
ENDED = {  # what may still be written once the row is there
    "delayenrolment": "ends_at, review_since",
    "liquidationdelay": "ends_at, ended_at, ended",
    "warningline": "removed_at, crossed_at",
    "freeze": "lifted_at, lifted_by",
    "paymentplan": "ended_at",
    "instalment": "paid_at",
}

FORWARD = (
    "".join(
        f"CREATE TRIGGER {name}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON risk_{name}"
        f" FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();\n"
        f"REVOKE UPDATE, DELETE ON risk_{name} FROM {ROLE};\n"
        for name in HISTORY
    )
    + "".join(
        f"REVOKE UPDATE, DELETE ON risk_{name} FROM {ROLE};\nGRANT UPDATE ({fields}) ON risk_{name} TO {ROLE};\n"
        for name, fields in ENDED.items()
    )
    + "".join(
        f"CREATE TRIGGER {name}_audit AFTER INSERT OR UPDATE OR DELETE ON risk_{name}"
        f" FOR EACH ROW EXECUTE FUNCTION accounts_audit('id');\n"
        for name in [*HISTORY, *ENDED]
    )
)
REVERSE = (
    "".join(f"DROP TRIGGER {name}_audit ON risk_{name};\n" for name in [*HISTORY, *ENDED])
    + "".join(f"DROP TRIGGER {name}_append_only ON risk_{name};\n" for name in HISTORY)
    + "".join(f"GRANT UPDATE, DELETE ON risk_{name} TO {ROLE};\n" for name in [*HISTORY, *ENDED])
)

CALLED = f"""
GRANT UPDATE (called_at) ON risk_debt TO {ROLE};
DROP TRIGGER debt_audit ON risk_debt;
CREATE TRIGGER debt_audit AFTER INSERT
    OR UPDATE OF due_at, called_at, overdue_since, residual_since, closed_at, closed_reason
    ON risk_debt FOR EACH ROW EXECUTE FUNCTION accounts_audit('id');
"""
CALLED_BACK = f"""
DROP TRIGGER debt_audit ON risk_debt;
CREATE TRIGGER debt_audit AFTER INSERT OR UPDATE OF due_at, overdue_since, residual_since, closed_at, closed_reason
    ON risk_debt FOR EACH ROW EXECUTE FUNCTION accounts_audit('id');
REVOKE UPDATE (called_at) ON risk_debt FROM {ROLE};
"""


class Migration(migrations.Migration):
    dependencies = [("risk", "0003_handling_delays_and_freezes"), ("accounts", "0004_guards")]

    operations = [migrations.RunSQL(FORWARD, REVERSE), migrations.RunSQL(CALLED, CALLED_BACK)]
