"""When the jobs of the timetable ran."""

from django.db import models
from django.db.models import Q

from accounts.words import tell


class JobRun(models.Model):
    """The last run of one job of the timetable, named as there: one row a job, written over (accounts/jobs.py).

    `started_at` is written before the job, the rest after it: a run that is begun and never ended died with its worker.
    """

    class Outcome(models.TextChoices):
        DONE = "done", tell("Done")
        FAILED = "failed", tell("Failed")

    name = models.CharField(max_length=200, primary_key=True)
    task = models.CharField(max_length=200)
    first_at = models.DateTimeField()
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)
    outcome = models.CharField(
        max_length=6, choices=Outcome.choices, blank=True
    )  # of the run that ended last
    seconds = models.DecimalField(max_digits=9, decimal_places=3, null=True)  # it took
    succeeded_at = models.DateTimeField(null=True)
    failures = models.PositiveIntegerField(default=0)  # in a row
    failure = models.CharField(max_length=500, blank=True)  # the last one's words, while it is not over

    class Meta:
        constraints = (
            models.CheckConstraint(
                name="job_run_failed_says_so", condition=Q(failures=0) | Q(outcome="failed")
            ),
        )

    def __str__(self) -> str:
        return self.name
