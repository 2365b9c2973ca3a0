-- Of a login that a new database found at the broker it is not known which installation started it.
CREATE TABLE logins_new (
    plugin_id  TEXT PRIMARY KEY NOT NULL,
    -- The installation and the generation that was started; NULL for a login that was found at the broker.
    uid        TEXT,
    generation INTEGER,
    start_id   TEXT NOT NULL,
    -- The three roles with their rules, as JSON: those of the generation that was started.
    roles      TEXT NOT NULL,
    -- Nonce, then the password in AES-256-GCM, then the tag. NULL for a login that was found at the broker.
    password   BLOB,
    -- Not 0 when it is to go, and may still be at the broker.
    ending     INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO logins_new SELECT plugin_id, uid, generation, start_id, roles, password, ending FROM logins;
DROP TABLE logins;
ALTER TABLE logins_new RENAME TO logins;

-- Installations that were acknowledged absent, the newest of them: what a broker that went back in time still says
-- of them is not believed.
CREATE TABLE gone (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    uid    TEXT NOT NULL UNIQUE
) STRICT;
