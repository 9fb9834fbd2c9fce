"""The database backend of the alias `default` in an application: whoever's scope is open.

# Note [`default` means the tenant]
Ordinary Django code says `transaction.atomic()`, `on_commit()` and `from django.db import connection` without an alias,
and so do Django and most third-party apps. Routing the models alone would leave their transactions on another
connection than their rows. So in the process that serves an application the alias `default` is this backend, which
hands every question to the connection of the open scope, and the directory has an alias of its own, CONTROL_ALIAS.
"""

from __future__ import annotations

from typing import Any

from tenants.context import current_or_none
from tenants.isolation.connections import connection_of
from tenants.isolation.db import base


class DatabaseWrapper:
    """Stands for the connection of the open scope; without one, for a connection that refuses with NoTenant."""

    def __init__(self, settings_dict: dict[str, Any], alias: str) -> None:
        vars(self)["_unscoped"] = base.DatabaseWrapper(settings_dict, alias)

    def _meant(self) -> Any:
        context = current_or_none()
        return vars(self)["_unscoped"] if context is None else connection_of(context)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._meant(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._meant(), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._meant(), name)
