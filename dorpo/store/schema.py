"""The dataset's schema, as numbered migrations that are only ever appended to.

Every table is STRICT, because SQLite would otherwise keep a text in a number's column without a word. Keys
inside the file are integers, so that a damaged file can be salvaged row by row; `uid`s are for the outside.
"""

from __future__ import annotations

from sqlite_utils import Database, Migrations

# "DRPO": lets the store tell its own files from another program's databases.
APPLICATION_ID = 0x4452504F


def unknown_migrations(db: Database) -> set[str]:
    """Migrations a file has seen that this code does not know: a newer version wrote it."""
    return {migration.name for migration in migrations.applied(db)} - _MIGRATIONS.keys()


def _dataset(db: Database) -> None:
    """The first schema: sessions, what happened in them, and the rows that came out."""
    db.executescript(_TEXTS + _SESSIONS + _ATTEMPTS + _ROWS)
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def _training(db: Database) -> None:
    """Which rows a model was trained on, so that forgetting a session can name the models that saw it."""
    db.executescript(_TRAININGS)


def _views(db: Database) -> None:
    """Views are for people with any SQLite tool (`dorpo`), and for deleting (`text_use`)."""
    db.executescript(_VIEWS)


def _cost(db: Database) -> None:
    """What a call cost, where its price was known when it was made."""
    db.execute("ALTER TABLE agent_call ADD COLUMN cost_usd REAL")


def _journal(db: Database) -> None:
    """What a session was told, in order: with its settings, enough to go on where it broke off."""
    db.execute("ALTER TABLE session ADD COLUMN settings TEXT")
    db.execute(_JOURNAL)


def _labellers(db: Database) -> None:
    """Whose soft labels they are: of a text that its own writer did not score, another model's."""
    db.execute("ALTER TABLE soft_labels ADD COLUMN teacher TEXT")
    # Until then a text of the user's was scored by the worker's own teacher, right after its attempt.
    db.execute(_OWN_LABELLERS)
    db.execute("DROP VIEW dorpo")
    db.execute(_ROW_VIEW)


# Content-addressed, since scripts repeat in every cycle; uncompressed, so that the view can show them.
_TEXTS = """
CREATE TABLE text(
  id INTEGER PRIMARY KEY,
  sha256 TEXT NOT NULL UNIQUE,
  body TEXT NOT NULL) STRICT;
"""

_SESSIONS = """
CREATE TABLE session(
  id INTEGER PRIMARY KEY,
  uid TEXT NOT NULL UNIQUE,
  created_at TEXT NOT NULL,
  ended_at TEXT,
  document TEXT NOT NULL,
  language TEXT NOT NULL,
  request INTEGER NOT NULL REFERENCES text,
  script INTEGER NOT NULL REFERENCES text,
  instance TEXT NOT NULL,
  app_version TEXT NOT NULL,
  status TEXT NOT NULL DEFAULT 'open' CHECK(status IN ('open', 'done', 'abandoned', 'crashed'))) STRICT;
CREATE INDEX session_request ON session(request);
CREATE INDEX session_script ON session(script);

CREATE TABLE step(
  id INTEGER PRIMARY KEY,
  session_id INTEGER NOT NULL REFERENCES session ON DELETE CASCADE,
  n INTEGER NOT NULL,
  text TEXT NOT NULL,
  prompt INTEGER REFERENCES text,
  status TEXT NOT NULL DEFAULT 'open' CHECK(status IN ('open', 'accepted', 'abandoned')),
  UNIQUE(session_id, n)) STRICT;
CREATE INDEX step_prompt ON step(prompt);

CREATE TABLE agent_call(
  id INTEGER PRIMARY KEY,
  session_id INTEGER NOT NULL REFERENCES session ON DELETE CASCADE,
  created_at TEXT NOT NULL,
  agent TEXT NOT NULL,
  teacher TEXT NOT NULL,
  request INTEGER NOT NULL REFERENCES text,
  response INTEGER REFERENCES text,
  status TEXT NOT NULL,
  input_tokens INTEGER,
  output_tokens INTEGER,
  seconds REAL,
  step INTEGER,
  cycle INTEGER) STRICT;
CREATE INDEX agent_call_session ON agent_call(session_id);
CREATE INDEX agent_call_request ON agent_call(request);
CREATE INDEX agent_call_response ON agent_call(response);
"""

