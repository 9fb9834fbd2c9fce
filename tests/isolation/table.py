"""The table of attacks: one row each. What a row does is in the file of its layer."""

from tests.isolation import contexts, files, kept, made_by_owner, rows, sessions, web
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
    Attack("AT-14", "globex's name in acme's context", contexts.edit, sees_own, POOLED),
    Attack("AT-15", "a context of globex's replayed", contexts.replay, sees_own, POOLED),
    Attack("AT-16", "the context changed by a running statement", contexts.while_it_runs, sees_own, POOLED),
    Attack("AT-17", "another role", contexts.other_roles, contexts.sees_who),
    Attack("AT-18", "tickets edited, forged, expired", contexts.forge, contexts.enters_again, POOLED),
    Attack("AT-19", "the guard's own tables and functions", contexts.steal_keys, sees_own, POOLED),
    Attack("AT-27", "globex's schema", rows.reach_schema, sees_own, frozenset({Place.SCHEMA})),
    Attack("AT-29", "other databases", rows.other_databases, rows.connects),
    Attack("AT-32", "work behind a closed door", contexts.at_closed_door, sees_own, POOLED),
    Attack("AT-33", "the owner's migration of everybody's rows", contexts.migrate_all, contexts.migrates_one, POOLED),
)

ONE_ROLE = frozenset({Place.POOL})  # shared by the tenants of the pool, and so are its sessions
SESSION = (
    Attack("AT-20", "a temporary table of the same name", sessions.shadow, writes_own),
    Attack("AT-21", "statements prepared for globex", sessions.prepare, sessions.prepares, ONE_ROLE),
    Attack("AT-22", "a cursor that globex held", sessions.fetch_held, sessions.holds, ONE_ROLE),
    Attack("AT-23", "statements of other sessions", sessions.overhear, sees_own),
    Attack("AT-24", "large objects", sessions.read_large_object, sees_own, ONE_ROLE, sessions.large_object),
    Attack("AT-25", "its role's own settings", sessions.change_role, sees_own, ONE_ROLE, sessions.role_restored),
    Attack("AT-28", "names that are more than names", sessions.bad_names, sessions.takes_a_name),
    Attack("AT-30", "a thread without a scope", sessions.stray, sessions.has_a_thread),
    Attack("AT-31", "globex's scope in acme's transaction", sessions.cross, sessions.keeps_its_block),
)
ONCE = frozenset({Place.POOL})  # what is the installation's, not a place's
KEPT = (
    Attack("AT-50", "globex's cache entries by their keys", kept.guess_keys, kept.keeps_own, given=kept.stored),
    Attack("AT-51", "clear() and a cache without a scope", kept.clear_all, kept.keeps_own, given=kept.stored),
    Attack("AT-52", "pages and parts kept for both", kept.share_pages, kept.keeps_own, given=kept.stored),
    Attack("AT-60", "globex's files", files.reach_files, files.reads_own),
    Attack("AT-61", "names that lead out", files.misname, files.reads_own, given=files.tidied),
    Attack("AT-62", "links bent to globex's files", files.bend_links, files.link_opens),
    Attack("AT-63", "a session that asks for more", files.ask_for_more, files.reads_own),
    Attack("AT-80", "encrypted values moved", kept.move_values, kept.opens_own, given=kept.vaulted),
    Attack("AT-83", "a blind index compared", kept.compare_indexes, kept.finds_own, given=kept.vaulted),
    Attack("AT-90", "globex quoted in acme's log", kept.quote_in_log, kept.logs_own),
    Attack("AT-93", "the audit log rewritten", kept.rewrite_audit, kept.reads_audit, ONCE),
)
WEB = (
    Attack("AT-40", "forged tokens", web.forge_tokens, web.enters),
    Attack("AT-41", "tokens that bring their key", web.bring_keys, web.enters),
    Attack("AT-42", "acme's token at other hosts", web.elsewhere, web.enters),
    Attack("AT-43", "tokens that outlive", web.outlive, web.enters, given=web.restored),
    Attack("AT-46", "cookies of another host", web.carry_cookies, web.cookies_count),
)

ATTACKS: tuple[Attack, ...] = (*DATABASE, *SESSION, *WEB, *KEPT)
