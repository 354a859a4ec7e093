-- Revision 0028, written by scripts/empty_schema.py
CREATE TABLE admin_tokens (
	id VARCHAR NOT NULL, 
	admin_id VARCHAR NOT NULL, 
	name VARCHAR NOT NULL, 
	hash VARCHAR NOT NULL, 
	hint VARCHAR NOT NULL, 
	session BOOLEAN NOT NULL, 
	scopes JSON, 
	expires_at BIGINT, 
	created_at BIGINT NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (hash)
);

CREATE TABLE admins (
	id VARCHAR NOT NULL, 
	name VARCHAR NOT NULL, 
	subject VARCHAR, 
	version INTEGER NOT NULL, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, spec JSON DEFAULT '{}' NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (name), 
	UNIQUE (subject)
);

CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);

INSERT INTO "alembic_version" VALUES('0028');

CREATE TABLE alerts (
	id VARCHAR NOT NULL, 
	payload JSON NOT NULL, 
	created_at BIGINT NOT NULL, 
	next_try_at BIGINT NOT NULL, 
	tries INTEGER NOT NULL, 
	delivered_at BIGINT, 
	PRIMARY KEY (id)
);

CREATE TABLE audit (
	id VARCHAR NOT NULL, 
	time BIGINT NOT NULL, 
	actor VARCHAR NOT NULL, 
	action VARCHAR NOT NULL, 
	kind VARCHAR NOT NULL, 
	name VARCHAR NOT NULL, 
	"before" JSON, 
	"after" JSON, project_id VARCHAR, old_project_id VARCHAR, mac VARCHAR, 
	PRIMARY KEY (id)
);

CREATE TABLE batch_inputs (
	provider VARCHAR NOT NULL, 
	id VARCHAR NOT NULL, 
	created_at BIGINT NOT NULL, 
	lines BLOB NOT NULL, 
	PRIMARY KEY (provider, id)
);

CREATE TABLE batches (
	id VARCHAR NOT NULL, 
	provider VARCHAR NOT NULL, 
	work_id VARCHAR NOT NULL, 
	format VARCHAR NOT NULL, 
	path VARCHAR NOT NULL, 
	credential VARCHAR NOT NULL, 
	key_id VARCHAR NOT NULL, 
	project_id VARCHAR NOT NULL, 
	created_at BIGINT NOT NULL, 
	deadline BIGINT NOT NULL, 
	look_at BIGINT NOT NULL, 
	looks INTEGER NOT NULL, 
	node VARCHAR NOT NULL, 
	until BIGINT NOT NULL, 
	lines BLOB, 
	PRIMARY KEY (id)
);

CREATE TABLE breaker_changes (
	id BIGINT NOT NULL, 
	time BIGINT NOT NULL, 
	node_id VARCHAR NOT NULL, 
	provider VARCHAR NOT NULL, 
	credential VARCHAR NOT NULL, 
	"before" VARCHAR NOT NULL, 
	state VARCHAR NOT NULL, 
	until BIGINT, 
	reason VARCHAR, 
	PRIMARY KEY (id)
);

CREATE TABLE breakers (
	node_id VARCHAR NOT NULL, 
	provider VARCHAR NOT NULL, 
	credential VARCHAR NOT NULL, 
	state VARCHAR NOT NULL, 
	own BOOLEAN NOT NULL, 
	since BIGINT NOT NULL, 
	until BIGINT, 
	reason VARCHAR, 
	waits JSON NOT NULL, 
	sums JSON NOT NULL, 
	last_error VARCHAR, 
	last_error_at BIGINT, 
	PRIMARY KEY (node_id, provider, credential)
);

CREATE TABLE counters (
	limit_id VARCHAR NOT NULL, 
	window_start BIGINT NOT NULL, 
	spent BIGINT NOT NULL, 
	held BIGINT NOT NULL, 
	PRIMARY KEY (limit_id, window_start)
);

CREATE TABLE holds (
	id VARCHAR NOT NULL, 
	node_id VARCHAR NOT NULL, 
	time BIGINT NOT NULL, 
	key_id VARCHAR NOT NULL, 
	project_id VARCHAR NOT NULL, 
	user_id VARCHAR NOT NULL, 
	reserved BIGINT NOT NULL, 
	limits JSON NOT NULL, 
	request JSON NOT NULL, 
	PRIMARY KEY (id)
);

CREATE TABLE key_uses (
	key_id VARCHAR NOT NULL, 
	time BIGINT NOT NULL, 
	address VARCHAR, 
	PRIMARY KEY (key_id)
);

