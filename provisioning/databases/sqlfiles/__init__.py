"""A tenant application that is a folder of SQL files: read, compared with what was published, and run.

# Note [Files are migrations]
A file is a migration of one app, `sql`, and is recorded in the schema's own `django_migrations`, which has the shape
that Django gives it. So whatever is done with a release afterwards (copies, pools, paths, rollouts) cannot tell who
migrated it. A release keeps the text of its files: a path between two older ones needs no folder.
"""

from provisioning.databases.sqlfiles.folder import SqlFile, read
from provisioning.databases.sqlfiles.history import forget_refused, refuse_rewritten
from provisioning.databases.sqlfiles.running import APP, record, walk

__all__ = ["APP", "SqlFile", "forget_refused", "read", "record", "refuse_rewritten", "walk"]
