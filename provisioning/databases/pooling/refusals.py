"""Why the statements that cannot be pooled cannot be, by their class in PostgreSQL's grammar."""

_DATABASES_OWN = "Leave it out of the migrations: it belongs to the database, not to the application."
_NOT_YOURS = "Leave it out: rights in a pool are granted to what its checks have passed."

REFUSALS: dict[str, tuple[str, str]] = {
    "do_stmt": ("What a DO block does is only seen when it runs.", "Write the statements it would run, one by one."),
    "create_table_as_stmt": (
        "CREATE TABLE … AS and SELECT … INTO keep rows of whoever makes them, without a tenant.",
        "Make a table and fill it in a data migration, or make a view.",
    ),
    "truncate_stmt": ("TRUNCATE does not ask row security: it empties every tenant's table.", "Write DELETE FROM."),
    "transaction_stmt": (
        "A migration's transaction is opened and closed by who runs it.",
        "Leave BEGIN, COMMIT and ROLLBACK out.",
    ),
    "rule_stmt": ("A rule rewrites statements past the policies of the tables they name.", "Write a trigger."),
    "create_policy_stmt": ("A second policy would open what the pool's own closes.", "Leave it out."),
    "alter_policy_stmt": ("The pool's policy is not the application's.", "Leave it out."),
    "grant_stmt": ("Rights in a pool are not the application's.", _NOT_YOURS),
    "grant_role_stmt": ("Roles are not the application's.", _NOT_YOURS),
    "alter_default_privileges_stmt": ("Rights in a pool are not the application's.", _NOT_YOURS),
    "alter_owner_stmt": ("Everything of a pool has one owner.", "Leave it out."),
    "reassign_owned_stmt": ("Everything of a pool has one owner.", "Leave it out."),
    "drop_owned_stmt": ("Everything of a pool has one owner.", "Leave it out."),
    "create_role_stmt": ("Roles are not the application's.", _DATABASES_OWN),
    "alter_role_stmt": ("Roles are not the application's.", _DATABASES_OWN),
    "alter_role_set_stmt": ("Roles are not the application's.", _DATABASES_OWN),
    "drop_role_stmt": ("Roles are not the application's.", _DATABASES_OWN),
    "create_extension_stmt": (
        "An extension belongs to a database, which tenants share.",
        "Use what PostgreSQL brings itself, or have the extension installed in the clusters' databases beforehand.",
    ),
    "alter_extension_stmt": ("An extension belongs to a database, which tenants share.", _DATABASES_OWN),
    "create_event_trig_stmt": ("An event trigger watches a whole database.", _DATABASES_OWN),
    "alter_event_trig_stmt": ("An event trigger watches a whole database.", _DATABASES_OWN),
    "sec_label_stmt": ("Security labels are not the application's.", _DATABASES_OWN),
    "create_schema_stmt": ("A pool's application has one schema.", "Leave it out."),
    "alter_object_schema_stmt": ("A pool's application has one schema.", "Leave it out."),
    "create_publication_stmt": ("A publication would send every tenant's rows.", _DATABASES_OWN),
    "alter_publication_stmt": ("A publication would send every tenant's rows.", _DATABASES_OWN),
    "create_subscription_stmt": ("A subscription writes past row security.", _DATABASES_OWN),
    "create_foreign_server_stmt": ("A foreign server leads out of the pool.", _DATABASES_OWN),
    "create_foreign_table_stmt": ("A foreign table has no row security.", _DATABASES_OWN),
    "create_fdw_stmt": ("A foreign server leads out of the pool.", _DATABASES_OWN),
    "create_user_mapping_stmt": ("A foreign server leads out of the pool.", _DATABASES_OWN),
    "import_foreign_schema_stmt": ("A foreign table has no row security.", _DATABASES_OWN),
    "create_plang_stmt": ("Languages are not the application's.", _DATABASES_OWN),
    "load_stmt": ("Libraries are not the application's.", _DATABASES_OWN),
    "alter_system_stmt": ("The server's settings are not the application's.", _DATABASES_OWN),
    "alter_database_stmt": ("The database is not the application's.", _DATABASES_OWN),
    "alter_database_set_stmt": ("The database is not the application's.", _DATABASES_OWN),
    "vacuum_stmt": ("Autovacuum looks after a pool's tables.", "Leave it out."),
    "cluster_stmt": ("It would lock every tenant out while it rewrites.", "Leave it out."),
    "reindex_stmt": ("It would lock every tenant out while it rebuilds.", "Leave it out."),
}
UNKNOWN = ("It is not known to be safe in a pool.", "Leave it out of the migrations, or report that you need it.")
