"""Settings, addresses, timetable and launcher. Loading the Celery app here lets tasks find their broker."""

from config.celery import app as celery_app

__all__ = ["celery_app"]
