-- What the object of a version is known again by in its token: keyed, so that it says nothing without the root key. Empty without a token,
-- and of what was made before until its first use.
ALTER TABLE key_versions ADD COLUMN fingerprint BLOB;
CREATE INDEX key_versions_by_fingerprint ON key_versions (fingerprint) WHERE fingerprint IS NOT NULL;
