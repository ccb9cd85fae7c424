-- Finished jobs. `root` is what all keys of the tenant in Redis begin with, `<prefix>:{t:<tenant>}`. Times are Unix ms, money is
-- billionths of a dollar.
CREATE TABLE history_jobs (
  root text NOT NULL,
  id text NOT NULL,
  -- 0: there; 1: open again in Redis, and not shown here; 2: deleted, kept without content so that no late copy brings it back
  state integer NOT NULL,
  created_at integer NOT NULL,
  finished_at integer NOT NULL,
  expires_at integer NOT NULL,
  -- The number of the block that it came with.
  block integer NOT NULL,
  status text NOT NULL,
  type text NOT NULL,
  model text NOT NULL,
  lane text NOT NULL,
  group_name text,
  schedule text,
  error_code text,
  retryable integer NOT NULL,
  cost_nano integer NOT NULL,
  -- The key of its result in history_contents; null: it has none here.
  result_key text,
  event_count integer NOT NULL,
  -- What it added to history_usage, as JSON.
  usage text NOT NULL,
  -- The record without body and result, attempts, and deliveries, as JSON. What is encrypted in Redis is encrypted here.
  record text NOT NULL,
  attempts text NOT NULL,
  deliveries text NOT NULL,
  PRIMARY KEY (root, id)
);
CREATE INDEX history_jobs_created ON history_jobs (root, created_at, id);
CREATE INDEX history_jobs_status ON history_jobs (root, status, created_at, id);
CREATE INDEX history_jobs_model ON history_jobs (root, model, created_at, id);
CREATE INDEX history_jobs_group ON history_jobs (root, group_name, created_at, id) WHERE group_name IS NOT NULL;
CREATE INDEX history_jobs_schedule ON history_jobs (root, schedule, created_at, id) WHERE schedule IS NOT NULL;
CREATE INDEX history_jobs_error ON history_jobs (root, error_code, created_at, id) WHERE error_code IS NOT NULL;
CREATE INDEX history_jobs_result ON history_jobs (root, result_key) WHERE result_key IS NOT NULL;
CREATE INDEX history_jobs_expiry ON history_jobs (expires_at);

-- Bodies (`body:<id>`), and results: of one job (`result:<id>`), or of all jobs that have the same answer (`answer:<hash>:<name>`).
CREATE TABLE history_contents (
  root text NOT NULL,
  key text NOT NULL,
  value blob NOT NULL,
  PRIMARY KEY (root, key)
);

-- `pair` is a digest of a name and its value.
CREATE TABLE history_metadata (
  root text NOT NULL,
  pair text NOT NULL,
  created_at integer NOT NULL,
  id text NOT NULL,
  PRIMARY KEY (root, pair, created_at, id)
) WITHOUT ROWID;
CREATE INDEX history_metadata_job ON history_metadata (root, id);

CREATE TABLE history_deliveries (
  root text NOT NULL,
  id text NOT NULL,
  job text NOT NULL,
  PRIMARY KEY (root, id)
);
CREATE INDEX history_deliveries_job ON history_deliveries (root, job);

CREATE TABLE history_groups (
  root text NOT NULL,
  name text NOT NULL,
  changed_at integer NOT NULL,
  PRIMARY KEY (root, name)
);
CREATE INDEX history_groups_changed ON history_groups (root, changed_at, name);

-- Sums by day (UTC) of the end. `fair_key` is a digest, '' for none; `fair_label` the fair key as it rests.
CREATE TABLE history_usage (
  root text NOT NULL,
  day text NOT NULL,
  model text NOT NULL,
  tier text NOT NULL,
  fair_key text NOT NULL,
  fair_label text NOT NULL,
  jobs integer NOT NULL,
  failed integer NOT NULL,
  calls integer NOT NULL,
  input_tokens integer NOT NULL,
  cached_input_tokens integer NOT NULL,
  cache_write_tokens integer NOT NULL,
  output_tokens integer NOT NULL,
  reasoning_tokens integer NOT NULL,
  cost_nano integer NOT NULL,
  saved_cache_nano integer NOT NULL,
  saved_sharing_nano integer NOT NULL,
  saved_tiers_nano integer NOT NULL,
  saved_prompt_cache_nano integer NOT NULL,
  PRIMARY KEY (root, day, model, tier, fair_key)
) WITHOUT ROWID;
