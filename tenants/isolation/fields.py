"""Model fields whose values the database never sees: EncryptedTextField and EncryptedJSONField.

# Note [A value is encrypted for its row]
The tag covers the primary key, so only code that knows the row may write: `save()`, `create()`, `bulk_create()`. What
does not know it is refused before it reaches the database: `update(field="x")`, `bulk_update`, F expressions, fixtures,
an upsert that could land in a row with another key. Reading gives a `Ciphertext` until somebody asks the object for the
value: so a list costs nothing, a row whose key was destroyed can still be shown and deleted, and `values()`, which
knows no row, hands out something that opens only when it is told the row.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NoReturn, cast
from uuid import UUID

from django.core import checks
from django.db import models
from django.db.models.constants import OnConflict
from django.db.models.query_utils import DeferredAttribute

from tenants.errors import TenureError
from tenants.isolation import envelope
from tenants.isolation.envelope import Cell

if TYPE_CHECKING:
    Field = models.Field[Any, Any]
    TextField = models.TextField[Any, Any]
    JSONField = models.JSONField
else:  # Django's classes take no parameters
    Field, TextField, JSONField = models.Field, models.TextField, models.JSONField


class NotSearchable(TenureError):
    """The database holds only ciphertext of this field: it cannot compare, search or transform it."""

    code = "FIELD_NOT_SEARCHABLE"
    cure = "Filter by isnull only. For equality add a BlindIndexField(of=…) beside the field and filter by that."


class NotBoundToARow(TenureError):
    """A value can be encrypted only for a row whose primary key is known here."""

    code = "VALUE_NOT_BOUND_TO_A_ROW"
    cure = "Set the attribute and save() the object, or bulk_create() objects. update(field=None) is allowed."


class NotSerialisable(TenureError):
    """A serializer would write the plaintext of an encrypted field into its output."""

    code = "FIELD_NOT_SERIALISABLE"
    cure = "Leave the field out (fields=… or --exclude); the plaintext of one object is its attribute."


class Sealed(bytes):
    """A ciphertext made for exactly the row it is about to be written to."""

    __slots__ = ()


class Ciphertext:
    """An encrypted value as it was read, with the row it belongs to where that is known. It never turns into text."""

    __slots__ = ("field", "row", "value")

    def __init__(self, value: bytes, field: EncryptedField, row: UUID | None = None) -> None:
        self.value, self.field, self.row = value, field, row

    def opened(self, row: UUID | None = None) -> Any:
        """The value, of the row with this primary key: `entry["note"].opened(entry["id"])` after `values()`."""
        if (row := row or self.row) is None:
            raise NotBoundToARow("Say which row the value was read from: opened(pk).")
        return self.field.loads(envelope.decrypt(self.value, self.field.cell(row)).decode())

    def __repr__(self) -> str:
        return f"<Ciphertext of {self.field.name}>"

    def __str__(self) -> NoReturn:
        raise NotBoundToARow(
            "A ciphertext is no text.", cure="Read objects instead of values(), or call opened(pk) with the row's key."
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return _ciphertext, (self.value, self.field.model._meta.label, self.field.name, self.row)  # noqa: SLF001


def _ciphertext(value: bytes, label: str, name: str, row: UUID | None) -> Ciphertext:
    from django.apps import apps

    return Ciphertext(value, cast(EncryptedField, apps.get_model(label)._meta.get_field(name)), row)  # noqa: SLF001


class _Opening(DeferredAttribute):
    """Opens the value when it is first asked for, and remembers which row it was read with."""

    field: EncryptedField

    def __get__(self, instance: models.Model | None, owner: Any = None) -> Any:
        value = super().__get__(instance, owner)
        if instance is None or not isinstance(value, Ciphertext):
            return value
        value = value.opened(value.row or self.field.row_of(instance))
        instance.__dict__[self.field.attname] = value
        return value

    def __set__(self, instance: models.Model, value: Any) -> None:
        if isinstance(value, Ciphertext) and value.row is None:
            # A copy gets a new key before it is saved (`copy.pk = uuid4()`); the value is the old row's.
            value = Ciphertext(value.value, value.field, instance.__dict__.get(self.field.key.attname))
        instance.__dict__[self.field.attname] = value


class WrittenWithItsRow(Field):
    """What is written only together with its row, by `pre_save`. A column of bytes."""

    def get_internal_type(self) -> str:
        return "BinaryField"

    def get_db_prep_save(self, value: Any, connection: Any) -> Any:
        if value is None:
            return None
        if not isinstance(value, Sealed):
            raise NotBoundToARow(f"{self.model._meta.label}.{self.name} cannot be written without its row.")  # noqa: SLF001
        return connection.Database.Binary(bytes(value))

    def get_placeholder(self, _value: Any, _compiler: Any, _connection: Any) -> str:
        return "%s"

    def value_to_string(self, obj: models.Model) -> NoReturn:  # noqa: ARG002  Django's signature
        raise NotSerialisable(f"{self.model._meta.label}.{self.name} is encrypted.")  # noqa: SLF001


class EncryptedField(WrittenWithItsRow):
    """What the encrypted fields share. `bound_as`: table and column in the tag, for a model or field renamed since."""

    descriptor_class = _Opening

    def __init__(self, *args: Any, bound_as: tuple[str, str] | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self.bound_as = bound_as

    def deconstruct(self) -> tuple[str, str, Any, Any]:
        name, path, args, options = super().deconstruct()
        if self.bound_as is not None:
            options["bound_as"] = tuple(self.bound_as)
        return name, path, args, options

    @property
    def key(self) -> Field:
        """The primary key of the table that holds the column."""
        return self.model._meta.pk  # noqa: SLF001

    def cell(self, row: UUID) -> Cell:
        table, column = self.bound_as or (self.model._meta.db_table, str(self.column))  # noqa: SLF001
        return Cell(table, column, row)

    def row_of(self, instance: models.Model) -> UUID:
        row = self.key.to_python(getattr(instance, self.key.attname))
        if not isinstance(row, UUID):
            raise NotBoundToARow(f"This {type(instance).__name__} has no primary key yet.")
        return row

    def dumps(self, value: Any) -> str:
        raise NotImplementedError

    def loads(self, text: str) -> Any:
        raise NotImplementedError

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:  # noqa: FBT001, ARG002  Django's signature
        value = getattr(model_instance, self.attname)
        if value is None:
            return None
        if hasattr(value, "resolve_expression"):
            raise NotBoundToARow(f"{self.name} is set to an expression, which the database would compute.")
        return Sealed(envelope.encrypt(self.dumps(value).encode(), self.cell(self.row_of(model_instance))))

    def from_db_value(self, value: Any, _expression: Any, _connection: Any) -> Ciphertext | None:
        return None if value is None else Ciphertext(bytes(value), self)

    def get_placeholder(self, _value: Any, compiler: Any, _connection: Any) -> str:
        """Django asks with the statement at hand: an upsert may write into a row with another key than the object's."""
        query = compiler.query
        upserts = getattr(query, "on_conflict", None) is OnConflict.UPDATE and self in query.update_fields
        if upserts and [each.column for each in query.unique_fields] != [self.key.column]:
            raise NotBoundToARow(
                f"{self.model._meta.label}.{self.name} may be updated on conflict of the primary key alone.",  # noqa: SLF001
                cure="Leave the field out of update_fields, or use unique_fields=[the primary key].",
            )
        return "%s"

    def get_lookup(self, lookup: str) -> Any:
        if lookup != "isnull":
            raise NotSearchable(f"{self.name}__{lookup}: {self.model._meta.label}.{self.name} is encrypted.")  # noqa: SLF001
        return super().get_lookup(lookup)

    def get_transform(self, name: str) -> NoReturn:
        raise NotSearchable(f"{self.name}__{name}: {self.model._meta.label}.{self.name} is encrypted.")  # noqa: SLF001

    def check(self, **kwargs: Any) -> list[checks.CheckMessage]:
        found = [*super().check(**kwargs), *self._check_key()]
        indexed = self.db_index or self.name in _indexed(self.model)  # type: ignore[attr-defined]  # not in the stubs
        if self.primary_key or self.unique or indexed:
            hint = "Take it out; for equality and uniqueness use a BlindIndexField(of=…) in its place."
            found.append(error(self, "An encrypted field is in an index or constraint: no two values are equal.", hint))
        if self.has_db_default():
            found.append(error(self, "The database cannot make an encrypted default.", "Use default= instead."))
        return found

    def _check_key(self) -> list[checks.CheckMessage]:
        key = self.key
        while key.remote_field is not None:  # a child's key is its parent's
            key = cast("models.ForeignKey[Any, Any]", key).target_field
        if isinstance(key, models.UUIDField) and key.has_default() and not key.has_db_default():
            return []
        return [
            error(
                self,
                "The value is bound to its row's primary key, which here is not made before the INSERT.",
                "Give the model `id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)`.",
            )
        ]


class EncryptedTextField(EncryptedField, TextField):
    """Text of any length, encrypted under the tenant's data key. In Python, forms and REST serializers it is text."""

    def dumps(self, value: Any) -> str:
        return str(value)

    def loads(self, text: str) -> str:
        return text


class EncryptedJSONField(EncryptedField, JSONField):
    """A JSON value, encrypted as a whole under the tenant's data key. None is SQL's NULL."""

    def dumps(self, value: Any) -> str:
        return json.dumps(value, cls=self.encoder)

    def loads(self, text: str) -> Any:
        return json.loads(text, cls=self.decoder)


def _indexed(model: type[models.Model]) -> set[str]:
    """The fields in the indexes and constraints of a model, by name."""
    meta = model._meta  # noqa: SLF001
    together = [name for names in meta.unique_together for name in names]
    listed = [name for one in (*meta.indexes, *meta.constraints) for name in getattr(one, "fields", ())]
    return {str(name).lstrip("-") for name in (*together, *listed)}


def error(field: Field, says: str, hint: str) -> checks.Error:
    return checks.Error(says, hint=hint, obj=field, id="tenants.E013")
