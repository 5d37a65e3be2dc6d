-- Written in JSON and plain words, so that `sqlite3` shows what is there.
CREATE TABLE strategies (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    strategy_id TEXT NOT NULL UNIQUE,
    duplicate_key BLOB NOT NULL,
    state TEXT NOT NULL,
    token INTEGER NOT NULL DEFAULT 0,
    attempt INTEGER NOT NULL DEFAULT 0,
    worker TEXT,
    due_ms INTEGER,
    run_type TEXT,
    worlds TEXT NOT NULL,
    sentinel_id TEXT,
    submitted_by TEXT NOT NULL,
    submitted_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    ended_ms INTEGER,
    error TEXT,
    plan TEXT,
    meta TEXT NOT NULL,
    dag TEXT NOT NULL
) STRICT;
CREATE INDEX strategies_due ON strategies (seq, due_ms, state) WHERE due_ms IS NOT NULL;
CREATE INDEX strategies_ended ON strategies (ended_ms, seq) WHERE ended_ms IS NOT NULL;
CREATE INDEX strategies_state ON strategies (state, seq);
CREATE INDEX strategies_user ON strategies (submitted_by, seq);

-- Who holds which key; apart from the strategies, because a key outlives what retention removes.
CREATE TABLE duplicate_keys (
    duplicate_key BLOB PRIMARY KEY,
    strategy_id TEXT NOT NULL,
    held_since_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX duplicate_keys_age ON duplicate_keys (held_since_ms);

CREATE TABLE events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    strategy_id TEXT NOT NULL,
    from_state TEXT,
    to_state TEXT NOT NULL,
    detail TEXT NOT NULL,
    at_ms INTEGER NOT NULL
) STRICT;

-- The newest token of all.
CREATE TABLE tokens (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    newest INTEGER NOT NULL
) STRICT;
INSERT INTO tokens VALUES (1, 0);
