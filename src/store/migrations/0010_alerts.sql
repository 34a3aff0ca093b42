-- What somebody is to be told of, once: a row stays after it was sent for as long as the same could be found again.
CREATE TABLE alerts (
    id               TEXT PRIMARY KEY,
    event            TEXT NOT NULL,
    at               BIGINT NOT NULL,
    resource         TEXT NOT NULL,
    content          TEXT NOT NULL, -- a JSON object, read and written whole
    remembered_until BIGINT NOT NULL,
    queued           BIGINT -- its place among those that are to be sent; NULL when it is not
);
CREATE INDEX alerts_by_place ON alerts (queued);

-- The attempt to send that was begun last and did not succeed: which it is in a row, and until when nobody begins another one.
CREATE TABLE alert_attempts (
    id      INTEGER PRIMARY KEY CHECK (id = 1),
    number  BIGINT NOT NULL,
    ends_at BIGINT NOT NULL
);
