-- Written in JSON and plain words, so that `psql` shows what is there.
CREATE TABLE ringfence.strategies (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    strategy_id text NOT NULL UNIQUE,
    duplicate_key bytea NOT NULL,
    state text NOT NULL,
    token bigint NOT NULL DEFAULT 0,
    attempt integer NOT NULL DEFAULT 0,
    worker text,
    due_ms bigint,
    run_type text,
    worlds text NOT NULL,
    sentinel_id text,
    submitted_by text NOT NULL,
    submitted_ms bigint NOT NULL,
    updated_ms bigint NOT NULL,
    ended_ms bigint,
    error text,
    plan text,
    meta text NOT NULL,
    dag text NOT NULL
);
CREATE INDEX strategies_due ON ringfence.strategies (seq, due_ms, state) WHERE due_ms IS NOT NULL;
CREATE INDEX strategies_ended ON ringfence.strategies (ended_ms, seq) WHERE ended_ms IS NOT NULL;
CREATE INDEX strategies_state ON ringfence.strategies (state, seq);
CREATE INDEX strategies_user ON ringfence.strategies (submitted_by, seq);

-- Who holds which key; apart from the strategies, because a key outlives what retention removes.
CREATE TABLE ringfence.duplicate_keys (
    duplicate_key bytea PRIMARY KEY,
    strategy_id text NOT NULL,
    held_since_ms bigint NOT NULL
);
CREATE INDEX duplicate_keys_age ON ringfence.duplicate_keys (held_since_ms);

CREATE TABLE ringfence.events (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    strategy_id text NOT NULL,
    from_state text,
    to_state text NOT NULL,
    detail text NOT NULL,
    at_ms bigint NOT NULL
);

-- The token of every claim.
CREATE SEQUENCE ringfence.tokens;
