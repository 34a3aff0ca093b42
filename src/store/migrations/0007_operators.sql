-- Who may have permissions at the shared gateway.
CREATE TABLE identities (
    name        TEXT PRIMARY KEY,
    kind        TEXT NOT NULL CHECK (kind IN ('Root', 'User', 'Role')),
    description TEXT NOT NULL,
    created     BIGINT NOT NULL
);

-- What they are permitted; a policy without a document is a built-in one.
CREATE TABLE identity_policies (
    identity TEXT NOT NULL REFERENCES identities (name) ON DELETE CASCADE,
    name     TEXT NOT NULL,
    document TEXT,
    PRIMARY KEY (identity, name)
);

-- The AccessKeys that there are keep full rights: they are the administrator's, who is the root.
INSERT INTO identities (name, kind, description, created)
    SELECT owner, 'Root', 'Made by keystead init.', MIN(created) FROM access_keys GROUP BY owner;

CREATE TABLE access_keys_of_identities (
    id      TEXT PRIMARY KEY,
    secret  BLOB NOT NULL, -- sealed, for the table access_keys
    owner   TEXT NOT NULL REFERENCES identities (name) ON DELETE CASCADE,
    state   TEXT NOT NULL CHECK (state IN ('Active', 'Inactive')),
    created BIGINT NOT NULL
);
INSERT INTO access_keys_of_identities (id, secret, owner, state, created)
    SELECT id, secret, owner, 'Active', created FROM access_keys;
DROP TABLE access_keys;
ALTER TABLE access_keys_of_identities RENAME TO access_keys;
CREATE INDEX access_keys_by_owner ON access_keys (owner);
