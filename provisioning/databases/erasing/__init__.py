"""How rows, schemas, databases and roles of a tenant go. What counts is elsewhere, in words of its own."""
