"""Lay a release out on a cluster: a template database, so that the database tier is one file copy."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import psycopg
from django.db.models.functions import Now
from psycopg import sql

from provisioning.databases import ddl
from provisioning.databases.fingerprint import difference, fingerprint, shape
from provisioning.databases.replay import replay
from provisioning.databases.servers import (
    Connection,
    ServerRefused,
    ServerUnavailable,
    connect,
    run,
    server_errors,
)
from provisioning.errors import Permanent, Transient
from provisioning.models import ClusterRelease, Release
from tenants.models import Cluster

FORMER_KEPT = 1  # templates beside the current one: operations that began before it was published may still copy them


class BeingLaidOut(Transient):
    """Another process is laying this release out on the same cluster."""

    code = "RELEASE_BEING_LAID_OUT"


class TemplateGone(Transient):
    """The release's template database is no longer on the cluster. It is made again before the next try."""

    code = "TEMPLATE_GONE"


class CopyDiffers(Permanent):
    """A copy of the release does not have the release's shape."""

    code = "RELEASE_COPY_DIFFERS"
    cure = "The server writes the definition back in another form than it was made in. Report it with the message."


def template_name(release: Release) -> str:
    return f"tpl_{release.id.hex}"


def ensure(release: Release, cluster: Cluster) -> str:
    """The name of the release's template database on the cluster, laid out now if it is not there yet."""
    ready = ClusterRelease.objects.filter(release=release, cluster=cluster, ready_at__isnull=False)
    return template_name(release) if ready.exists() else lay_out(release, cluster)


@contextmanager
def template_of(release: Release, cluster: Cluster) -> Iterator[str]:
    """The name to copy from, inside. Raises TemplateGone when the server does not know it: a restored cluster, say."""
    try:
        yield ensure(release, cluster)
    except (ServerUnavailable, ServerRefused) as error:
        if error.metadata["sqlstate"] != psycopg.errors.InvalidCatalogName.sqlstate:
            raise
        ClusterRelease.objects.filter(release=release, cluster=cluster).update(ready_at=None)
        raise TemplateGone from error


def lay_out(release: Release, cluster: Cluster) -> str:
    """Make the template database, check its shape, and say so in a ClusterRelease. Safe to run again and after a kill.

    Raises BeingLaidOut, CopyDiffers, ServerUnavailable or ServerRefused.
    """
    name = template_name(release)
    with server_errors(cluster.name), connect(cluster) as connection, sole(connection, name, busy=BeingLaidOut):
        if not _is_template(connection, name):
            run(connection, ddl.drop_database(name))  # what a killed layout left
            _create_empty(connection, name)
            with ExitStack() as undo:
                undo.callback(run, connection, ddl.drop_database(name))
                with connect(cluster, database=name) as inside:
                    _fill(inside, release)
                run(connection, ddl.seal_template(name))
                undo.pop_all()
    ClusterRelease.objects.update_or_create(
        release=release, cluster=cluster, defaults={"template": name, "ready_at": Now()}
    )
    return name


def retire(cluster: Cluster) -> None:
    """Drop the templates of releases before the former one. Whoever needs one after all has it laid out again."""
    newest_first = ClusterRelease.objects.filter(cluster=cluster).order_by("-release__created_at")
    with server_errors(cluster.name), connect(cluster) as connection:
        for laid_out in newest_first.exclude(release__current=True)[FORMER_KEPT:]:
            laid_out.delete()  # first: a template without its row is made anew, a row without its template misleads
            if _is_template(connection, laid_out.template):
                run(connection, ddl.unseal_template(laid_out.template))
            run(connection, ddl.drop_database(laid_out.template))


@contextmanager
def sole(connection: Connection, what: str, *, busy: type[Transient]) -> Iterator[None]:
    """Hold a lock on a name on this connection; it dies with its holder. Raises `busy` while another holds it."""
    ((held,),) = run(connection, "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", what)
    if not held:
        raise busy
    try:
        yield
    finally:
        if not connection.closed:
            run(connection, "SELECT pg_advisory_unlock(hashtextextended(%s, 0))", what)


def create_like_shared(connection: Connection, name: str, *, owner: str) -> None:
    """An empty database that sorts like the one we are connected to, so that a tenant sees one order in every tier.

    From template0, which nobody can have written to. Closed to PUBLIC at once.
    """
    ((encoding, provider, collate, ctype, locale),) = run(
        connection,
        "SELECT pg_encoding_to_char(encoding), datlocprovider, datcollate, datctype, datlocale"
        " FROM pg_database WHERE datname = current_database()",
    )
    word, locale_word = {"c": ("libc", None), "i": ("icu", "ICU_LOCALE"), "b": ("builtin", "BUILTIN_LOCALE")}[provider]
    options = [
        sql.SQL("OWNER {} TEMPLATE template0 STRATEGY wal_log").format(sql.Identifier(owner)),
        sql.SQL("ENCODING {} LOCALE_PROVIDER {}").format(sql.Literal(encoding), sql.SQL(word)),
        sql.SQL("LC_COLLATE {} LC_CTYPE {}").format(sql.Literal(collate), sql.Literal(ctype)),
    ]
    if locale_word:
        options.append(sql.SQL("{} {}").format(sql.SQL(locale_word), sql.Literal(locale)))
    run(connection, sql.SQL("CREATE DATABASE {} ").format(sql.Identifier(name)) + sql.SQL(" ").join(options))
    run(connection, ddl.close_database(name))


def _is_template(connection: Connection, name: str) -> bool:
    """Marked as the last act of laying out: without the mark it is unfinished."""
    return bool(run(connection, "SELECT 1 FROM pg_database WHERE datname = %s AND datistemplate", name))


def _create_empty(connection: Connection, name: str) -> None:
    try:
        create_like_shared(connection, name, owner=ddl.OWNER)
    except psycopg.errors.DuplicateDatabase as error:  # two clusters that are one server: the lock is per database
        raise BeingLaidOut from error


def _fill(connection: Connection, release: Release) -> None:
    with connection.transaction():
        run(connection, ddl.prepare_database())
        replay(connection, release, ddl.DEDICATED_SCHEMA)
        if fingerprint(connection, ddl.DEDICATED_SCHEMA) != release.fingerprint:
            lines = difference(release.shape, shape(connection, ddl.DEDICATED_SCHEMA))
            raise CopyDiffers(f"Release {release.name} changes when it is copied: {'; '.join(lines[:5])}")
    run(connection, "ANALYZE")  # copies begin with statistics; VACUUM would add two files a table to each of them
