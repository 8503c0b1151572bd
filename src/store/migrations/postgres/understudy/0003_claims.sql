-- Who runs a task: a row as long as somebody does. Tokens only grow, so that a worker that was away knows that it lost.
CREATE TABLE understudy_claims (
  task_id uuid NOT NULL PRIMARY KEY,
  token bigserial NOT NULL,
  replica text NOT NULL,
  batch bigint NOT NULL DEFAULT 0,
  claimed_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP
);
-- Heartbeats ask whether somebody wants the task to stop.
CREATE INDEX understudy_task_events_cancelled_idx ON task_events (task_id) WHERE event_type = 'cancelled';
