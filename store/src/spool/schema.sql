CREATE TABLE spooled (
    place INTEGER PRIMARY KEY AUTOINCREMENT,
    strategy_id TEXT NOT NULL UNIQUE,
    duplicate_key BLOB NOT NULL,
    run_type TEXT,
    worlds TEXT NOT NULL,
    sentinel_id TEXT,
    submitted_by TEXT NOT NULL,
    submitted_ms INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    meta TEXT NOT NULL,
    dag TEXT NOT NULL
) STRICT;
CREATE INDEX spooled_key ON spooled (duplicate_key, submitted_ms);

-- What lies in the table above, so that nobody has to count.
CREATE TABLE held (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    drafts INTEGER NOT NULL,
    bytes INTEGER NOT NULL
) STRICT;
INSERT INTO held VALUES (1, 0, 0);
CREATE TRIGGER spooled_in AFTER INSERT ON spooled BEGIN
    UPDATE held SET drafts = drafts + 1, bytes = bytes + new.bytes;
END;
CREATE TRIGGER spooled_out AFTER DELETE ON spooled BEGIN
    UPDATE held SET drafts = drafts - 1, bytes = bytes - old.bytes;
END;
