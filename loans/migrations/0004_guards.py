"""Offers and signed sheets keep their bodies for good; a request moves along the whole table of RULES section 13."""

from django.conf import settings
from django.db import migrations

ROLE = settings.DATABASE_APP_ROLE
HISTORY = ["clientterms", "signedsheet"]
AUDITED = ["clientterms", "signedsheet", "offer", "enquiry"]

MOVES = """
        ('draft', 'submitted'), ('draft', 'negotiating'), ('draft', 'cancelled'),
        ('submitted', 'negotiating'), ('submitted', 'offered'), ('submitted', 'approved'),
        ('submitted', 'partially_approved'), ('submitted', 'rejected'), ('submitted', 'cancelled'),
        ('submitted', 'expired'),
        ('negotiating', 'offered'), ('negotiating', 'submitted'), ('negotiating', 'rejected'),
        ('negotiating', 'cancelled'), ('negotiating', 'expired'),
        ('offered', 'negotiating'), ('offered', 'submitted'), ('offered', 'rejected'), ('offered', 'cancelled'),
        ('offered', 'expired'),
        ('approved', 'disbursed'), ('partially_approved', 'disbursed')
"""
OLD_MOVES = """
        ('submitted', 'approved'), ('submitted', 'rejected'), ('submitted', 'cancelled'), ('approved', 'disbursed')
"""

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


def _moves(first: str, moves: str) -> str:
    return f"""
CREATE OR REPLACE FUNCTION loans_application_moves() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' AND NEW.status <> '{first}' THEN
        RAISE EXCEPTION 'a request starts as {first}' USING ERRCODE = 'check_violation';
    END IF;
    IF TG_OP = 'UPDATE' AND OLD.status <> NEW.status AND (OLD.status, NEW.status) NOT IN ({moves}) THEN
        RAISE EXCEPTION 'a request cannot go from % to %', OLD.status, NEW.status
            USING ERRCODE = 'check_violation', CONSTRAINT = 'application_moves';
    END IF;
    RETURN NEW;
END $$;
"""


RIGHTS = f"""
GRANT UPDATE (accepted_id, expires_at, manager_id) ON loans_application TO {ROLE};
REVOKE UPDATE, DELETE ON loans_offer, loans_enquiry FROM {ROLE};
GRANT UPDATE (status, answered_at, answered_by_id) ON loans_offer TO {ROLE};
GRANT UPDATE (status, manager_id, answer, handled_at) ON loans_enquiry TO {ROLE};
"""
RIGHTS_BACK = f"""
GRANT UPDATE, DELETE ON loans_offer, loans_enquiry TO {ROLE};
REVOKE UPDATE (accepted_id, expires_at, manager_id) ON loans_application FROM {ROLE};
"""


class Migration(migrations.Migration):
    dependencies = [("loans", "0003_offers_and_client_terms"), ("risk", "0004_guards")]

    operations = [
        migrations.RunSQL(FORWARD, REVERSE),
        migrations.RunSQL(_moves("draft", MOVES), _moves("submitted", OLD_MOVES)),
        migrations.RunSQL(RIGHTS, RIGHTS_BACK),
    ]
