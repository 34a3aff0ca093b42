-- One row: the change counter, and a sealed value that tells whether the root key is the right one.
CREATE TABLE installation (
    id          INTEGER PRIMARY KEY CHECK (id = 1),
    revision    BIGINT NOT NULL,
    check_value BLOB NOT NULL
);

CREATE TABLE authorities (
    name        TEXT PRIMARY KEY CHECK (name IN ('root', 'issuing')),
    certificate BLOB NOT NULL,
    private_key BLOB NOT NULL -- sealed
);

CREATE TABLE access_keys (
    id      TEXT PRIMARY KEY,
    secret  BLOB NOT NULL, -- sealed
    owner   TEXT NOT NULL,
    created BIGINT NOT NULL
);

CREATE TABLE instances (
    id      TEXT PRIMARY KEY,
    name    TEXT NOT NULL,
    kind    TEXT NOT NULL CHECK (kind IN ('Hardware', 'Software')),
    created BIGINT NOT NULL
);

-- A key that is being made: what a crash leaves behind is found by it.
CREATE TABLE key_intents (
    version_id TEXT PRIMARY KEY,
    key_id     TEXT NOT NULL,
    instance   TEXT NOT NULL,
    spec       TEXT NOT NULL,
    usage      TEXT NOT NULL,
    created    BIGINT NOT NULL
);

CREATE TABLE keys (
    id              TEXT PRIMARY KEY,
    instance        TEXT NOT NULL,
    spec            TEXT NOT NULL,
    usage           TEXT NOT NULL,
    origin          TEXT NOT NULL,
    state           TEXT NOT NULL,
    description     TEXT NOT NULL,
    creator         TEXT NOT NULL,
    created         BIGINT NOT NULL,
    initial_version TEXT NOT NULL,
    primary_version TEXT NOT NULL,
    revision        BIGINT NOT NULL -- the change counter when the row was written
);
CREATE INDEX keys_by_revision ON keys (revision);

CREATE TABLE key_versions (
    id                TEXT PRIMARY KEY,
    key_id            TEXT NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
    created           BIGINT NOT NULL,
    held              BLOB, -- sealed: the software tier's material
    resident          BLOB, -- the hardware tier's CKA_ID
    public_key        BLOB,
    local             INTEGER,
    sensitive         INTEGER,
    always_sensitive  INTEGER,
    extractable       INTEGER,
    never_extractable INTEGER,
    encryptions       BIGINT NOT NULL,
    CHECK ((held IS NULL) <> (resident IS NULL))
);
CREATE INDEX key_versions_by_key ON key_versions (key_id);

-- Lists are JSON texts: they are read and written whole.
CREATE TABLE network_rules (
    name        TEXT PRIMARY KEY,
    kind        TEXT NOT NULL,
    sources     TEXT NOT NULL,
    description TEXT NOT NULL
);

CREATE TABLE policies (
    name        TEXT PRIMARY KEY,
    scope       TEXT NOT NULL,
    permissions TEXT NOT NULL,
    resources   TEXT NOT NULL,
    rules       TEXT NOT NULL,
    rules_text  TEXT NOT NULL,
    description TEXT NOT NULL
);

CREATE TABLE access_points (
    name        TEXT PRIMARY KEY,
    method      TEXT NOT NULL,
    policies    TEXT NOT NULL,
    description TEXT NOT NULL
);

CREATE TABLE client_keys (
    id           TEXT PRIMARY KEY,
    access_point TEXT NOT NULL REFERENCES access_points (name) ON DELETE CASCADE,
    certificate  BLOB NOT NULL,
    not_before   BIGINT NOT NULL,
    not_after    BIGINT NOT NULL,
    created      BIGINT NOT NULL
);
CREATE INDEX client_keys_by_access_point ON client_keys (access_point);
