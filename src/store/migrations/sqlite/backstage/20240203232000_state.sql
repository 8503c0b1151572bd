ALTER TABLE `tasks` ADD COLUMN `state` text NULL;
