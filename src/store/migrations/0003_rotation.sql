-- Seconds from one automatic rotation to the next; NULL when it is off.
ALTER TABLE keys ADD COLUMN rotation_interval BIGINT;

-- Rotations that were begun and are not done: which attempt it is, from 1, and until when nobody begins another one.
CREATE TABLE rotation_attempts (
    key_id  TEXT PRIMARY KEY REFERENCES keys (id) ON DELETE CASCADE,
    number  BIGINT NOT NULL,
    ends_at BIGINT NOT NULL
);
