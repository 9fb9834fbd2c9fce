"""The backend of pools without a signature: it tells the server a bare setting, which a policy believes.

No boundary: whoever can run a statement can say another name. It is here to be measured.
"""

from __future__ import annotations

from typing import Any

import psycopg

from tenants.isolation.db.pooled import base

TELL = b"SELECT set_config('search_path', $1, true), set_config('bench.tenant', $2, true)"


class DatabaseWrapper(base.DatabaseWrapper):
    def get_new_connection(self, conn_params: dict[str, Any]) -> psycopg.Connection:
        connection = super().get_new_connection(conn_params)
        self._enter = TELL
        return connection

    def _parameters(self) -> tuple[bytes, ...]:
        return super()._parameters()[0::2][:2]