# A user's text shares its cycle with the worker's attempt that it amends, hence the author in the unique key.
_ATTEMPTS = """
CREATE TABLE attempt(
  id INTEGER PRIMARY KEY,
  uid TEXT NOT NULL UNIQUE,
  step_id INTEGER NOT NULL REFERENCES step ON DELETE CASCADE,
  created_at TEXT NOT NULL,
  cycle INTEGER NOT NULL CHECK(cycle >= 1),
  cause TEXT NOT NULL CHECK(cause IN ('first', 'error', 'redo', 'further_edit', 'amended', 'by_hand')),
  author TEXT NOT NULL CHECK(author IN ('worker', 'user')),
  instruction INTEGER NOT NULL REFERENCES text,
  base_script INTEGER NOT NULL REFERENCES text,
  response INTEGER NOT NULL REFERENCES text,
  reasoning INTEGER NOT NULL REFERENCES text,
  script INTEGER NOT NULL REFERENCES text,
  teacher TEXT NOT NULL,
  finish_reason TEXT,
  input_tokens INTEGER,
  output_tokens INTEGER,
  seconds REAL,
  CHECK((author = 'user') = (cause IN ('amended', 'by_hand'))),
  UNIQUE(step_id, cycle, author)) STRICT;
CREATE INDEX attempt_instruction ON attempt(instruction);
CREATE INDEX attempt_base_script ON attempt(base_script);
CREATE INDEX attempt_response ON attempt(response);
CREATE INDEX attempt_reasoning ON attempt(reasoning);
CREATE INDEX attempt_script ON attempt(script);

CREATE TABLE soft_labels(
  attempt_id INTEGER PRIMARY KEY REFERENCES attempt ON DELETE CASCADE,
  tokens INTEGER NOT NULL CHECK(tokens > 0),
  sha256 TEXT NOT NULL,
  data BLOB NOT NULL) STRICT;

CREATE TABLE run(
  id INTEGER PRIMARY KEY,
  attempt_id INTEGER NOT NULL REFERENCES attempt ON DELETE CASCADE,
  created_at TEXT NOT NULL,
  backend TEXT NOT NULL,
  outcome TEXT NOT NULL CHECK(outcome IN (
    'ok', 'script_error', 'timeout', 'limit', 'sandbox_denied', 'sandbox_unavailable', 'cancelled')),
  exit_code INTEGER,
  output INTEGER NOT NULL REFERENCES text,
  seconds REAL NOT NULL) STRICT;
CREATE INDEX run_attempt ON run(attempt_id);
CREATE INDEX run_output ON run(output);

CREATE TABLE feedback(
  id INTEGER PRIMARY KEY,
  attempt_id INTEGER NOT NULL REFERENCES attempt ON DELETE CASCADE,
  created_at TEXT NOT NULL,
  words TEXT NOT NULL,
  verdict TEXT NOT NULL CHECK(verdict IN ('accepted', 'redo', 'further_edit')),
  decided_by TEXT NOT NULL CHECK(decided_by IN ('user', 'analyzer'))) STRICT;
CREATE INDEX feedback_attempt ON feedback(attempt_id);
"""

# The rejected side is written when it happens, the chosen side of the whole step when the step is accepted.
_ROWS = """
CREATE TABLE pair(
  id INTEGER PRIMARY KEY,
  uid TEXT NOT NULL UNIQUE,
  step_id INTEGER NOT NULL REFERENCES step ON DELETE CASCADE,
  created_at TEXT NOT NULL,
  updated_at TEXT NOT NULL,
  rejected_id INTEGER UNIQUE REFERENCES attempt ON DELETE CASCADE,
  reason TEXT CHECK(reason IN ('error', 'redo', 'further_edit', 'amended')),
  chosen_id INTEGER REFERENCES attempt ON DELETE CASCADE,
  CHECK((rejected_id IS NULL) = (reason IS NULL)),
  CHECK(rejected_id IS NOT NULL OR chosen_id IS NOT NULL),
  CHECK(rejected_id IS NOT chosen_id)) STRICT;
CREATE INDEX pair_step ON pair(step_id);
CREATE INDEX pair_chosen ON pair(chosen_id);
CREATE UNIQUE INDEX pair_without_rejected ON pair(step_id) WHERE rejected_id IS NULL;
"""

