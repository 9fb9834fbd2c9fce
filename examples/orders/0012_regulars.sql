-- tenure: data
-- Whoever has ordered before is a regular.
UPDATE customer SET discount = 5 WHERE EXISTS (SELECT FROM orders WHERE customer_id = customer.id);
INSERT INTO product (name, price) VALUES ('A gift for regulars', 0);
