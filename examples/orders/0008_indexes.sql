CREATE INDEX orders_state ON orders (state, ordered_at);
CREATE INDEX order_line_product ON order_line (product_id);
