"""What the live catalog holds of one person: rows by their table's word, and identifiers wherever else they turn up.

Which rows are the person's is told by the classification, as for the eraser. What that misses is found by the search:
it knows nothing of classifications and looks at every column that can hold words, sealed ones after opening them.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, time

from provisioning.databases import vantage
from provisioning.databases.erasing.people import Person, Search
from provisioning.erasure.persons import HOLD_ROWS, HeldRows, home_of, person_of, policies_of
from provisioning.erasure.stores import Coverage, Scope, Tally
from tenants.classification import Blank, OfPeople, Retain
from tenants.findings import Finding, Severity
from tenants.states import Tier

# The planner keeps values of rows that are gone. A verifier is past row security, and is shown them.
_REMEMBERED = """
    SELECT tablename, count(*) FROM (
        SELECT tablename::text, s::text FROM pg_stats AS s WHERE schemaname = %(schema)s
        UNION ALL SELECT tablename::text, s::text FROM pg_stats_ext AS s WHERE schemaname = %(schema)s
    ) AS kept (tablename, said)
    WHERE EXISTS (SELECT FROM unnest(%(needles)s::text[]) AS n WHERE strpos(lower(said), n) > 0) GROUP BY 1 ORDER BY 1
"""


def coverage(scope: Scope, tier: Tier, role: str) -> Coverage:
    """Each table of the tenant's schema has a word, or is known to nobody."""
    with _search(scope, tier, role) as search:
        if search is None:
            return Coverage()
        known = [name for name, table in search.tables.items() if name in search.policies or table.is_copy]
        unknown = [name for name in search.tables if name not in known]
        return Coverage(tuple(map(_in(search), known)), (), tuple(map(_in(search), unknown)))


def blockers(scope: Scope, tier: Tier, role: str) -> Iterator[Finding]:
    """Rows that would stay and refer to rows that would go: the server would refuse. Columns nobody thought of."""
    with _search(scope, tier, role) as search:
        if search is None:
            return
        spared = {_in(search)(table) for table, word in search.policies.items() if isinstance(word, HeldRows)}
        for hold in scope.held:
            if hold.store in HOLD_ROWS and hold.locator not in spared:
                message = f"{hold.locator} is held, and is no table that holds something of people."
                hint = "Release it, and hold a table that the plan names: no column, no statistics."
                yield Finding("HELD_AND_NOT_SPARED", Severity.ERROR, hold.locator, message, hint)
        for table, column in _forgotten(search):
            message = f"Rows of {table} stay, and nothing says what becomes of {column}, which could hold words."
            hint = f"Name {column} in the `columns` or the `keeps` of {table} in personal_data.py."
            yield Finding("COLUMN_WITHOUT_WORD", Severity.ERROR, f"{table}.{column}", message, hint)
        for each in search.barred(search.rows_of(person_of(scope))):
            columns = ", ".join(own for own, _other in each.pairs)
            message = f"{each.referring} refers to rows of {each.referred} that are to go, and would stay as it is."
            hint = f"Classify it as Delete, blank {columns}, or keep {each.referred} as well."
            yield Finding("REFERS_TO_ERASED", Severity.ERROR, each.referring, message, hint)


def count(scope: Scope, tier: Tier, role: str) -> tuple[Tally, ...]:
    """The person's rows by table, and by `table.column` the other rows in which an identifier stands."""
    found, speaking = list[Tally](), set[str]()
    with _search(scope, tier, role) as search:
        if search is None:
            return ()
        person, name = person_of(scope), _in(search)
        rows = search.rows_of(person)
        for table in search.tables:
            word = search.policies.get(table)
            told = set(rows.found.get(table, ()) if isinstance(word, Retain) else rows.open.get(table, ()))
            if isinstance(word, OfPeople):
                found.append(_tally(name(table), word, len(told)))
            hits = search.hits(table, person.needles)
            if told or hits:
                speaking.add(table)
            for column, holding in hits.items():
                if left := holding - told:  # of a copy too: it is right again when it was refreshed
                    found.append(Tally(f"{name(table)}.{column}", len(left)))
            if search.unreadable(table):
                found.append(Tally(name(table), None, quality="unknown"))
        found += [Tally(f"{name(table)} statistics", n) for table, n in _remembered(search, person, speaking)]
    return tuple(found)


def _remembered(search: Search, person: Person, speaking: set[str]) -> list[tuple[str, int]]:
    """Tables that hold nothing of the person any more, and of which the planner still remembers a value.

    Not in a pool: there the value may be a neighbour's, who knows the same person.
    """
    if search.context.tier == Tier.POOL:
        return []
    given = {"schema": search.context.schema, "needles": list(person.needles)}
    rows = vantage.ask(search.connection, _REMEMBERED, given)
    return [(str(table), int(number)) for table, number in rows if table not in speaking]


def _forgotten(search: Search) -> Iterator[tuple[str, str]]:
    for table, word in search.policies.items():
        if table in search.tables and isinstance(word, (Blank, Retain)) and not isinstance(word, HeldRows):
            blanked = word.columns if isinstance(word, Blank) else ()
            for column in search.tables[table].wordy:
                if search.tables[table].columns[column] != "id" and column not in {*blanked, *word.keeps}:
                    yield table, column


@contextmanager
def _search(scope: Scope, tier: Tier, role: str) -> Iterator[Search | None]:
    if (place := home_of(scope, tier)) is None:
        yield None
        return
    with vantage.standing(place.cluster, database=place.database, role=role) as connection:
        yield Search.through(connection, place.context, policies_of(scope, place))


def _in(search: Search) -> Callable[[str], str]:
    """How a table of the tenant's is named in a tally."""
    where = f"{search.context.cluster}:{search.context.database}/{search.context.schema}"
    return lambda table: f"{where}.{table}"


def _tally(locator: str, word: OfPeople, n: int) -> Tally:
    match word:
        case Retain(ground=ground, until=until):
            at = None if until is None else datetime.combine(until, time.max, UTC)
            return Tally(locator, n, action="retain", ground=ground, until=at)
        case Blank():
            return Tally(locator, n, action="blank")
        case _:
            return Tally(locator, n)
