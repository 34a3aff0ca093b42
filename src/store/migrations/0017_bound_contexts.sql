-- Since when every EncryptionContext is read, in whatever form it comes: ciphertexts of key versions made before may be bound to less
-- than their context. Empty until a server starts that does so.
ALTER TABLE installation ADD COLUMN contexts_bound_since BIGINT;
