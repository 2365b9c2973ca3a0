-- Every request that a coordinator accepted, and its one outcome.
CREATE TABLE requests (
    id                TEXT PRIMARY KEY NOT NULL,
    principal         TEXT NOT NULL,
    -- What tells a repeat: the caller's id for it, or the hash of topic and payload where it has none.
    dedupe            TEXT NOT NULL,
    content_hash      TEXT NOT NULL,
    topic             TEXT NOT NULL,
    body              BLOB NOT NULL,
    response_topic    TEXT NOT NULL,
    correlation_data  BLOB,
    correlation_id    TEXT NOT NULL,
    traceparent       TEXT,
    received_at       INTEGER NOT NULL,
    -- The response as it is published, once there is one.
    response          BLOB,
    success           INTEGER,
    answered_at       INTEGER,
    delivered         INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX requests_by_dedupe ON requests (principal, dedupe, received_at);
CREATE INDEX requests_undelivered ON requests (answered_at) WHERE delivered = 0;
CREATE INDEX requests_by_age ON requests (received_at);
