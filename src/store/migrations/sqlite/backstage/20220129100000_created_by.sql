ALTER TABLE `tasks` ADD COLUMN `created_by` text NULL;
