-- Starts that are over: their tokens are refused until the last of them has expired.
CREATE TABLE revoked_starts (
    start_id  TEXT PRIMARY KEY NOT NULL,
    plugin_id TEXT NOT NULL,
    -- Seconds since 1970.
    until     INTEGER NOT NULL
) STRICT;
CREATE INDEX revoked_starts_by_until ON revoked_starts (until);
