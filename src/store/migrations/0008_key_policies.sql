-- The policy of a key as it was given; NULL for the default one.
ALTER TABLE keys ADD COLUMN policy TEXT;
