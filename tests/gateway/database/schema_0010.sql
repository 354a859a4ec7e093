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
	grants JSON NOT NULL, 
	active BOOLEAN NOT NULL, 
	subject VARCHAR, 
	version INTEGER NOT NULL, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (name), 
	UNIQUE (subject)
);
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
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
	"after" JSON, project_id VARCHAR, old_project_id VARCHAR, 
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
CREATE TABLE keys (
	id VARCHAR NOT NULL, 
	name VARCHAR NOT NULL, 
	hash VARCHAR NOT NULL, 
	hint VARCHAR NOT NULL, 
	secret VARCHAR, 
	project_id VARCHAR, 
	user_id VARCHAR, 
	state VARCHAR NOT NULL, 
	expires_at BIGINT, 
	routes JSON, 
	models JSON, 
	version INTEGER NOT NULL, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (name), 
	UNIQUE (hash)
);
CREATE TABLE limits (
	id VARCHAR NOT NULL, 
	owner_kind VARCHAR NOT NULL, 
	owner_id VARCHAR NOT NULL, 
	unit VARCHAR NOT NULL, 
	window VARCHAR NOT NULL, 
	amount BIGINT NOT NULL, 
	soft BOOLEAN NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (owner_kind, owner_id, unit, window)
);
CREATE TABLE meta (
	name VARCHAR NOT NULL, 
	value BIGINT NOT NULL, 
	PRIMARY KEY (name)
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
	updated_at BIGINT NOT NULL, telemetry JSON, 
	PRIMARY KEY (id), 
	UNIQUE (name)
);
CREATE TABLE providers (
	id VARCHAR NOT NULL, 
	name VARCHAR NOT NULL, 
	kind VARCHAR NOT NULL, 
	base_url VARCHAR, 
	credential VARCHAR, 
	secret BLOB, 
	options JSON NOT NULL, 
	version INTEGER NOT NULL, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, credentials JSON, 
	PRIMARY KEY (id), 
	UNIQUE (name)
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
	node_id VARCHAR NOT NULL, 
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
	ms_gateway FLOAT, trace_id VARCHAR, 
	PRIMARY KEY (id)
);
CREATE TABLE rollups (
	hour BIGINT NOT NULL, 
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
	PRIMARY KEY (hour, key_id, project_id, user_id, route, provider, model)
);
CREATE TABLE routes (
	id VARCHAR NOT NULL, 
	name VARCHAR NOT NULL, 
	members JSON NOT NULL, 
	options JSON NOT NULL, 
	version INTEGER NOT NULL, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (name)
);
CREATE TABLE runs (
	id VARCHAR NOT NULL, 
	amount BIGINT NOT NULL, 
	created_at BIGINT NOT NULL, 
	PRIMARY KEY (id)
);
CREATE TABLE users (
	id VARCHAR NOT NULL, 
	name VARCHAR NOT NULL, 
	version INTEGER NOT NULL, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (name)
);
CREATE INDEX ix_keys_project_id ON keys (project_id);
CREATE INDEX ix_keys_user_id ON keys (user_id);
CREATE INDEX ix_requests_open ON requests (state, node_id);
CREATE INDEX ix_requests_time ON requests (time, id);
CREATE INDEX ix_requests_finished ON requests (finished_at, id);
CREATE INDEX ix_requests_key ON requests (key_id, time);
CREATE INDEX ix_requests_work ON requests (work_id);
CREATE INDEX ix_repeats_created_at ON repeats (created_at);
CREATE INDEX ix_admin_tokens_admin_id ON admin_tokens (admin_id);
CREATE INDEX ix_rollups_key ON rollups (key_id, hour);
INSERT INTO "alembic_version" VALUES('0010');
