CREATE VIEW order_total AS
    SELECT line.order_id, sum(line.quantity * product.price) AS total
    FROM order_line AS line JOIN product ON product.id = line.product_id
    GROUP BY line.order_id;
