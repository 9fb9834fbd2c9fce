-- tenure: data
INSERT INTO product (name, price) VALUES ('A pencil; soft', 1.20), ('A "large" ruler', 3.50);
