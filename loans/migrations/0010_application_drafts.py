"""A request that was begun: one per person and customer. It stays theirs, and it stays small."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

ROLE = settings.DATABASE_APP_ROLE

FORWARD = f"""
REVOKE UPDATE ON loans_applicationdraft FROM {ROLE};
GRANT UPDATE (typed, updated_at) ON loans_applicationdraft TO {ROLE};
ALTER TABLE loans_applicationdraft ADD CONSTRAINT a_draft_is_a_small_form
    CHECK (jsonb_typeof(typed) = 'object' AND octet_length(typed::text) <= 1048576);
"""
REVERSE = f"""
ALTER TABLE loans_applicationdraft DROP CONSTRAINT a_draft_is_a_small_form;
GRANT UPDATE ON loans_applicationdraft TO {ROLE};
"""


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0009_guards"),
        ("loans", "0009_talks"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="ApplicationDraft",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("typed", models.JSONField()),
                ("begun_at", models.DateTimeField()),
                ("updated_at", models.DateTimeField()),
                (
                    "customer",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="accounts.customer"
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("user", "customer"), name="one_draft_per_person_and_customer"
                    )
                ],
            },
        ),
        migrations.RunSQL(FORWARD, REVERSE),
    ]
