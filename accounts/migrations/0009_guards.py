"""A key's permissions are for good: it is revoked, and another one made. A used signature is never given back."""

from django.conf import settings
from django.db import migrations

ROLE = settings.DATABASE_APP_ROLE

FORWARD = f"""
REVOKE UPDATE, DELETE ON accounts_apikey FROM {ROLE};
GRANT UPDATE (revoked_at, revoked_by_id) ON accounts_apikey TO {ROLE};
CREATE TRIGGER apikey_audit AFTER INSERT OR UPDATE OR DELETE ON accounts_apikey
    FOR EACH ROW EXECUTE FUNCTION accounts_audit('id');
REVOKE UPDATE ON accounts_usedsignature FROM {ROLE};
REVOKE DELETE ON accounts_apikeyuse FROM {ROLE};
CREATE FUNCTION accounts_signature_stays() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    IF OLD.at > clock_timestamp() - interval '5 minutes' THEN
        RAISE EXCEPTION 'a signature stays used while it could still be in its window'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'signature_stays_used';
    END IF;
    RETURN OLD;
END $$;
CREATE TRIGGER signature_stays BEFORE DELETE ON accounts_usedsignature
    FOR EACH ROW EXECUTE FUNCTION accounts_signature_stays();
CREATE FUNCTION accounts_apikey_revoked_once() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    IF OLD.revoked_at IS NOT NULL THEN
        RAISE EXCEPTION 'key % is revoked already', OLD.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'key_revoked_once';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER apikey_revoked_once BEFORE UPDATE ON accounts_apikey
    FOR EACH ROW EXECUTE FUNCTION accounts_apikey_revoked_once();
"""
REVERSE = f"""
DROP TRIGGER apikey_revoked_once ON accounts_apikey;
DROP FUNCTION accounts_apikey_revoked_once();
DROP TRIGGER signature_stays ON accounts_usedsignature;
DROP FUNCTION accounts_signature_stays();
DROP TRIGGER apikey_audit ON accounts_apikey;
GRANT UPDATE, DELETE ON accounts_apikey, accounts_usedsignature, accounts_apikeyuse TO {ROLE};
"""


class Migration(migrations.Migration):
    dependencies = [("accounts", "0008_keys")]

    operations = [migrations.RunSQL(FORWARD, REVERSE)]
