-- Imported material comes and goes: whether it is there, and when it expires; NULL when it does not.
ALTER TABLE keys ADD COLUMN has_material INTEGER NOT NULL DEFAULT 1;
ALTER TABLE keys ADD COLUMN material_expires BIGINT;

-- A version may be without its material, and its object has an id of its own: what is imported again is another object.
CREATE TABLE key_versions_with_objects (
    id                TEXT PRIMARY KEY,
    key_id            TEXT NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
    created           BIGINT NOT NULL,
    object_id         BLOB, -- what its tier calls the material, in a token the CKA_ID; NULL without material
    held              BLOB, -- sealed: the software tier's material
    public_key        BLOB,
    local             INTEGER,
    sensitive         INTEGER,
    always_sensitive  INTEGER,
    extractable       INTEGER,
    never_extractable INTEGER,
    encryptions       BIGINT NOT NULL,
    CHECK (held IS NULL OR object_id IS NOT NULL)
);
INSERT INTO key_versions_with_objects (id, key_id, created, object_id, held, public_key, local, sensitive, always_sensitive,
    extractable, never_extractable, encryptions)
SELECT id, key_id, created, COALESCE(resident, CAST(id AS BLOB)), held, public_key, local, sensitive, always_sensitive,
    extractable, never_extractable, encryptions
FROM key_versions;
DROP TABLE key_versions;
ALTER TABLE key_versions_with_objects RENAME TO key_versions;
CREATE INDEX key_versions_by_key ON key_versions (key_id);

-- What was imported first: nothing else may be imported later.
CREATE TABLE imported_material (
    key_id      TEXT PRIMARY KEY REFERENCES keys (id) ON DELETE CASCADE,
    fingerprint BLOB NOT NULL -- keyed: it says nothing without the root key
);

-- What material to be imported is wrapped by: a pair for one key and one day.
CREATE TABLE wrapping_keys (
    id          TEXT PRIMARY KEY,
    key_id      TEXT NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
    algorithm   TEXT NOT NULL,
    private_key BLOB NOT NULL, -- sealed
    expires     BIGINT NOT NULL
);
CREATE INDEX wrapping_keys_by_key ON wrapping_keys (key_id, expires);
CREATE INDEX wrapping_keys_by_expiry ON wrapping_keys (expires);

-- Objects in tokens that no key has any more: destroyed as soon as the token answers.
CREATE TABLE erased_objects (
    object_id BLOB PRIMARY KEY,
    key_id    TEXT NOT NULL,
    instance  TEXT NOT NULL
);
