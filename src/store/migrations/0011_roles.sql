-- What a role has besides its permissions: who may assume it, and for how long at the most, in seconds.
CREATE TABLE roles (
    name        TEXT PRIMARY KEY REFERENCES identities (name) ON DELETE CASCADE,
    id          TEXT NOT NULL UNIQUE,
    trust       TEXT NOT NULL,
    max_session BIGINT NOT NULL CHECK (max_session BETWEEN 3600 AND 43200)
);
