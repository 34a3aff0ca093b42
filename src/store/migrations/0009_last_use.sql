-- When a request that the client key signed was last accepted.
ALTER TABLE client_keys ADD COLUMN last_used BIGINT;
