CREATE TABLE IF NOT EXISTS `knex_migrations` (
  `id` integer NOT NULL PRIMARY KEY AUTOINCREMENT,
  `name` varchar(255),
  `batch` integer,
  `migration_time` datetime
);
CREATE TABLE IF NOT EXISTS `knex_migrations_lock` (
  `index` integer NOT NULL PRIMARY KEY AUTOINCREMENT,
  `is_locked` integer
);
INSERT INTO `knex_migrations_lock` (`is_locked`) SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM `knex_migrations_lock`);
