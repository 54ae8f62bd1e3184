-- Retries, shared GPUs, quarantine, secrets and the audit trail.

ALTER TABLE job ADD COLUMN advice TEXT NOT NULL DEFAULT '';
ALTER TABLE job ADD COLUMN git_diff TEXT;
ALTER TABLE job ADD COLUMN requirements_hash TEXT;
ALTER TABLE job ADD COLUMN retry_requested_by TEXT;
ALTER TABLE job ADD COLUMN not_before REAL NOT NULL DEFAULT 0;

-- `token` tells an attempt's own container from one that bears its name; `placed_at` is when it got its
-- place on the box, since an image may have to be made before, `start_asked_at` when the engine was first
-- asked to start its container, `released_at` when others could have the place.
ALTER TABLE attempt ADD COLUMN token TEXT NOT NULL DEFAULT '';
ALTER TABLE attempt ADD COLUMN placed_at REAL;
ALTER TABLE attempt ADD COLUMN start_asked_at REAL;
ALTER TABLE attempt ADD COLUMN released_at REAL;
ALTER TABLE attempt ADD COLUMN image_digest TEXT;
ALTER TABLE attempt ADD COLUMN message TEXT;
ALTER TABLE attempt ADD COLUMN advice TEXT NOT NULL DEFAULT '';
ALTER TABLE attempt ADD COLUMN evidence TEXT NOT NULL DEFAULT '[]';

-- When retention removed what an attempt, or the job as a whole, had left on the disk.
ALTER TABLE attempt ADD COLUMN workspace_removed_at REAL;
ALTER TABLE attempt ADD COLUMN output_removed_at REAL;
ALTER TABLE attempt ADD COLUMN log_removed_at REAL;
ALTER TABLE job ADD COLUMN code_removed_at REAL;

UPDATE attempt SET placed_at = created_at;
UPDATE attempt SET
    image_digest = (SELECT image_digest FROM job WHERE job.id = attempt.job_id),
    message = (SELECT message FROM job WHERE job.id = attempt.job_id),
    evidence = (SELECT evidence FROM job WHERE job.id = attempt.job_id)
WHERE finished_at IS NOT NULL;

-- A data set is mounted once, however often a job named it.
UPDATE job SET spec = json_set(spec, '$.data', json(
    (SELECT json_group_array(DISTINCT value) FROM json_each(spec, '$.data'))
))
WHERE json_array_length(spec, '$.data') > (SELECT COUNT(DISTINCT value) FROM json_each(spec, '$.data'));

-- The order in which jobs start: GPU jobs and the others wait in two lanes.
CREATE INDEX job_queue ON job ((json_extract(spec, '$.gpus') > 0), priority DESC, id) WHERE state = 'pending';
CREATE INDEX job_to_cancel ON job (id) WHERE cancel_requested_by IS NOT NULL AND state <> 'finished';
CREATE INDEX job_to_retry ON job (id) WHERE retry_requested_by IS NOT NULL;
CREATE INDEX job_finished ON job (finished_at) WHERE state = 'finished';

-- A GPU, or some of its memory, that is given to an attempt. Without memory_bytes it is the whole card.
ALTER TABLE reservation RENAME TO reservation_1;

CREATE TABLE reservation (
    gpu_uuid TEXT NOT NULL,
    attempt_id INTEGER NOT NULL REFERENCES attempt (id),
    memory_bytes INTEGER CHECK (memory_bytes > 0),
    capacity_bytes INTEGER,
    PRIMARY KEY (gpu_uuid, attempt_id),
    CHECK ((memory_bytes IS NULL) = (capacity_bytes IS NULL))
);

INSERT INTO reservation (gpu_uuid, attempt_id) SELECT gpu_uuid, attempt_id FROM reservation_1;
DROP TABLE reservation_1;

CREATE TRIGGER reservation_is_never_double BEFORE INSERT ON reservation
BEGIN
    SELECT RAISE(ABORT, 'the GPU is taken') WHERE EXISTS (
        SELECT 1 FROM reservation
        WHERE gpu_uuid = NEW.gpu_uuid AND (memory_bytes IS NULL OR NEW.memory_bytes IS NULL)
    );
    SELECT RAISE(ABORT, 'the GPU has not so much memory left') WHERE NEW.memory_bytes > NEW.capacity_bytes - (
        SELECT COALESCE(SUM(memory_bytes), 0) FROM reservation WHERE gpu_uuid = NEW.gpu_uuid
    );
END;

-- GPUs that are not given to jobs until they are well again. `boot_id` is the boot in which it was seen.
CREATE TABLE quarantine (
    gpu_uuid TEXT PRIMARY KEY,
    cause TEXT NOT NULL,
    reason TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    since REAL NOT NULL,
    release_requested_by TEXT
);

CREATE TABLE secret (
    owner_id INTEGER NOT NULL REFERENCES user (id),
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    created_at REAL NOT NULL,
    PRIMARY KEY (owner_id, name)
);

-- Who did what, from where. Rows are added and never changed.
CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL,
    address TEXT NOT NULL
);

CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit trail is append-only');
END;

CREATE TRIGGER audit_is_never_shortened BEFORE DELETE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit trail is append-only');
END;
