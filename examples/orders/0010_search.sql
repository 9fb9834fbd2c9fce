-- tenure: not in a transaction
CREATE INDEX CONCURRENTLY product_name ON product (lower(name));
