-- The keys that sign tokens, each encrypted with the key file.
CREATE TABLE keys (
    kid        TEXT PRIMARY KEY NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('next', 'active', 'retiring')),
    -- Nonce, then the private key (PKCS#8) in AES-256-GCM, then the tag.
    sealed     BLOB NOT NULL,
    -- Milliseconds since 1970.
    created_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX keys_one_next ON keys (state) WHERE state = 'next';
CREATE UNIQUE INDEX keys_one_active ON keys (state) WHERE state = 'active';
