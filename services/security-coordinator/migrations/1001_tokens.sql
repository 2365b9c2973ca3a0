-- The token of each start that is not over. The token itself is not here: the same claims signed with the
-- same key are the same token.
CREATE TABLE tokens (
    start_id        TEXT PRIMARY KEY NOT NULL,
    plugin_id       TEXT NOT NULL,
    scope           TEXT NOT NULL,
    manifest_digest TEXT NOT NULL,
    -- Of the request that the start's first token was issued for.
    correlation_id  TEXT NOT NULL,
    jti             TEXT NOT NULL,
    kid             TEXT NOT NULL,
    -- Seconds since 1970, as in the claims.
    issued_at       INTEGER NOT NULL,
    expires_at      INTEGER NOT NULL,
    -- The latest expires_at of all tokens of this start: after a clock was set back, not the last one's.
    latest_expiry   INTEGER NOT NULL,
    -- Milliseconds since 1970.
    refresh_at      INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX tokens_one_per_plugin ON tokens (plugin_id);
CREATE INDEX tokens_by_refresh ON tokens (refresh_at);
CREATE INDEX tokens_by_issue ON tokens (issued_at);