# Rows are remembered by uid and not by reference: a training outlives the session it learned from.
_TRAININGS = """
CREATE TABLE training(
  id INTEGER PRIMARY KEY,
  uid TEXT NOT NULL UNIQUE,
  created_at TEXT NOT NULL,
  ended_at TEXT,
  dataset_sha256 TEXT NOT NULL,
  student TEXT NOT NULL,
  config TEXT NOT NULL,
  output TEXT NOT NULL,
  status TEXT NOT NULL DEFAULT 'running' CHECK(status IN ('running', 'done', 'failed', 'cancelled')),
  last_step INTEGER,
  metrics TEXT,
  error TEXT) STRICT;
CREATE TABLE training_row(
  training_id INTEGER NOT NULL REFERENCES training ON DELETE CASCADE,
  row_uid TEXT NOT NULL,
  PRIMARY KEY(training_id, row_uid)) STRICT, WITHOUT ROWID;
CREATE INDEX training_row_uid ON training_row(row_uid);
"""

# Events hold their texts themselves: a session goes on with exactly what it had, to the character.
_JOURNAL = """
CREATE TABLE journal(
  id INTEGER PRIMARY KEY,
  session_id INTEGER NOT NULL REFERENCES session ON DELETE CASCADE,
  n INTEGER NOT NULL,
  created_at TEXT NOT NULL,
  event TEXT NOT NULL,
  UNIQUE(session_id, n)) STRICT
"""

_OWN_LABELLERS = """
UPDATE soft_labels SET teacher = (
  SELECT workers.teacher FROM attempt JOIN attempt AS workers ON workers.step_id = attempt.step_id
  WHERE attempt.id = soft_labels.attempt_id AND workers.author = 'worker' AND workers.id <= attempt.id
  ORDER BY workers.id DESC LIMIT 1)
"""

_ROW_VIEW = """
CREATE VIEW dorpo AS
SELECT pair.uid, session.uid AS session, step.n AS step,
  prompt.body AS prompt, chosen_text.body AS chosen, rejected_text.body AS rejected,
  pair.reason, chosen.teacher, chosen.cycle, chosen.author,
  soft_labels.attempt_id IS NOT NULL AS has_soft_labels, soft_labels.teacher AS soft_labels_by,
  pair.created_at, pair.updated_at
FROM pair
JOIN step ON step.id = pair.step_id AND step.status = 'accepted'
JOIN session ON session.id = step.session_id
JOIN text AS prompt ON prompt.id = step.prompt
JOIN attempt AS chosen ON chosen.id = pair.chosen_id
JOIN text AS chosen_text ON chosen_text.id = chosen.response
LEFT JOIN attempt AS rejected ON rejected.id = pair.rejected_id
LEFT JOIN text AS rejected_text ON rejected_text.id = rejected.response
LEFT JOIN soft_labels ON soft_labels.attempt_id = chosen.id
"""

_VIEWS = """
CREATE VIEW dorpo AS
SELECT pair.uid, session.uid AS session, step.n AS step,
  prompt.body AS prompt, chosen_text.body AS chosen, rejected_text.body AS rejected,
  pair.reason, chosen.teacher, chosen.cycle, chosen.author,
  soft_labels.attempt_id IS NOT NULL AS has_soft_labels, pair.created_at, pair.updated_at
FROM pair
JOIN step ON step.id = pair.step_id AND step.status = 'accepted'
JOIN session ON session.id = step.session_id
JOIN text AS prompt ON prompt.id = step.prompt
JOIN attempt AS chosen ON chosen.id = pair.chosen_id
JOIN text AS chosen_text ON chosen_text.id = chosen.response
LEFT JOIN attempt AS rejected ON rejected.id = pair.rejected_id
LEFT JOIN text AS rejected_text ON rejected_text.id = rejected.response
LEFT JOIN soft_labels ON soft_labels.attempt_id = chosen.id;

CREATE VIEW text_use AS
SELECT request AS text_id FROM session
UNION ALL SELECT script FROM session
UNION ALL SELECT prompt FROM step WHERE prompt IS NOT NULL
UNION ALL SELECT request FROM agent_call
UNION ALL SELECT response FROM agent_call WHERE response IS NOT NULL
UNION ALL SELECT instruction FROM attempt
UNION ALL SELECT base_script FROM attempt
UNION ALL SELECT response FROM attempt
UNION ALL SELECT reasoning FROM attempt
UNION ALL SELECT script FROM attempt
UNION ALL SELECT output FROM run;
"""

# Appended to, never changed: every name is remembered in the files that have seen it.
_MIGRATIONS = {
    "0001_dataset": _dataset,
    "0002_training": _training,
    "0003_views": _views,
    "0004_cost": _cost,
    "0005_journal": _journal,
    "0006_labellers": _labellers,
}

migrations = Migrations("dorpo")
for _name, _migration in _MIGRATIONS.items():
    migrations(name=_name)(_migration)
