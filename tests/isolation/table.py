"""The table of attacks: one row each. What a row does is in the file of its layer."""

from tests.isolation import contexts, made_by_owner, rows
from tests.isolation.arena import POOLED, Place
from tests.isolation.attack import Attack
from tests.isolation.rows import sees_own, writes_own

DATABASE = (
    Attack("AT-01", "a query without a scope", rows.without_scope, sees_own),
    Attack("AT-02", "globex's rows by tenant and by key", rows.by_name, sees_own, POOLED),
    Attack("AT-03", "rows written as globex's", rows.put_there, writes_own, POOLED),
    Attack("AT-04", "globex's rows changed", rows.change_there, writes_own, POOLED),
    Attack("AT-05", "what is unique to globex", rows.ask_uniqueness, rows.hears_own_unique, POOLED),
    Attack("AT-06", "a child of globex's parent", rows.hang_on_theirs, rows.hangs_on_own, POOLED),
    Attack("AT-07", "a parent of the same id deleted", rows.delete_same_id, writes_own, POOLED),
    Attack("AT-08", "a partition's leaf", made_by_owner.read_leaf, sees_own, POOLED, made_by_owner.beside),
    Attack("AT-09", "views and functions", made_by_owner.look_through, sees_own, POOLED, made_by_owner.beside),
    Attack("AT-10", "TRUNCATE and COPY", rows.in_bulk, writes_own),
    Attack("AT-11", "row security switched off", rows.switch_off, sees_own, POOLED),
    Attack("AT-12", "errors that tell of rows", rows.by_errors, rows.hears_own_error, POOLED),
    Attack("AT-13", "no context, or a spoilt one", contexts.spoil, sees_own, POOLED),
    Attack("AT-14", "globex's name in acme's seal", contexts.edit, sees_own, POOLED),
    Attack("AT-15", "a seal of globex's replayed", contexts.replay, sees_own, POOLED),
    Attack("AT-16", "the context changed by a running statement", contexts.while_it_runs, sees_own, POOLED),
    Attack("AT-17", "another role", contexts.other_roles, contexts.sees_who),
    Attack("AT-18", "tickets edited, forged, expired", contexts.forge, contexts.enters_again, POOLED),
    Attack("AT-19", "the guard's own tables and functions", contexts.steal_keys, sees_own, POOLED),
    Attack("AT-27", "globex's schema", rows.reach_schema, sees_own, frozenset({Place.SCHEMA})),
    Attack("AT-29", "other databases", rows.other_databases, rows.connects),
    Attack("AT-32", "work behind a closed door", contexts.at_closed_door, sees_own, POOLED),
    Attack("AT-33", "the owner's migration of everybody's rows", contexts.migrate_all, contexts.migrates_one, POOLED),
)

ATTACKS: tuple[Attack, ...] = (*DATABASE,)