CREATE TABLE "keys" (
	id VARCHAR NOT NULL, 
	name VARCHAR NOT NULL, 
	hash VARCHAR NOT NULL, 
	hint VARCHAR NOT NULL, 
	project_id VARCHAR, 
	user_id VARCHAR, 
	state VARCHAR NOT NULL, 
	version INTEGER NOT NULL, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	spec JSON DEFAULT '{}' NOT NULL, 
	old_hash VARCHAR, 
	old_until BIGINT, 
	login BOOLEAN DEFAULT 0 NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (hash), 
	UNIQUE (name)
);

CREATE TABLE limit_requests (
	id VARCHAR NOT NULL, 
	limit_id VARCHAR NOT NULL, 
	key_id VARCHAR NOT NULL, 
	amount BIGINT NOT NULL, 
	why VARCHAR NOT NULL, 
	time BIGINT NOT NULL, 
	state VARCHAR NOT NULL, 
	actor VARCHAR, 
	decided_at BIGINT, 
	answer VARCHAR, 
	PRIMARY KEY (id)
);

CREATE TABLE limits (
	id VARCHAR NOT NULL, 
	owner_kind VARCHAR NOT NULL, 
	owner_id VARCHAR NOT NULL, 
	unit VARCHAR NOT NULL, 
	window VARCHAR NOT NULL, 
	amount BIGINT NOT NULL, 
	soft BOOLEAN NOT NULL, zone VARCHAR DEFAULT 'UTC' NOT NULL, old_zone VARCHAR, zone_since BIGINT DEFAULT '0' NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (owner_kind, owner_id, unit, window)
);

CREATE TABLE meta (
	name VARCHAR NOT NULL, 
	value BIGINT NOT NULL, text VARCHAR, 
	PRIMARY KEY (name)
);

INSERT INTO "meta" VALUES('ledger_schema',3,NULL);

CREATE TABLE named_limits (
	id VARCHAR NOT NULL, 
	name VARCHAR NOT NULL, 
	spec JSON NOT NULL, 
	version INTEGER NOT NULL, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (name)
);

CREATE TABLE nodes (
	id VARCHAR NOT NULL, 
	host VARCHAR NOT NULL, 
	pid INTEGER NOT NULL, 
	started_at BIGINT NOT NULL, 
	beat_at BIGINT NOT NULL, 
	PRIMARY KEY (id)
);

CREATE TABLE prices (
	id VARCHAR NOT NULL, 
	name VARCHAR NOT NULL, 
	spec JSON NOT NULL, 
	version INTEGER NOT NULL, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (name)
);

CREATE TABLE projects (
	id VARCHAR NOT NULL, 
	name VARCHAR NOT NULL, 
	version INTEGER NOT NULL, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, spec JSON DEFAULT '{}' NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (name)
);

CREATE TABLE providers (
	id VARCHAR NOT NULL, 
	name VARCHAR NOT NULL, 
	version INTEGER NOT NULL, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, spec JSON DEFAULT '{}' NOT NULL, sealed JSON DEFAULT '{}' NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (name)
);

CREATE TABLE raises (
	id VARCHAR NOT NULL, 
	limit_id VARCHAR NOT NULL, 
	amount BIGINT NOT NULL, 
	actor VARCHAR NOT NULL, 
	why VARCHAR NOT NULL, 
	since BIGINT NOT NULL, 
	until BIGINT NOT NULL, 
	PRIMARY KEY (id)
);

CREATE TABLE refusals (
	id VARCHAR NOT NULL, 
	time BIGINT NOT NULL, 
	project_id VARCHAR NOT NULL, 
	request JSON NOT NULL, 
	PRIMARY KEY (id)
);

CREATE TABLE repeats (
	id VARCHAR NOT NULL, 
	request VARCHAR NOT NULL, 
	answer BLOB NOT NULL, 
	created_at BIGINT NOT NULL, 
	PRIMARY KEY (id)
);

CREATE TABLE requests (
	id VARCHAR NOT NULL, 
	node VARCHAR NOT NULL, 
	state VARCHAR NOT NULL, 
	time BIGINT NOT NULL, 
	finished_at BIGINT, 
	key_id VARCHAR NOT NULL, 
	"key" VARCHAR NOT NULL, 
	project_id VARCHAR NOT NULL, 
	project VARCHAR, 
	user_id VARCHAR NOT NULL, 
	user VARCHAR, 
	route VARCHAR NOT NULL, 
	provider VARCHAR, 
	model VARCHAR NOT NULL, 
	format VARCHAR NOT NULL, 
	stream BOOLEAN NOT NULL, 
	tags JSON, 
	run VARCHAR, 
	holds JSON, 
	reserved BIGINT NOT NULL, 
	cost BIGINT, 
	certainty VARCHAR, 
	usage JSON, 
	raw_usage JSON, 
	price VARCHAR, 
	status INTEGER, 
	error VARCHAR, 
	attempts JSON, 
	work_id VARCHAR, 
	ms_total FLOAT, 
	ms_first_byte FLOAT, 
	ms_gateway FLOAT, trace_id VARCHAR, certainty_reason VARCHAR, cost_source VARCHAR, list_price BIGINT, refusal JSON, session VARCHAR, agent VARCHAR, agent_parent VARCHAR, agent_name VARCHAR, 
	PRIMARY KEY (id)
);

