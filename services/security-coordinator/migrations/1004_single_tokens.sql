-- Who revoked the start, when it was not its own end. Such a start may still run, and must get no token for as
-- long as it does; 1 in `held` until it is heard to be over.
ALTER TABLE revoked_starts ADD COLUMN revoked_by TEXT;
ALTER TABLE revoked_starts ADD COLUMN held INTEGER NOT NULL DEFAULT 0;
-- Every token that can still be valid, also one that has been followed by the next: by its id it can be revoked.
CREATE TABLE issued_tokens (
    jti        TEXT PRIMARY KEY NOT NULL,
    start_id   TEXT NOT NULL,
    plugin_id  TEXT NOT NULL,
    -- Seconds since 1970.
    expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX issued_tokens_by_end ON issued_tokens (expires_at);
INSERT INTO issued_tokens SELECT jti, start_id, plugin_id, expires_at FROM tokens;
-- Single tokens that are refused until they have expired.
CREATE TABLE revoked_tokens (
    jti       TEXT PRIMARY KEY NOT NULL,
    plugin_id TEXT NOT NULL,
    -- Seconds since 1970.
    until     INTEGER NOT NULL
) STRICT;
CREATE INDEX revoked_tokens_by_until ON revoked_tokens (until);
