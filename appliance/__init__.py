"""Spud, a GPU training appliance for the budget box: the package behind the command `spud`.

    config.py      settings, from one TOML file and SPUD_* variables
    errors.py      the errors a user can meet
    database.py    SQLite: connections, transactions, migrations
    doorbell.py    wakes the scheduler when somebody has changed the store
    failpoints.py  where tests let a process die
    backup.py      the store in one file; restore.py brings it back
    users/         who may do what; tokens
    jobs/          what a job is, and all that is recorded of it (states change in lifecycle.py alone)
    datasets/      the data sets that jobs mount read-only
    gpus/          the cards: identity, readings; the only NVML client
    containers/    from a job to a container; the only Docker client
    executors/     one attempt from reservation to verdict
    scheduler/     which job starts when and on what
    metrics/       collectors and the exporter
    benchmarks/    one training script per headline benchmark, and the report
    web/           pages and JSON API
    cli/           the command

Imports point one way: cli, web -> scheduler, metrics -> executors -> containers, gpus, jobs, users,
datasets -> database, config, errors.
"""

__version__ = "0.1.0"
