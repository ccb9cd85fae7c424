-- Finished jobs. `root` is what all keys of the tenant in Redis begin with, `<prefix>:{t:<tenant>}`. Times are Unix ms, money is
-- billionths of a dollar.
CREATE TABLE history_jobs (
  root text COLLATE "C" NOT NULL,
  id text COLLATE "C" NOT NULL,
  -- 0: there; 1: open again in Redis, and not shown here; 2: deleted, kept without content so that no late copy brings it back
  state smallint NOT NULL,
  created_at bigint NOT NULL,
  finished_at bigint NOT NULL,
  expires_at bigint NOT NULL,
  -- The number of the block that it came with.
  block bigint NOT NULL,
  status text COLLATE "C" NOT NULL,
  type text COLLATE "C" NOT NULL,
  model text COLLATE "C" NOT NULL,
  lane text COLLATE "C" NOT NULL,
  group_name text COLLATE "C",
  schedule text COLLATE "C",
  error_code text COLLATE "C",
  retryable smallint NOT NULL,
  cost_nano bigint NOT NULL,
  -- The key of its result in history_contents; null: it has none here.
  result_key text COLLATE "C",
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
  root text COLLATE "C" NOT NULL,
  key text COLLATE "C" NOT NULL,
  value bytea NOT NULL,
  PRIMARY KEY (root, key)
);

-- `pair` is a digest of a name and its value.
CREATE TABLE history_metadata (
  root text COLLATE "C" NOT NULL,
  pair text COLLATE "C" NOT NULL,
  created_at bigint NOT NULL,
  id text COLLATE "C" NOT NULL,
  PRIMARY KEY (root, pair, created_at, id)
);
CREATE INDEX history_metadata_job ON history_metadata (root, id);

CREATE TABLE history_deliveries (
  root text COLLATE "C" NOT NULL,
  id text COLLATE "C" NOT NULL,
  job text COLLATE "C" NOT NULL,
  PRIMARY KEY (root, id)
);
CREATE INDEX history_deliveries_job ON history_deliveries (root, job);

CREATE TABLE history_groups (
  root text COLLATE "C" NOT NULL,
  name text COLLATE "C" NOT NULL,
  changed_at bigint NOT NULL,
  PRIMARY KEY (root, name)
);
CREATE INDEX history_groups_changed ON history_groups (root, changed_at, name);

-- Sums by day (UTC) of the end. `fair_key` is a digest, '' for none; `fair_label` the fair key as it rests.
CREATE TABLE history_usage (
  root text COLLATE "C" NOT NULL,
  day text COLLATE "C" NOT NULL,
  model text COLLATE "C" NOT NULL,
  tier text COLLATE "C" NOT NULL,
  fair_key text COLLATE "C" NOT NULL,
  fair_label text NOT NULL,
  jobs bigint NOT NULL,
  failed bigint NOT NULL,
  calls bigint NOT NULL,
  input_tokens bigint NOT NULL,
  cached_input_tokens bigint NOT NULL,
  cache_write_tokens bigint NOT NULL,
  output_tokens bigint NOT NULL,
  reasoning_tokens bigint NOT NULL,
  cost_nano bigint NOT NULL,
  saved_cache_nano bigint NOT NULL,
  saved_sharing_nano bigint NOT NULL,
  saved_tiers_nano bigint NOT NULL,
  saved_prompt_cache_nano bigint NOT NULL,
  PRIMARY KEY (root, day, model, tier, fair_key)
);
