"""What Hordak asks a project to say."""

DEFAULT_CURRENCY = "EUR"
CURRENCIES = ["EUR", "USD"]
HORDAK_INTERNAL_CURRENCY = "EUR"
