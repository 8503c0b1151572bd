CREATE TABLE IF NOT EXISTS `backstage_backend_public_keys__knex_migrations` (
  `id` integer NOT NULL PRIMARY KEY AUTOINCREMENT,
  `name` varchar(255),
  `batch` integer,
  `migration_time` datetime
);
CREATE TABLE IF NOT EXISTS `backstage_backend_public_keys__knex_migrations_lock` (
  `index` integer NOT NULL PRIMARY KEY AUTOINCREMENT,
  `is_locked` integer
);
INSERT INTO `backstage_backend_public_keys__knex_migrations_lock` (`is_locked`)
  SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM `backstage_backend_public_keys__knex_migrations_lock`);
CREATE TABLE IF NOT EXISTS `backstage_backend_public_keys__keys` (
  `id` varchar(255) NOT NULL,
  `key` text NOT NULL,
  `expires_at` varchar(255) NOT NULL,
  PRIMARY KEY (`id`)
);
INSERT INTO `backstage_backend_public_keys__knex_migrations` (`name`, `batch`, `migration_time`)
  SELECT '20240327104803_public_keys.js', 1, CAST((julianday('now') - 2440587.5) * 86400000 AS integer)
  WHERE NOT EXISTS (
    SELECT 1 FROM `backstage_backend_public_keys__knex_migrations` WHERE `name` = '20240327104803_public_keys.js'
  );
