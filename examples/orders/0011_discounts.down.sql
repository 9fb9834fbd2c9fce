DROP FUNCTION discounted(numeric, integer);
ALTER TABLE customer DROP COLUMN discount;
