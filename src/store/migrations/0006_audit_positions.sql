-- Where each audit log ended when the store was told last: what is cut off before that is found.
CREATE TABLE audit_positions (
    log      TEXT PRIMARY KEY,
    sequence BIGINT NOT NULL,
    hash     BLOB NOT NULL -- SHA-256 of that record's line
);
