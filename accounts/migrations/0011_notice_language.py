from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0010_job_runs")]

    operations = [
        migrations.AddField("notice", "memory", models.JSONField(null=True)),
        migrations.AddField(
            "noticepreference",
            "language",
            models.CharField(choices=[("en", "English"), ("sv", "Svenska")], default="en", max_length=2),
        ),
    ]
