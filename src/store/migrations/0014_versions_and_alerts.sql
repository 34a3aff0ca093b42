-- Which version of its key it is, from 1: several may be made within one second.
ALTER TABLE key_versions ADD COLUMN number BIGINT NOT NULL DEFAULT 0;
-- Of those that were made in the same second the first is known, and the primary one, which is the last of a symmetric key.
CREATE TABLE numbered_versions (
    id     TEXT PRIMARY KEY,
    number BIGINT NOT NULL
);
INSERT INTO numbered_versions (id, number)
    SELECT key_versions.id, ROW_NUMBER() OVER (
        PARTITION BY key_versions.key_id
        ORDER BY key_versions.created,
            CASE WHEN key_versions.id = keys.initial_version THEN 0 WHEN key_versions.id = keys.primary_version THEN 2 ELSE 1 END,
            key_versions.id
    )
    FROM key_versions JOIN keys ON keys.id = key_versions.key_id;
UPDATE key_versions SET number = (SELECT number FROM numbered_versions WHERE numbered_versions.id = key_versions.id);
DROP TABLE numbered_versions;
CREATE UNIQUE INDEX key_versions_by_number ON key_versions (key_id, number);

-- Whether an alert was raised where there was nowhere to send it: it is sent when there is, if what it tells of still holds.
ALTER TABLE alerts ADD COLUMN unsent INTEGER NOT NULL DEFAULT 0;
