-- The last spec that the plugin coordinator published of each plugin, and what became of it.
CREATE TABLE specs (
    plugin_id TEXT PRIMARY KEY NOT NULL,
    -- JSON.
    spec      TEXT NOT NULL,
    -- The acknowledgement as JSON; NULL until the broker has what the spec asks for, or it is refused.
    status    TEXT
) STRICT;