CREATE TABLE rollups (
	start BIGINT NOT NULL, 
	key_id VARCHAR NOT NULL, 
	project_id VARCHAR NOT NULL, 
	user_id VARCHAR NOT NULL, 
	route VARCHAR NOT NULL, 
	provider VARCHAR NOT NULL, 
	model VARCHAR NOT NULL, 
	requests BIGINT NOT NULL, 
	errors BIGINT NOT NULL, 
	input_tokens BIGINT NOT NULL, 
	output_tokens BIGINT NOT NULL, 
	cache_read_tokens BIGINT NOT NULL, 
	cache_write_tokens BIGINT NOT NULL, 
	cost BIGINT NOT NULL, 
	PRIMARY KEY (start, key_id, project_id, user_id, route, provider, model)
);

CREATE TABLE routes (
	id VARCHAR NOT NULL, 
	name VARCHAR NOT NULL, 
	version INTEGER NOT NULL, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, spec JSON DEFAULT '{}' NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (name)
);

CREATE TABLE runs (
	id VARCHAR NOT NULL, 
	amount BIGINT NOT NULL, 
	created_at BIGINT NOT NULL, 
	PRIMARY KEY (id)
);

CREATE TABLE session_loops (
	key_id VARCHAR NOT NULL, 
	session VARCHAR NOT NULL, 
	kind VARCHAR NOT NULL, 
	found BIGINT NOT NULL, 
	seen_at BIGINT NOT NULL, 
	PRIMARY KEY (key_id, session, kind)
);

CREATE TABLE stopped_sessions (
	key_id VARCHAR NOT NULL, 
	session VARCHAR NOT NULL, 
	stopped_by VARCHAR NOT NULL, 
	stopped_at BIGINT NOT NULL, 
	PRIMARY KEY (key_id, session)
);

CREATE TABLE stored_objects (
	provider VARCHAR NOT NULL, 
	id VARCHAR NOT NULL, 
	kind VARCHAR NOT NULL, 
	key_id VARCHAR NOT NULL, 
	project_id VARCHAR NOT NULL, 
	created_at BIGINT NOT NULL, 
	PRIMARY KEY (provider, id)
);

CREATE TABLE "users" (
	id VARCHAR NOT NULL, 
	name VARCHAR NOT NULL, 
	version INTEGER NOT NULL, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	spec JSON DEFAULT '{}' NOT NULL, 
	subject VARCHAR, 
	PRIMARY KEY (id), 
	CONSTRAINT uq_users_subject UNIQUE (subject), 
	UNIQUE (name)
);

CREATE INDEX ix_requests_time ON requests (time, id);

CREATE INDEX ix_requests_finished ON requests (finished_at, id);

CREATE INDEX ix_requests_key ON requests (key_id, time);

CREATE INDEX ix_repeats_created_at ON repeats (created_at);

CREATE INDEX ix_admin_tokens_admin_id ON admin_tokens (admin_id);

CREATE INDEX ix_rollups_key ON rollups (key_id, start);

CREATE INDEX ix_requests_work ON requests (work_id) WHERE work_id IS NOT NULL;

CREATE INDEX ix_requests_unsure ON requests (state) WHERE state IN ('swept', 'pending');

CREATE INDEX ix_refusals_time ON refusals (time, id);

CREATE INDEX ix_requests_charged ON requests (time) WHERE list_price IS NOT NULL;

CREATE INDEX ix_requests_session ON requests (session, key_id, time) WHERE session IS NOT NULL;

CREATE INDEX ix_keys_user_id ON keys (user_id);

CREATE INDEX ix_keys_project_id ON keys (project_id);

CREATE INDEX ix_raises_limit_id ON raises (limit_id);

CREATE INDEX ix_limit_requests_key_id ON limit_requests (key_id);

CREATE INDEX ix_limit_requests_limit_id ON limit_requests (limit_id);

CREATE INDEX ix_counters_members ON counters (substr(limit_id, 1, 20), window_start);

CREATE INDEX ix_stored_objects_id ON stored_objects (id);

CREATE INDEX ix_batches_work ON batches (provider, work_id);

CREATE INDEX ix_batches_look ON batches (look_at)
