-- Who else may vouch for somebody: issuers of tokens, and what these are verified by.
CREATE TABLE oidc_providers (
    name           TEXT PRIMARY KEY,
    issuer         TEXT NOT NULL,
    key_set        TEXT NOT NULL, -- as it was given: {"keys":[...]}
    issuance_limit BIGINT NOT NULL CHECK (issuance_limit BETWEEN 3600 AND 604800), -- seconds
    description    TEXT NOT NULL,
    created        BIGINT NOT NULL
);

-- For whom their tokens are.
CREATE TABLE oidc_client_ids (
    provider  TEXT NOT NULL REFERENCES oidc_providers (name) ON DELETE CASCADE,
    client_id TEXT NOT NULL,
    PRIMARY KEY (provider, client_id)
);
