"""CREATE INDEX.

# Note [Which indexes lead with the tenant]
Each B-tree does, or a look-up would read every tenant's part of it, and a unique one would tell of other tenants' rows.
The other kinds stay as they are: GIN, GiST, SP-GiST and hash have no equality of uuid without extensions, BRIN keeps
ranges of each column apart anyway. None of them can be unique, so they only make something faster. Inside row security
PostgreSQL uses an index of theirs only where the operator is leakproof; a query that is not goes by the tenant's
B-tree and looks at that tenant's rows.
"""

from collections.abc import Iterator

from postgast import pg_query_pb2 as tree

from provisioning.databases.pooling.boundary import SHARED_TABLES, TENANT_ID
from provisioning.databases.pooling.constraints import refuse_own
from provisioning.databases.pooling.names import Names, columns_of
from provisioning.databases.pooling.syntax import Statement, written

_AS_THEY_STAND = frozenset({"gin", "gist", "spgist", "hash", "brin"})


def indexed(statement: Statement, taken: Names) -> Iterator[str]:
    made = tree.IndexStmt()
    made.CopyFrom(statement.node)
    if made.relation.relname in SHARED_TABLES:
        yield statement.text
        return
    if taken.is_view(made.relation.relname):
        return  # see Note [A pool keeps no copies of rows]
    if made.table_space:
        raise statement.refuse("Where a pool keeps its indexes is not the application's.", "Leave TABLESPACE out.")
    elements = [each.index_elem for each in (*made.index_params, *made.index_including_params)]
    refuse_own(statement, (each.name for each in elements))
    named = bool(made.idxname)
    if not named:
        made.idxname = taken.choose(made.relation.relname, columns_of(elements), "idx")
    taken.take(made.idxname)
    if made.access_method in _AS_THEY_STAND:
        yield statement.text if named else written(statement, made)
        return
    if made.access_method != "btree":
        raise statement.refuse(f"The index method {made.access_method} needs an extension.", "Use a B-tree.")
    tenant = tree.IndexElem(name=TENANT_ID, ordering=tree.SORTBY_DEFAULT, nulls_ordering=tree.SORTBY_NULLS_DEFAULT)
    made.index_params.insert(0, tree.Node(index_elem=tenant))
    yield written(statement, made)
