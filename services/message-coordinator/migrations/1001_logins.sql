-- The login of each plugin that is started: what it takes to make it again at a broker that lost it.
CREATE TABLE logins (
    plugin_id  TEXT PRIMARY KEY NOT NULL,
    uid        TEXT NOT NULL,
    generation INTEGER NOT NULL,
    start_id   TEXT NOT NULL,
    -- The three roles with their rules, as JSON: those of the generation that was started.
    roles      TEXT NOT NULL,
    -- Nonce, then the password in AES-256-GCM, then the tag. NULL for a login that was found at the broker.
    password   BLOB,
    -- Not 0 when it is to go, and may still be at the broker.
    ending     INTEGER NOT NULL DEFAULT 0
) STRICT;
