"""Every setting of the desk, safe when nothing is set: without secrets and addresses it refuses to start.

Values come from the environment, then from the file named by LOMBARD_ENV_FILE (`.local/env` unless told
otherwise; an empty name reads no file). `make run` writes that file.
"""

import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import environ
import structlog
from csp.constants import NONCE, NONE, SELF
from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent

env = environ.Env()
_file = os.environ.get("LOMBARD_ENV_FILE", str(BASE_DIR / ".local" / "env"))
if _file and Path(_file).is_file():
    env.read_env(_file)

_required = ("SECRET_KEY", "ALLOWED_HOSTS", "DATABASE_URL", "REDIS_URL")
_missing = [name for name in _required if not env.str(name, default="")]
if _missing:
    raise ImproperlyConfigured(
        f"Set {', '.join(_missing)} in the environment or in {_file or 'a file named by LOMBARD_ENV_FILE'}; "
        "`make run` does this for a demo on this machine."
    )

# -- Where and how it is served
SECRET_KEY = env.str("SECRET_KEY")
SECRET_KEY_FALLBACKS = env.list("SECRET_KEY_FALLBACKS", default=[])
SECRET_SEALS = env.list(
    "SECRET_SEALS", default=[]
)  # seal what is secret in the database; else derived from these
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS")
DEBUG = env.bool("DEBUG", default=False)
DEMO = env.bool("DEMO", default=False)  # shows the panel that pushes the simulated prices
INSECURE_HTTP = env.bool("INSECURE_HTTP", default=DEBUG)  # a demo over http on this machine, nothing else
BEHIND_PROXY = env.bool("BEHIND_PROXY", default=False)  # a proxy we trust sets X-Forwarded-Proto
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])
SERVES_PAGES = os.environ.get("LOMBARD_EDGE") == "web"  # set by config/wsgi.py

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"
USE_I18N = True
LANGUAGE_CODE = "en"  # and of whatever is no page: jobs, programs, files
LANGUAGES = [("en", "English"), ("sv", "Svenska")]
LOCALE_PATHS = [BASE_DIR / "locale"]
LANGUAGE_COOKIE_NAME = "language"
LANGUAGE_COOKIE_AGE = int(timedelta(days=365).total_seconds())
LANGUAGE_COOKIE_HTTPONLY = True
LANGUAGE_COOKIE_SAMESITE = "Lax"
FORMAT_MODULE_PATH = ["config.formats"]  # the console's; pages have a filter of their own

INSTALLED_APPS = [
    "accounts",
    "risk",
    "loans",
    "config.console.ConsoleConfig",  # Django's admin, with a site of our own
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.usersessions",
    "csp",
    "django_celery_beat",
    "django_cotton",
    "django_htmx",
]

MIDDLEWARE = [
    "config.errors.Numbered",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "config.policy.Manners",
    "config.policy.Programs",
    "config.languages.Languages",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "accounts.pages.trail.Looks",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,  # django-cotton wraps the loaders when it starts
        "OPTIONS": {
            "builtins": ["django.templatetags.i18n", "accounts.templatetags.spoken"],
            "context_processors": [
                "config.languages.language",
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "csp.context_processors.nonce",
                "accounts.pages.context.people",
                "risk.pages.context.market",
                "loans.pages.context.demo",
            ],
        },
    }
]

# -- Database: the owner migrates, the application role does everything else
DATABASE_URL = env.str("DATABASE_URL")
DATABASE_OWNER_URL = env.str("DATABASE_OWNER_URL", default=DATABASE_URL)
DATABASE_APP_ROLE = env.str("DATABASE_APP_ROLE", default=urlsplit(DATABASE_URL).username or "lombard_app")
# A page that takes five seconds is broken; a job over a whole book may take a minute.
DATABASE_TIMEOUTS = {
    "statement_timeout": env.str("STATEMENT_TIMEOUT", default="5s" if SERVES_PAGES else "60s"),
    "lock_timeout": env.str("LOCK_TIMEOUT", default="2s"),
    "idle_in_transaction_session_timeout": env.str("IDLE_IN_TRANSACTION_TIMEOUT", default="10s"),
}
_migrates = sys.argv[1:2] == ["migrate"]
DATABASES = {
    "default": {
        **env.db_url_config(DATABASE_OWNER_URL if _migrates else DATABASE_URL),
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
    }
}
if not _migrates:
    DATABASES["default"]["OPTIONS"] = {
        "options": " ".join(f"-c {name}={value}" for name, value in DATABASE_TIMEOUTS.items())
    }

