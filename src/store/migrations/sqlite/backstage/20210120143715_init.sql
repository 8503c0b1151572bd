CREATE TABLE IF NOT EXISTS `tasks` (
  `id` char(36) NOT NULL,
  `spec` text NOT NULL,
  `status` text NOT NULL,
  `created_at` datetime NOT NULL DEFAULT CURRENT_TIMESTAMP,
  `last_heartbeat_at` datetime NULL,
  PRIMARY KEY (`id`)
);
CREATE TABLE IF NOT EXISTS `task_events` (
  `id` integer NOT NULL PRIMARY KEY AUTOINCREMENT,
  `task_id` char(36) NOT NULL,
  `body` text NOT NULL,
  `event_type` text NOT NULL,
  `created_at` datetime NOT NULL DEFAULT CURRENT_TIMESTAMP,
  FOREIGN KEY (`task_id`) REFERENCES `tasks` (`id`) ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS `task_events_task_id_idx` ON `task_events` (`task_id`);
