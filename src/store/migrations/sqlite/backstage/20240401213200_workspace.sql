ALTER TABLE `tasks` ADD COLUMN `workspace` blob NULL;