REDIS_URL = env.str("REDIS_URL")
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "lombard",
    }
}

# -- The outside
PRICE_FEED = env.str("PRICE_FEED", default="simulated")  # simulated[:SEED], file:PATH or ccxt
EXCHANGE = env.str("EXCHANGE", default="accounts.exchange.BuiltIn")
EMAIL_BACKEND = env.str("EMAIL_BACKEND", default="django.core.mail.backends.console.EmailBackend")
if env.str("EMAIL_URL", default=""):  # smtp+tls://user:password@host:587; then mail really leaves
    vars().update(env.email_url("EMAIL_URL"))
EMAIL_FOLDER = env.str("EMAIL_FOLDER", default="")  # a demo's mail stays here, and is read under /mail/
if EMAIL_FOLDER:
    EMAIL_BACKEND = "accounts.outbox.Folder"
# Where people reach the desk, for the links in letters; no slash at its end.
SITE_URL = env.str("SITE_URL", default="")
if SITE_URL.endswith("/"):
    raise ImproperlyConfigured(f"Write SITE_URL without the slash at its end: {SITE_URL.rstrip('/')}")
if not SITE_URL and not DEBUG and any(host.startswith(("*", ".")) for host in ALLOWED_HOSTS):
    raise ImproperlyConfigured(
        "Set SITE_URL, such as https://desk.example.com: ALLOWED_HOSTS has a wildcard, so the links in letters "
        "have no host to lead to."
    )
SITE_URL = SITE_URL or f"https://{ALLOWED_HOSTS[0].lstrip('.') if ALLOWED_HOSTS else 'localhost'}"
EMAIL_TIMEOUT = 5  # seconds; a mail server that hangs must not hold a worker
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", default="Lombard <desk@localhost>")
# sms_to_console, sms_to_file or sms_by_gateway of accounts.channels, or your own (number, text) -> answer
SMS_GATEWAY_URL = env.str("SMS_GATEWAY_URL", default="")
SMS_GATEWAY_TOKEN = env.str("SMS_GATEWAY_TOKEN", default="")
SMS_SENDER = env.str("SMS_SENDER", default="Lombard")
SMS_FILE = env.str("SMS_FILE", default=str(BASE_DIR / ".local" / "sms.jsonl"))
_sms = "sms_by_gateway" if SMS_GATEWAY_URL else "sms_to_console"
SMS_BACKEND = env.str("SMS_BACKEND", default=f"accounts.channels.{_sms}")
# A demo's and the tests' webhooks may be http on this machine; everybody else's are https and public
WEBHOOKS_TO_THIS_MACHINE = env.bool("WEBHOOKS_TO_THIS_MACHINE", default=DEMO)

# -- People
MESSAGE_STORAGE = "accounts.pages.spoken.Spoken"
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
ACCOUNT_ADAPTER = "config.policy.ClosedDesk"
ACCOUNT_OPEN_SIGN_UP = env.bool("OPEN_SIGN_UP", default=False)
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*", "password2*"]
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_SESSION_REMEMBER = None
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes"]
MFA_TOTP_ISSUER = "Lombard"

