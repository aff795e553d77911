from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0009_guards"),
        ("risk", "0012_feed_totals"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="collateralgroup",
            index=models.Index(
                condition=models.Q(("band__in", ["CALL", "LIQ"]), ("closed_at__isnull", True)),
                fields=["band"],
                name="group_in_trouble",
            ),
        ),
        migrations.AddIndex(
            model_name="collateralgroup",
            index=models.Index(
                condition=models.Q(("closed_at__isnull", True), ("grace_until__isnull", False)),
                fields=["grace_until"],
                name="group_in_grace",
            ),
        ),
        migrations.AddIndex(
            model_name="debt",
            index=models.Index(
                condition=models.Q(
                    ("closed_at__isnull", True), ("due_at__isnull", False), ("overdue_since__isnull", True)
                ),
                fields=["due_at"],
                name="debt_due",
            ),
        ),
    ]
