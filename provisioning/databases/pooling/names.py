"""The names PostgreSQL gives to what is left unnamed.

# Note [Names stay what they were]
A key that gains `tenant_id` in front would be named after it, `t_tenant_id_x_key`, and each later statement that says
`DROP CONSTRAINT t_x_key` would miss. So everything gets, explicitly, the name the plain schema gave it. The rules are
those of PostgreSQL 18: makeObjectName, ChooseRelationName, ChooseIndexName, ChooseIndexColumnNames and
FigureIndexColname.
"""

from collections.abc import Callable, Iterable, Sequence

from postgast import pg_query_pb2 as tree

from provisioning.databases.pooling.syntax import Node

LONGEST = 63  # bytes of a name: NAMEDATALEN - 1
_NAMED_FOR_THEMSELVES = {"coalesce_expr": "coalesce", "a_array_expr": "array", "row_expr": "row"}


class Names:
    """What is known of the schema: names of relations and constraints, asked for when the first is to be chosen.

    `empty` says that its tables hold no rows; `views` tells which relations are views.
    """

    def __init__(
        self, ask: Callable[[], Iterable[str]], *, empty: bool = False, views: Callable[[], Iterable[str]] = tuple
    ) -> None:
        self.empty = empty
        self._views, self._shown = views, set[str]()
        self._ask, self._asked = ask, False
        self._taken: set[str] = set()
        self._freed: set[str] = set()

    def show(self, name: str) -> None:
        self._shown.add(name)

    def is_view(self, name: str) -> bool:
        return name in self._shown or name in self._views()

    def free(self, name: str) -> None:
        self._taken.discard(name)
        self._freed.add(name)

    def take(self, name: str) -> str:
        self._taken.add(name)
        return name

    def choose(self, table: str, columns: Sequence[str], label: str) -> str:
        """The first free one of `table_columns_label`, `…label1`, `…label2`."""
        if not self._asked:
            self._taken.update(set(self._ask()) - self._freed)
            self._asked = True
        addition = addition_of(columns)
        tries = 0
        while (found := joined(table, addition, f"{label}{tries or ''}")) in self._taken:
            tries += 1
        return self.take(found)


def joined(table: str, columns: str, label: str) -> str:
    """`table_columns_label` in 63 bytes: the longer of the first two is shortened first, whole characters at a time."""
    first, second = table.encode(), columns.encode()
    room = LONGEST - len(label.encode()) - 1 - (1 if second else 0)
    one, two = len(first), len(second)
    while one + two > room:
        if one > two:
            one -= 1
        else:
            two -= 1
    parts = (_clipped(first, one), _clipped(second, two), label)
    return "_".join(part for part in parts if part)


def addition_of(columns: Sequence[str]) -> str:
    """Columns joined by underscores, as far as 64 bytes go."""
    made = b""
    for column in columns:
        made += (b"_" if made else b"") + column.encode()
        if len(made) > LONGEST:
            break
    return made.decode()


def columns_of(elements: Iterable[Node]) -> list[str]:
    """What the columns of an index, those it covers too, are called in its name."""
    return numbered(element.indexcolname or element.name or _name_of(element.expr) or "expr" for element in elements)


def numbered(originals: Iterable[str]) -> list[str]:
    """The same, equal ones told apart by a number."""
    found: list[str] = []
    for original in originals:
        name, tries = original, 0
        while name in found:
            tries += 1
            name = _clipped(original.encode(), min(len(original.encode()), LONGEST - len(str(tries)))) + str(tries)
        found.append(name)
    return found


def _clipped(name: bytes, length: int) -> str:
    return name[:length].decode(errors="ignore")


def _name_of(expression: Node) -> str:
    return _figured(expression)[0]


def _figured(expression: Node) -> tuple[str, int]:  # noqa: PLR0911  a table of cases
    """FigureColnameInternal: what PostgreSQL calls an expression, and how sure it is of that: 0, 1 or 2."""
    kind = expression.WhichOneof("node")
    match kind:
        case "column_ref":
            fields = [each.string.sval for each in expression.column_ref.fields if each.HasField("string")]
            return (fields[-1], 2) if fields else ("", 0)
        case "a_indirection":
            fields = [each.string.sval for each in expression.a_indirection.indirection if each.HasField("string")]
            return (fields[-1], 2) if fields else _figured(expression.a_indirection.arg)
        case "func_call":
            return expression.func_call.funcname[-1].string.sval, 2
        case "type_cast":
            found = _figured(expression.type_cast.arg)
            return found if found[1] > 1 else (expression.type_cast.type_name.names[-1].string.sval, 1)
        case "collate_clause":
            return _figured(expression.collate_clause.arg)
        case "case_expr":
            found = _figured(expression.case_expr.defresult)
            return found if found[1] > 1 else ("case", 1)
        case "min_max_expr":
            return ("greatest" if expression.min_max_expr.op == tree.IS_GREATEST else "least"), 2
        case "a_expr" if expression.a_expr.kind == tree.AEXPR_NULLIF:
            return "nullif", 2
        case str() if kind in _NAMED_FOR_THEMSELVES:
            return _NAMED_FOR_THEMSELVES[kind], 2
        case _:
            return "", 0
