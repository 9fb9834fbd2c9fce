from provisioning.errors import Permanent


class CannotPool(Permanent):
    """A statement of the tenant application cannot be run in tables that tenants share.

    `statement` is its text, `reason` a sentence that says why, `instead` a sentence that says what to write.
    """

    code = "CANNOT_POOL"
    cure = "Change the migration as the message says, or place its tenants in the schema or database tier."

    def __init__(self, statement: str, reason: str, instead: str) -> None:
        self.statement, self.reason, self.instead = statement, reason, instead
        shown = " ".join(statement.split())
        super().__init__(
            f"{reason} {instead} In: {shown[:300]}{'…' if len(shown) > 300 else ''}",  # noqa: PLR2004  one screen line or two
            reason=reason,
            instead=instead,
        )
