-- Saved workspaces of tasks: what was saved, and where. A task goes on with the current one; the others are on their way in
-- or out.
CREATE TABLE understudy_workspaces (
  task_id uuid NOT NULL,
  version uuid NOT NULL,
  provider text NOT NULL,
  is_current boolean NOT NULL DEFAULT false,
  chunks integer NOT NULL DEFAULT 0,
  bytes bigint NOT NULL DEFAULT 0,
  sha256 text NOT NULL DEFAULT '',
  unpacked bigint NOT NULL DEFAULT 0,
  fingerprint text NOT NULL DEFAULT '',
  created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
  PRIMARY KEY (task_id, version)
);
-- The content of those that the provider `database` keeps.
CREATE TABLE understudy_workspace_chunks (
  task_id uuid NOT NULL,
  version uuid NOT NULL,
  number integer NOT NULL,
  content bytea NOT NULL,
  PRIMARY KEY (task_id, version, number)
);
-- It is compressed already.
ALTER TABLE understudy_workspace_chunks ALTER COLUMN content SET STORAGE EXTERNAL;
