"""Borrowers' rules end but never change; what they did, what was said about a call and the funding are history."""

from django.conf import settings
from django.db import migrations

ROLE = settings.DATABASE_APP_ROLE
HISTORY = ["callrecord", "curerun", "trancheentry"]
ENDED = {"curerule": "removed_at", "deleveraging": "removed_at", "tranche": "closed_at"}
AUDITED = ["callrecord", *ENDED]

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
        for name in AUDITED
    )
)
REVERSE = (
    "".join(f"DROP TRIGGER {name}_audit ON risk_{name};\n" for name in AUDITED)
    + "".join(f"DROP TRIGGER {name}_append_only ON risk_{name};\n" for name in HISTORY)
    + "".join(f"GRANT UPDATE, DELETE ON risk_{name} TO {ROLE};\n" for name in [*HISTORY, *ENDED])
)


class Migration(migrations.Migration):
    dependencies = [("risk", "0005_help_and_funding"), ("accounts", "0007_guards")]

    operations = [migrations.RunSQL(FORWARD, REVERSE)]
