-- tenure: not in a transaction
DROP INDEX CONCURRENTLY product_name;
