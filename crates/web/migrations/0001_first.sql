-- One text for SQLite and PostgreSQL: TEXT and BIGINT only, no defaults, no functions.
CREATE TABLE settings (
    name TEXT PRIMARY KEY,
    content TEXT NOT NULL
);

CREATE TABLE members (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    colour TEXT NOT NULL,
    named BIGINT NOT NULL,
    created_ms BIGINT NOT NULL
);

CREATE TABLE repls (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    template TEXT NOT NULL,
    language TEXT NOT NULL,
    owner TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    deleted_ms BIGINT,
    ready BIGINT NOT NULL,
    meta_seq BIGINT NOT NULL,
    meta_stored BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    lease_node TEXT,
    lease_until_ms BIGINT NOT NULL,
    head TEXT
);

CREATE TABLE links (
    id TEXT PRIMARY KEY,
    repl TEXT NOT NULL REFERENCES repls (id) ON DELETE CASCADE,
    role TEXT NOT NULL,
    token_hash TEXT NOT NULL UNIQUE,
    member TEXT NOT NULL,
    created_ms BIGINT NOT NULL
);

CREATE INDEX links_by_repl ON links (repl);

-- One row for each way a member came by a right: `link` is the share link, or empty.
CREATE TABLE memberships (
    repl TEXT NOT NULL REFERENCES repls (id) ON DELETE CASCADE,
    member TEXT NOT NULL,
    link TEXT NOT NULL,
    role TEXT NOT NULL,
    PRIMARY KEY (repl, member, link)
);

CREATE INDEX memberships_by_member ON memberships (member);

CREATE TABLE sessions (
    token_hash TEXT PRIMARY KEY,
    member TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL
);

CREATE TABLE nodes (
    id TEXT PRIMARY KEY,
    boot TEXT NOT NULL,
    address TEXT NOT NULL,
    seen_ms BIGINT NOT NULL,
    loads TEXT NOT NULL
);
