CREATE FUNCTION count_lines() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE orders SET lines = lines + 1 WHERE id = NEW.order_id;
    RETURN NEW;
END
$$;
CREATE TRIGGER order_line_counted AFTER INSERT ON order_line FOR EACH ROW EXECUTE FUNCTION count_lines();
