-- How an object came into its token: generated there, created from material that the process had, or unwrapped there.
ALTER TABLE key_versions ADD COLUMN arrival TEXT;
UPDATE key_versions SET arrival = CASE local WHEN 1 THEN 'generated' ELSE 'created' END WHERE local IS NOT NULL;

-- The private half of a pair that wraps material may be an object in a token, of this CKA_ID, instead of here.
CREATE TABLE wrapping_keys_anywhere (
    id          TEXT PRIMARY KEY,
    key_id      TEXT NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
    algorithm   TEXT NOT NULL,
    private_key BLOB, -- sealed
    object_id   BLOB,
    expires     BIGINT NOT NULL,
    CHECK ((private_key IS NULL) <> (object_id IS NULL))
);
INSERT INTO wrapping_keys_anywhere (id, key_id, algorithm, private_key, expires)
SELECT id, key_id, algorithm, private_key, expires FROM wrapping_keys;
DROP TABLE wrapping_keys;
ALTER TABLE wrapping_keys_anywhere RENAME TO wrapping_keys;
CREATE INDEX wrapping_keys_by_key ON wrapping_keys (key_id, expires);
CREATE INDEX wrapping_keys_by_expiry ON wrapping_keys (expires);

-- Material is known again by its bytes in what is there now. AES keys are from now on known by what they encrypt to, since their bytes may
-- be known to a token alone.
ALTER TABLE imported_material ADD COLUMN of_bytes INTEGER NOT NULL DEFAULT 0;
UPDATE imported_material SET of_bytes = 1;
