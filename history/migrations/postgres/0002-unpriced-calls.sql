-- Calls whose lanes have no price.
ALTER TABLE history_usage ADD COLUMN unpriced_calls bigint NOT NULL DEFAULT 0;
