-- Users, tokens, jobs, attempts, reservations and what is known of the box.
-- Times are Unix seconds, UTC.

CREATE TABLE user (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    role TEXT NOT NULL CHECK (role IN ('admin', 'user')),
    uid INTEGER NOT NULL,
    gid INTEGER NOT NULL,
    created_at REAL NOT NULL
);

CREATE TABLE token (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id INTEGER NOT NULL REFERENCES user (id),
    hash TEXT NOT NULL UNIQUE,
    created_at REAL NOT NULL,
    revoked_at REAL
);

CREATE TABLE job (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    owner_id INTEGER NOT NULL REFERENCES user (id),
    spec TEXT NOT NULL,
    priority INTEGER NOT NULL,
    snapshot TEXT,
    git_commit TEXT,
    state TEXT NOT NULL CHECK (state IN ('pending', 'starting', 'running', 'stopping', 'finished')),
    waiting_for TEXT,
    stop_reason TEXT,
    outcome TEXT,
    reason TEXT,
    message TEXT,
    evidence TEXT NOT NULL DEFAULT '[]',
    exit_code INTEGER,
    image_digest TEXT,
    submitted_at REAL NOT NULL,
    started_at REAL,
    finished_at REAL,
    cancel_requested_by TEXT,
    CHECK (state <> 'finished' OR outcome IS NOT NULL)
);

CREATE INDEX job_by_state ON job (state, priority DESC, id) WHERE state <> 'finished';
CREATE INDEX job_by_owner ON job (owner_id, id);

CREATE TABLE attempt (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id INTEGER NOT NULL REFERENCES job (id),
    number INTEGER NOT NULL,
    gpu_uuids TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    created_at REAL NOT NULL,
    started_at REAL,
    finished_at REAL,
    outcome TEXT,
    reason TEXT,
    exit_code INTEGER,
    UNIQUE (job_id, number)
);

CREATE UNIQUE INDEX attempt_open ON attempt (job_id) WHERE finished_at IS NULL;

-- A GPU that is given to an attempt; the primary key makes a second owner impossible.
CREATE TABLE reservation (
    gpu_uuid TEXT PRIMARY KEY,
    attempt_id INTEGER NOT NULL REFERENCES attempt (id)
);

CREATE TABLE event (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id INTEGER NOT NULL REFERENCES job (id),
    at REAL NOT NULL,
    state TEXT NOT NULL,
    text TEXT NOT NULL
);

CREATE INDEX event_by_job ON event (job_id, id);

-- What the scheduler last saw of the box, for the processes that may not look themselves.
CREATE TABLE box (
    fact TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
