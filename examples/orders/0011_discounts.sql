ALTER TABLE customer
    ADD COLUMN discount integer NOT NULL DEFAULT 0,
    ADD CONSTRAINT customer_discount CHECK (discount BETWEEN 0 AND 100);
CREATE INDEX customer_by_discount ON customer (discount);
CREATE FUNCTION discounted(price numeric, percent integer) RETURNS numeric LANGUAGE sql IMMUTABLE
    AS 'SELECT round(price * (100 - percent) / 100, 2)';
