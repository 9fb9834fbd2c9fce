"""A column in which the rows of one encrypted text can be found again."""

from __future__ import annotations

from typing import Any, ClassVar, cast

from django.core import checks
from django.db import models
from django.db.models.signals import pre_save

from tenants.isolation import envelope
from tenants.isolation.fields import EncryptedField, NotBoundToARow, NotSearchable, Sealed, WrittenWithItsRow, error


class BlindIndexField(WrittenWithItsRow):
    """Finds the rows in which the encrypted field `of` equals a text, and nothing else: no order, no parts of it.

    Kept up to date by each save. It may be unique and in constraints. Whoever reads the table learns which rows of a
    tenant hold equal values; with few possible values (a gender, a postcode) that says much.
    """

    searches: ClassVar = ("exact", "in", "isnull")

    def __init__(self, *args: Any, of: str, **options: Any) -> None:
        super().__init__(*args, **{"db_index": True, "null": True, "editable": False, **options})
        self.of = of

    def deconstruct(self) -> tuple[str, str, Any, Any]:
        name, path, args, options = super().deconstruct()
        indexed: bool = self.db_index  # type: ignore[attr-defined]  # not in the stubs
        return name, path, args, {**options, "of": self.of, "db_index": indexed, "null": self.null}

    def contribute_to_class(self, cls: type[models.Model], name: str, private_only: bool = False) -> None:  # noqa: FBT001, FBT002
        super().contribute_to_class(cls, name, private_only)
        pre_save.connect(self._refuse_half, sender=cls)

    def _refuse_half(self, update_fields: frozenset[str] | None, **_options: Any) -> None:
        """An index that is not saved with its value would go on finding the former one."""
        if update_fields is not None and self.of in update_fields and self.name not in update_fields:
            raise NotBoundToARow(
                f"save(update_fields=…) names {self.of} and not its blind index {self.name}.", cure="Name both."
            )

    @property
    def source(self) -> EncryptedField:
        return cast(EncryptedField, self.model._meta.get_field(self.of))  # noqa: SLF001

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:  # noqa: FBT001, ARG002  Django's signature
        value = getattr(model_instance, self.of)
        return None if value is None else Sealed(self._index(value))

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:  # noqa: FBT001, FBT002, ARG002
        """Of a lookup: the text that is looked for becomes what stands for it in the column."""
        if value is None or hasattr(value, "as_sql"):
            return value
        return connection.Database.Binary(value if isinstance(value, Sealed) else self._index(value))

    def get_lookup(self, lookup: str) -> Any:
        if lookup not in self.searches:
            raise NotSearchable(f"{self.name}__{lookup}: a blind index knows equality alone.", cure="Use exact or in.")
        return super().get_lookup(lookup)

    def check(self, **kwargs: Any) -> list[checks.CheckMessage]:
        found = super().check(**kwargs)
        names = {field.name for field in self.model._meta.fields if isinstance(field, EncryptedField)}  # noqa: SLF001
        if self.of not in names:
            hint = f"Name one of: {', '.join(sorted(names)) or '(the model has none)'}."
            found.append(error(self, f"There is no encrypted field {self.of!r} to index.", hint))
        return found

    def _index(self, value: Any) -> bytes:
        source = self.source
        table, column = source.bound_as or (source.model._meta.db_table, str(source.column))  # noqa: SLF001
        return envelope.blind_index(source.dumps(value).encode(), table, column)
