-- A database as the script 0001_initial.sql makes it, with rows in every table, as SQLite's dump of it.
PRAGMA user_version = 1;
BEGIN TRANSACTION;
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
INSERT INTO "attempt" VALUES(1,1,1,'["GPU-a"]','boot-1',1763700010.0,1763700011.0,1763700020.0,'succeeded','ok',0);
INSERT INTO "attempt" VALUES(2,2,1,'[]','boot-1',1763700012.0,1763700013.0,1763700021.0,'cancelled','cancelled',143);
INSERT INTO "attempt" VALUES(3,3,1,'["GPU-a", "GPU-b"]','boot-1',1763700030.0,1763700031.0,NULL,NULL,NULL,NULL);
INSERT INTO "attempt" VALUES(4,4,1,'[]','boot-1',1763700032.0,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "attempt" VALUES(5,6,1,'["GPU-c"]','boot-1',1763700034.0,1763700035.0,NULL,NULL,NULL,NULL);
INSERT INTO "attempt" VALUES(6,7,1,'[]','boot-1',1763700036.0,NULL,1763700037.0,'failed','image_error',NULL);
CREATE TABLE box (
    fact TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
INSERT INTO "box" VALUES('store_id','0011223344556677');
INSERT INTO "box" VALUES('box','{"gpus":[],"gpu_error":null,"engine_error":null,"cpus":2.0,"memory_bytes":1024,"images":[],"strangers":[]}');
CREATE TABLE event (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id INTEGER NOT NULL REFERENCES job (id),
    at REAL NOT NULL,
    state TEXT NOT NULL,
    text TEXT NOT NULL
);
INSERT INTO "event" VALUES(1,1,1763700010.0,'pending','submitted by ada');
INSERT INTO "event" VALUES(2,2,1763700012.0,'pending','submitted by ada');
INSERT INTO "event" VALUES(3,3,1763700030.0,'pending','submitted by ada');
INSERT INTO "event" VALUES(4,4,1763700032.0,'pending','submitted by ada');
INSERT INTO "event" VALUES(5,5,1763700033.0,'pending','submitted by ada');
INSERT INTO "event" VALUES(6,6,1763700034.0,'pending','submitted by ada');
INSERT INTO "event" VALUES(7,7,1763700036.0,'pending','submitted by ada');
INSERT INTO "event" VALUES(8,3,1763700031.0,'running','container started');
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
INSERT INTO "job" VALUES(1,1,'{"command":["python3","train.py"],"name":null,"image":null,"gpus":1,"cpus":null,"memory":null,"time":null,"priority":0,"data":[],"env":{}}',0,'cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc','0123abc','finished',NULL,NULL,'succeeded','ok','succeeded','[]',0,'sha256:1',1763700010.0,1763700011.0,1763700020.0,NULL);
INSERT INTO "job" VALUES(2,2,'{"command":["python3","train.py"],"name":null,"image":null,"gpus":0,"cpus":null,"memory":null,"time":null,"priority":0,"data":[],"env":{}}',0,'cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc',NULL,'finished',NULL,'cancelled','cancelled','cancelled','cancelled by ada','["line"]',143,'sha256:1',1763700012.0,1763700013.0,1763700021.0,'ada');
INSERT INTO "job" VALUES(3,1,'{"command":["python3","train.py"],"name":"long","image":null,"gpus":2,"cpus":null,"memory":null,"time":7200,"priority":0,"data":[],"env":{"A":"ü"}}',5,'cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc',NULL,'running',NULL,NULL,NULL,NULL,NULL,'[]',NULL,'sha256:1',1763700030.0,1763700031.0,NULL,NULL);
INSERT INTO "job" VALUES(4,2,'{"command":["python3","train.py"],"name":null,"image":null,"gpus":0,"cpus":null,"memory":null,"time":null,"priority":0,"data":[],"env":{}}',0,NULL,NULL,'starting',NULL,NULL,NULL,NULL,NULL,'[]',NULL,NULL,1763700032.0,NULL,NULL,NULL);
INSERT INTO "job" VALUES(5,2,'{"command":["python3","train.py"],"name":null,"image":null,"gpus":1,"cpus":null,"memory":null,"time":null,"priority":0,"data":[],"env":{}}',-3,'cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc',NULL,'pending','1 more GPU',NULL,NULL,NULL,NULL,'[]',NULL,NULL,1763700033.0,NULL,NULL,NULL);
INSERT INTO "job" VALUES(6,1,'{"command":["python3","train.py"],"name":null,"image":null,"gpus":0,"cpus":null,"memory":null,"time":null,"priority":0,"data":[],"env":{}}',0,NULL,NULL,'stopping',NULL,'time_limit',NULL,NULL,NULL,'[]',NULL,'sha256:1',1763700034.0,1763700035.0,NULL,NULL);
INSERT INTO "job" VALUES(7,1,'{"command":["python3","train.py"],"name":null,"image":"nope","gpus":0,"cpus":null,"memory":null,"time":null,"priority":0,"data":[],"env":{}}',0,NULL,NULL,'finished',NULL,NULL,'failed','image_error','no image nope','["tensorflow"]',NULL,NULL,1763700036.0,NULL,1763700037.0,NULL);
CREATE TABLE reservation (
    gpu_uuid TEXT PRIMARY KEY,
    attempt_id INTEGER NOT NULL REFERENCES attempt (id)
);
INSERT INTO "reservation" VALUES('GPU-a',3);
INSERT INTO "reservation" VALUES('GPU-b',3);
INSERT INTO "reservation" VALUES('GPU-c',5);
CREATE TABLE token (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id INTEGER NOT NULL REFERENCES user (id),
    hash TEXT NOT NULL UNIQUE,
    created_at REAL NOT NULL,
    revoked_at REAL
);
INSERT INTO "token" VALUES(1,1,'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa',1763700000.0,NULL);
INSERT INTO "token" VALUES(2,2,'bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb',1763700001.0,1763700002.0);
CREATE TABLE user (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    role TEXT NOT NULL CHECK (role IN ('admin', 'user')),
    uid INTEGER NOT NULL,
    gid INTEGER NOT NULL,
    created_at REAL NOT NULL
);
INSERT INTO "user" VALUES(1,'ada','admin',1900000001,1900000001,1763700000.0);
INSERT INTO "user" VALUES(2,'bob','user',1001,1001,1763700001.0);
CREATE INDEX job_by_state ON job (state, priority DESC, id) WHERE state <> 'finished';
CREATE INDEX job_by_owner ON job (owner_id, id);
CREATE UNIQUE INDEX attempt_open ON attempt (job_id) WHERE finished_at IS NULL;
CREATE INDEX event_by_job ON event (job_id, id);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('user',2);
INSERT INTO "sqlite_sequence" VALUES('token',2);
INSERT INTO "sqlite_sequence" VALUES('job',9);
INSERT INTO "sqlite_sequence" VALUES('attempt',6);
INSERT INTO "sqlite_sequence" VALUES('event',8);
COMMIT;
