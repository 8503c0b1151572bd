-- Who runs a task: a row as long as somebody does. Tokens only grow, so that a worker that was away knows that it lost.
CREATE TABLE understudy_claims (
  token integer NOT NULL PRIMARY KEY AUTOINCREMENT,
  task_id char(36) NOT NULL UNIQUE,
  replica text NOT NULL,
  batch integer NOT NULL DEFAULT 0,
  claimed_at datetime NOT NULL DEFAULT CURRENT_TIMESTAMP
);
-- Heartbeats ask whether somebody wants the task to stop.
CREATE INDEX understudy_task_events_cancelled_idx ON task_events (task_id) WHERE event_type = 'cancelled';
