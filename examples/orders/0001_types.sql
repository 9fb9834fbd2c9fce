-- What an order can be, and what counts as an address.
CREATE TYPE order_state AS ENUM ('open', 'paid', 'sent');
CREATE DOMAIN email AS text CHECK (VALUE ~ '^[^@\s]+@[^@\s]+$');
