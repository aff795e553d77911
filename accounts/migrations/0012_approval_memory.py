from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0011_notice_language")]

    operations = [migrations.AddField("approval", "memory", models.JSONField(null=True))]
