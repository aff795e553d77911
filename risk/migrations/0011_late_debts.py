from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0009_guards"),
        ("risk", "0010_candidates_alone"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="debt",
            index=models.Index(
                condition=models.Q(("closed_at__isnull", True), ("overdue_since__isnull", False)),
                fields=["overdue_since"],
                name="debt_overdue",
            ),
        ),
        migrations.AddIndex(
            model_name="debt",
            index=models.Index(
                condition=models.Q(("closed_at__isnull", True), ("residual_since__isnull", False)),
                fields=["customer"],
                name="debt_residual",
            ),
        ),
    ]
