-- When a key that waits for its deletion is destroyed.
ALTER TABLE keys ADD COLUMN delete_at BIGINT;
-- Why a key is protected against deletion; NULL when it is not.
ALTER TABLE keys ADD COLUMN deletion_protection TEXT;

-- Keys that are gone, so that every node forgets them.
CREATE TABLE deleted_keys (
    id       TEXT PRIMARY KEY,
    revision BIGINT NOT NULL -- the change counter when the key was deleted
);
CREATE INDEX deleted_keys_by_revision ON deleted_keys (revision);

CREATE TABLE aliases (
    name   TEXT PRIMARY KEY,
    key_id TEXT NOT NULL REFERENCES keys (id) ON DELETE CASCADE
);
CREATE INDEX aliases_by_key ON aliases (key_id);
