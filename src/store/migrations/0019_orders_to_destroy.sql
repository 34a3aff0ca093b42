-- Orders to destroy have a proof: sealed, of what is destroyed and when. What was scheduled before has none and waits to be ordered anew.
ALTER TABLE keys ADD COLUMN deletion_proof BLOB;
ALTER TABLE keys ADD COLUMN expiry_proof BLOB;
ALTER TABLE wrapping_keys ADD COLUMN proof BLOB;
ALTER TABLE erased_objects ADD COLUMN proof BLOB;

-- No object is destroyed that a key version names.
CREATE INDEX key_versions_by_object ON key_versions (object_id);