# -- Programs: weights a minute, as the exchange counts them (accounts/sapi/weights.py)
SAPI_IP_WEIGHT = env.int("SAPI_IP_WEIGHT", default=12000)  # per endpoint, address and caller
SAPI_UID_WEIGHT = env.int("SAPI_UID_WEIGHT", default=180000)  # per endpoint and account
API_WEIGHT = env.int("API_WEIGHT", default=6000)  # of /api/v3 together, per address
SAPI_FAILURES = env.int("SAPI_FAILURES", default=600)  # wrong keys and signatures, per address
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "accounts.api.access.Bearer",
        "accounts.api.access.Session",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["accounts.api.access.Member"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["accounts.api.wire.StrictJSON"],
    "DEFAULT_PAGINATION_CLASS": None,
    "EXCEPTION_HANDLER": "accounts.api.errors.answer",
    "DEFAULT_SCHEMA_CLASS": "accounts.api.schema.Described",
    "UNAUTHENTICATED_USER": None,
    "URL_FORMAT_OVERRIDE": None,  # "format" is no parameter of ours
    "COERCE_DECIMAL_TO_STRING": True,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Lombard",
    "DESCRIPTION": "What the exchange's dialect lacks: negotiation, groups, what-if, cures, statements, notices.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",  # its shapes are JSON Schema, so answers can be checked against them
    "SERVE_PUBLIC": True,
    "SERVE_PERMISSIONS": [],
    "SERVE_AUTHENTICATION": [],
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "POSTPROCESSING_HOOKS": [
        "accounts.api.schema.in_english"
    ],  # no others: choices stand where they are used: two fields of a name may have different ones
}

# -- The browser
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = LANGUAGE_COOKIE_SECURE = SECURE_SSL_REDIRECT = not INSECURE_HTTP
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_AGE = int(timedelta(hours=12).total_seconds())
SECURE_REDIRECT_EXEMPT = [r"^/*s?api/"]  # a program is told, not sent elsewhere with its key in the open
SECURE_HSTS_SECONDS = 0 if INSECURE_HTTP else int(timedelta(days=365).total_seconds())
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = not INSECURE_HTTP
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if BEHIND_PROXY else None
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [SELF, NONCE],
        "style-src": [SELF, NONCE],
        "img-src": [SELF, "data:"],
        "object-src": [NONE],
        "base-uri": [NONE],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}

STATIC_URL = "/static/"
STATICFILES_DIRS = [path for path in [BASE_DIR / "static"] if path.is_dir()]
# Files are served from where they are; an image build may set STATIC_ROOT and run collectstatic instead.
STATIC_ROOT = env.str("STATIC_ROOT", default=None)
WHITENOISE_USE_FINDERS = STATIC_ROOT is None
WHITENOISE_AUTOREFRESH = DEBUG
WHITENOISE_ALLOW_ALL_ORIGINS = False

# -- Jobs (the timetable is in config/celery.py)
CELERY_BROKER_URL = REDIS_URL
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# Longer than the longest task, or a message would be handed out again while its task still runs.
CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 900}
CELERY_VISIBILITY_TIMEOUT = 900
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
# The sweep holds the book in memory, so one process does nothing else (`celery -A config worker -Q watch -c 1`).
CELERY_TASK_ROUTES = {"loans.tasks.watch": {"queue": "watch"}}
CELERY_TASK_TIME_LIMIT = 300
CELERY_TASK_SOFT_TIME_LIMIT = 240
ACCRUAL_WORKERS = env.int("ACCRUAL_WORKERS", default=2)  # how many share one midnight; any worker may
CELERY_TASK_IGNORE_RESULT = True
CELERY_RESULT_EXPIRES = None  # no results, so no daily clean-up task either
CELERY_TASK_SERIALIZER = CELERY_RESULT_SERIALIZER = CELERY_EVENT_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TIMEZONE = "UTC"
CELERY_ENABLE_UTC = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"

# -- Logs: one line per event, plain for people, JSON for machines
_shared: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
]
_plain = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
LOG_FORMAT = env.str("LOG_FORMAT", default="plain" if INSECURE_HTTP else "json")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "()": structlog.stdlib.ProcessorFormatter,
            "foreign_pre_chain": _shared,
            "processors": [
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer() if LOG_FORMAT == "json" else _plain,
            ],
        }
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": env.str("LOG_LEVEL", default="INFO")},
    "loggers": {
        "django": {"handlers": [], "level": "INFO"},  # root prints it; Django's own handler would repeat it
        "celery.worker.strategy": {"level": "WARNING"},  # a line per received task, every five seconds
        "celery.app.trace": {"level": "WARNING"},
        "django_celery_beat": {"level": "WARNING"},
    },
}
structlog.configure(
    processors=[*_shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
    logger_factory=structlog.stdlib.LoggerFactory(),
    wrapper_class=structlog.stdlib.BoundLogger,
    cache_logger_on_first_use=True,
)
