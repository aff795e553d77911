from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("risk", "0009_accrual"),
    ]

    operations = [
        migrations.AddField(
            model_name="candidate",
            name="alone",
            field=models.BooleanField(db_default=False, default=False),
        ),
    ]
