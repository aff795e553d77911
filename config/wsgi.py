"""The web process. It refuses to serve with a database role that could switch the ledger's guards off."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
os.environ.setdefault("LOMBARD_EDGE", "web")  # before the settings are read: pages get the short timeouts

from django.core.wsgi import get_wsgi_application

from config.heap import settle
from config.roles import refuse_unsafe_role

application = get_wsgi_application()
refuse_unsafe_role()
settle()
