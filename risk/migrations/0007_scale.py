import django.contrib.postgres.fields
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import accounts.models.fields


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0009_guards"),
        ("risk", "0006_guards"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Candidate",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("product", models.CharField(choices=[("vip", "VIP loan")], max_length=12)),
                ("danger", models.FloatField()),
                ("sells", models.BooleanField(default=False)),
                ("at", models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name="Moved",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[("wallet", "Wallet"), ("debt", "Debt"), ("group", "Group")], max_length=6
                    ),
                ),
                (
                    "ids",
                    django.contrib.postgres.fields.ArrayField(base_field=models.BigIntegerField(), size=None),
                ),
                (
                    "recorded_at",
                    models.DateTimeField(db_default=accounts.models.fields.ClockTimestamp(), editable=False),
                ),
            ],
        ),
        migrations.CreateModel(
            name="PaceLimit",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("effective_at", models.DateTimeField()),
                ("most_usd", models.DecimalField(decimal_places=18, max_digits=38, null=True)),
                ("span_seconds", models.PositiveIntegerField(default=600)),
            ],
        ),
        migrations.CreateModel(
            name="Redemption",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("effective_at", models.DateTimeField()),
                ("ratio", models.DecimalField(decimal_places=18, max_digits=28, null=True)),
            ],
        ),
        migrations.CreateModel(
            name="StressRun",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("scenario", models.JSONField()),
                ("asked_at", models.DateTimeField()),
                ("finished_at", models.DateTimeField(null=True)),
                ("result", models.JSONField(null=True)),
                ("problem", models.CharField(blank=True, max_length=200)),
            ],
        ),
        migrations.AddField(
            model_name="feedrule",
            name="max_spread",
            field=models.DecimalField(decimal_places=12, default="0.03", max_digits=18),
        ),
        migrations.AddField(
            model_name="feedrule",
            name="max_still_seconds",
            field=models.PositiveIntegerField(null=True),
        ),
        migrations.AddField(
            model_name="price",
            name="quotes",
            field=models.JSONField(default=dict),
        ),
        migrations.AddIndex(
            model_name="sale",
            index=models.Index(fields=["coin", "-at"], name="sale_by_coin"),
        ),
        migrations.AddField(
            model_name="candidate",
            name="group",
            field=models.OneToOneField(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="candidate",
                to="risk.collateralgroup",
            ),
        ),
        migrations.AddField(
            model_name="pacelimit",
            name="asset",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="+", to="accounts.asset"
            ),
        ),
        migrations.AddField(
            model_name="redemption",
            name="asset",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="redemptions", to="accounts.asset"
            ),
        ),
        migrations.AddField(
            model_name="redemption",
            name="underlying",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="+", to="accounts.asset"
            ),
        ),
        migrations.AddField(
            model_name="stressrun",
            name="asked_by",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddIndex(
            model_name="candidate",
            index=models.Index(fields=["product", "-danger", "group"], name="candidate_by_danger"),
        ),
        migrations.AddConstraint(
            model_name="pacelimit",
            constraint=models.UniqueConstraint(
                fields=("asset", "effective_at"), name="one_pace_limit_per_time"
            ),
        ),
        migrations.AddConstraint(
            model_name="pacelimit",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("most_usd__isnull", True), ("most_usd__gt", 0), _connector="OR"),
                    ("span_seconds__gt", 0),
                ),
                name="pace_limit_positive",
            ),
        ),
        migrations.AddConstraint(
            model_name="redemption",
            constraint=models.UniqueConstraint(
                fields=("asset", "effective_at"), name="one_redemption_per_time"
            ),
        ),
        migrations.AddConstraint(
            model_name="redemption",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("ratio__isnull", True),
                    models.Q(("ratio__gt", 0), ("ratio__lt", 1000000000)),
                    _connector="OR",
                ),
                name="redemption_positive_and_bounded",
            ),
        ),
        migrations.AddConstraint(
            model_name="redemption",
            constraint=models.CheckConstraint(
                condition=models.Q(("asset", models.F("underlying")), _negated=True),
                name="redeemed_for_another_coin",
            ),
        ),
    ]
