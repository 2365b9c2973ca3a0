-- Images that were pulled for plugins and were not there before: those, and no others, are removed again when no
-- plugin needs them any more.
CREATE TABLE images (
    -- By digest, repository@sha256:…
    reference TEXT PRIMARY KEY NOT NULL
) STRICT;
