"""The system checks of the isolation kit: `manage.py check --tag security` finds each seam that is set up wrongly.

CHECKS names them all but two. `tenants.E013` (an encrypted field on a model that cannot bear it) is a check of the
field itself, see `fields.py`: Django asks every field. `tenants.W010` is about the control plane's own roles, see
`grants.py`. An application serves tenants, the control plane makes them: there only what holds for both is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Tags, register

from tenants.isolation.checks import databases, seams, secrets, source, tasks
from tenants.isolation.grants import check_roles_apart

Check = Callable[..., Iterable[CheckMessage]]

EVERYWHERE: tuple[Check, ...] = (
    seams.caches_name_the_tenant,  # E005
    seams.files_are_tenants,  # E006
    seams.handlers_are_stamped,  # E010
    secrets.secrets_are_apart,  # E011
    seams.tokens_are_told_apart,  # E014
    databases.each_model_has_one_home,  # E015
    source.nothing_is_kept_for_all,  # W001
    seams.django_is_recent,  # W003
)
APPLICATION: tuple[Check, ...] = (
    databases.default_is_the_tenant,  # E001
    databases.roles_are_plain,  # E002
    databases.connections_are_the_kits,  # E003
    databases.requests_have_a_transaction_where_they_have_a_tenant,  # E004
    tasks.tasks_are_tenants,  # E007
    tasks.tasks_are_json,  # E008
    seams.host_comes_first,  # E009
    secrets.somebody_can_be_asked,  # E012
    seams.cookies_stay_at_their_host,  # W002
)
CHECKS = (*EVERYWHERE, *APPLICATION)


def register_checks() -> None:
    """Called once, when the app is ready."""
    if "owner" in settings.DATABASES:
        register(check_roles_apart, Tags.security)
    for each in EVERYWHERE if apps.is_installed("provisioning") else CHECKS:
        register(_listed(each), Tags.security)


def _listed(check: Check) -> Callable[..., list[CheckMessage]]:
    """Django wants a list."""

    def listed(**options: Any) -> list[CheckMessage]:
        return list(check(**options))

    listed.__name__ = listed.__qualname__ = check.__name__
    return listed
