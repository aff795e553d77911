"""Approvals name their people and their payload for good; what changes in them is the decision only."""

from django.conf import settings
from django.db import migrations

ROLE = settings.DATABASE_APP_ROLE
AUDITED = ["approval", "approvalpolicy", "noticepreference"]

FORWARD = "".join(
    f"CREATE TRIGGER {name}_audit AFTER INSERT OR UPDATE OR DELETE ON accounts_{name}"
    f" FOR EACH ROW EXECUTE FUNCTION accounts_audit('id');\n"
    for name in AUDITED
)
REVERSE = "".join(f"DROP TRIGGER {name}_audit ON accounts_{name};\n" for name in AUDITED)

APPROVALS = f"""
CREATE TRIGGER approvalpolicy_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON accounts_approvalpolicy
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
REVOKE UPDATE, DELETE ON accounts_approvalpolicy, accounts_approval FROM {ROLE};
GRANT UPDATE (status, decided_by_id, decided_at, decision_reason, result) ON accounts_approval TO {ROLE};
REVOKE DELETE ON accounts_noticepreference FROM {ROLE};
CREATE FUNCTION accounts_approval_decided_once() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' AND NEW.status <> 'pending' THEN
        RAISE EXCEPTION 'a proposal starts undecided' USING ERRCODE = 'check_violation';
    END IF;
    IF TG_OP = 'UPDATE' AND OLD.status <> 'pending' AND OLD.status <> NEW.status THEN
        RAISE EXCEPTION 'proposal % is % already', OLD.id, OLD.status
            USING ERRCODE = 'check_violation', CONSTRAINT = 'approval_decided_once';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER approval_decided_once BEFORE INSERT OR UPDATE ON accounts_approval
    FOR EACH ROW EXECUTE FUNCTION accounts_approval_decided_once();
"""
APPROVALS_BACK = f"""
DROP TRIGGER approval_decided_once ON accounts_approval;
DROP FUNCTION accounts_approval_decided_once();
DROP TRIGGER approvalpolicy_append_only ON accounts_approvalpolicy;
GRANT UPDATE, DELETE ON accounts_approvalpolicy, accounts_approval, accounts_noticepreference TO {ROLE};
"""


class Migration(migrations.Migration):
    dependencies = [("accounts", "0003_preferences_and_approvals")]

    operations = [migrations.RunSQL(FORWARD, REVERSE), migrations.RunSQL(APPROVALS, APPROVALS_BACK)]
