"""What the desk wrote down about a client, and what it told them in writing, stays as it was."""

from django.conf import settings
from django.db import migrations

ROLE = settings.DATABASE_APP_ROLE
HISTORY = ["authority", "clientdocument", "statement"]
ENDED = {
    "clientnote": "done_at, done_by_id",
    "balanceconfirmation": "status, answered_by_id, answered_at, answer",
}
AUDITED = [*HISTORY, *ENDED]

FORWARD = (
    "".join(
        f"CREATE TRIGGER {name}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON loans_{name}"
        f" FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();\n"
        f"REVOKE UPDATE, DELETE ON loans_{name} FROM {ROLE};\n"
        for name in HISTORY
    )
    + "".join(
        f"REVOKE UPDATE, DELETE ON loans_{name} FROM {ROLE};\nGRANT UPDATE ({fields}) ON loans_{name} TO {ROLE};\n"
        for name, fields in ENDED.items()
    )
    + "".join(
        f"CREATE TRIGGER {name}_audit AFTER INSERT OR UPDATE OR DELETE ON loans_{name}"
        f" FOR EACH ROW EXECUTE FUNCTION accounts_audit('id');\n"
        for name in AUDITED
    )
)
REVERSE = (
    "".join(f"DROP TRIGGER {name}_audit ON loans_{name};\n" for name in AUDITED)
    + "".join(f"DROP TRIGGER {name}_append_only ON loans_{name};\n" for name in HISTORY)
    + "".join(f"GRANT UPDATE, DELETE ON loans_{name} TO {ROLE};\n" for name in [*HISTORY, *ENDED])
)


class Migration(migrations.Migration):
    dependencies = [("loans", "0005_desk_records_and_authority"), ("risk", "0006_guards")]

    operations = [migrations.RunSQL(FORWARD, REVERSE)]
