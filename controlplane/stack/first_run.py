"""What stands between running servers and a control plane that can take its first order. Safe to run at every start."""

import os
import secrets
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connections, transaction
from django.utils import timezone

from controlplane.keys import MOST_DAYS, WIDEST, key_of, make_key
from controlplane.models import ApiKey, Scope
from controlplane.stack.files import write_private
from tenants import audit
from tenants.audit import Actor, AuditAction, Entry, ObjectType
from tenants.isolation.grants import grant_runtime
from tenants.models import Plan
from tenants.states import Tier

OPERATOR = "ops"
SETUP = Actor(kind="system", id="setup", name="first run")
REGION = "local"
LOOPBACK = {"127.0.0.1", "localhost", "::1"}
RENEW_BEFORE = timedelta(days=90)
EXAMPLE = """curl {api}/api/v1/tenants -H 'Authorization: Bearer {token}' \\
               -H 'Idempotency-Key: my-first-workspace' -H 'Content-Type: application/json' \\
               -d '{{"slug": "acme", "name": "Acme", "plan": "standard"}}'"""
PLANS = {
    "pool": (Tier.POOL, "Rows in tables it shares with others, kept apart by the database."),
    "standard": (Tier.SCHEMA, "A schema of its own in a shared database."),
    "dedicated": (Tier.DATABASE, "A database of its own."),
}


def set_up(say: Callable[[str], None]) -> str:
    """Take every step that is still open; `say` hears of each. Returns what is shown once: the first run's secrets."""
    say("control database: migrating")
    call_command("migrate", database="owner", verbosity=0)
    say("keyring: migrating")
    call_command("migrate", database="keyring_owner", verbosity=0)
    for owner in ("owner", "keyring_owner"):
        grant_runtime(connections[owner])
    if url := os.environ.get("CLUSTER_URL"):
        name = "embedded" if urlsplit(url).hostname in LOOPBACK else "main"
        say(f"cluster {name}: checking and registering")
        call_command("register_cluster", name, region=REGION, verbosity=0)
    make_plans()
    say("tenant application: publishing its release")
    call_command("publish_release", verbosity=0)
    shown_once = first_secrets()
    if path := os.environ.get("TENURE_APPLICATION_KEY_FILE"):
        keep_application_key(Path(path))
    return shown_once


def make_plans() -> None:
    """A plan for each tier to begin with; whoever has any keeps their own."""
    if Plan.objects.exists():
        return
    with transaction.atomic():
        made = Plan.objects.bulk_create(
            Plan(
                name=name,
                tier=tier,
                description=description,
                bucket_mode=Plan.BucketMode.PREFIX if tier == Tier.POOL else Plan.BucketMode.OWN,
            )
            for name, (tier, description) in PLANS.items()
        )
        audit.write_together(
            Entry(AuditAction.PLAN_CREATED, actor=SETUP, object=(ObjectType.PLAN, plan.pk)) for plan in made
        )


def first_secrets() -> str:
    """An operator's password and a key of the API, made where there is none yet, as text to show; else nothing."""
    lines = []
    if not get_user_model().objects.exists():
        password = secrets.token_urlsafe(15)
        with transaction.atomic():
            user = get_user_model().objects.create_superuser(username=OPERATOR, password=password)
            audit.write(AuditAction.USER_CREATED, actor=SETUP, object=(ObjectType.USER, user.pk))
        lines += [f"  Sign in    {OPERATOR} / {password}"]
    if not ApiKey.objects.exists():
        key = make_key(principal=OPERATOR, name="first run", scopes=WIDEST, actor=SETUP)
        lines += [f"  API key    {key.token}", "  Try it     " + EXAMPLE.format(api=_api(), token=key.token)]
    if not lines:
        return ""
    return "\n".join(("Made on this first run, and shown only now:", *lines, "", ""))


def keep_application_key(path: Path) -> None:
    """A key for the example application, in a file that its supervisor reads. A new one well before the end of the old.

    It may hand out tenants' credentials and nothing else: with them the application works as each tenant.
    """
    key = key_of(path.read_text()) if path.exists() else None
    if key is not None and key.expires_at > timezone.now() + RENEW_BEFORE:
        return
    made = make_key(
        principal="example application",
        name="example application",
        scopes=[Scope.TENANTS_CREDENTIALS, Scope.TENANTS_KEYS],
        actor=SETUP,
        days=MOST_DAYS,
        writes_per_minute=6_000,  # several processes, each of which asks once in some minutes for each tenant
    )
    write_private(path, made.token)


def _api() -> str:
    return os.environ.get("TENURE_API_URL", "http://localhost:8000")
