BEGIN TRANSACTION;
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
INSERT INTO "admin_tokens" VALUES('tok_1005c4ae040449b5','adm_326186d5f4a32385','laptop','fa8597417dae5bb2258e24831808bb79cf0db471fdd07f30f9b621808af240ba','paig_admin_XlWa',0,'["catalog:read"]',NULL,1796017974913);
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
INSERT INTO "admins" VALUES('adm_326186d5f4a32385','eve','[{"role": "viewer", "project_id": null}, {"role": "editor", "project_id": "proj_2d5d8188dbad5a32"}]',1,NULL,1,1796017974894,1796017974894);
INSERT INTO "admins" VALUES('adm_a284a2ebca99dd11','off','[]',0,NULL,1,1796017974910,1796017974910);
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0010');
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
INSERT INTO "audit" VALUES('aud_000000000001000000',1796017974731,'old','create','provider','openai','null','{"kind": "openai", "credential": "value:<new>", "inject_cost": false, "timeouts": {"connect": 3.0}}',NULL,NULL);
INSERT INTO "audit" VALUES('aud_000000000002000000',1796017974754,'old','create','provider','azure','null','{"kind": "azure", "base_url": "https://x.openai.azure.com", "credentials": ["env:AZURE_KEY", "value:<new>", "value:<new>"], "api_version": "2024-10-21"}',NULL,NULL);
INSERT INTO "audit" VALUES('aud_000000000003000000',1796017974757,'old','create','provider','groq','null','{"kind": "groq", "credential": "env:GROQ_KEY"}',NULL,NULL);
INSERT INTO "audit" VALUES('aud_000000000004000000',1796017974770,'old','create','route','fast','null','{"members": [{"provider": "groq", "priority": 10, "weight": 3}, {"provider": "openai", "models": {"a": "b"}}], "choice": "latency"}',NULL,NULL);
INSERT INTO "audit" VALUES('aud_000000000005000000',1796017974782,'old','create','price','mine','null','{"model": "my-*", "provider": "groq", "input_mtok": "1.5", "output_mtok": "2"}',NULL,NULL);
INSERT INTO "audit" VALUES('aud_000000000006000000',1796017974798,'old','create','project','research','null','{"limits": {"daily": "2.5", "requests_per_minute": 60}, "telemetry": {"content": true, "redact": ["[0-9]{16}"]}}','proj_2d5d8188dbad5a32',NULL);
INSERT INTO "audit" VALUES('aud_000000000007000000',1796017974826,'old','create','user','ada','null','{"limits": {"weekly": "7", "soft": true}}',NULL,NULL);
INSERT INTO "audit" VALUES('aud_000000000008000000',1796017974842,'old','create','key','ci','null','{"project": "research", "user": "ada", "routes": ["fast", "openai"], "models": ["gpt-5*"], "limits": {"total": "20"}, "expires_at": "2030-01-31T00:00:00Z", "secret": "value:<new>"}','proj_2d5d8188dbad5a32',NULL);
INSERT INTO "audit" VALUES('aud_000000000009000000',1796017974866,'old','create','key','plain','null','{}',NULL,NULL);
INSERT INTO "audit" VALUES('aud_00000000000a000000',1796017974878,'old','update','organisation','organisation','{}','{"monthly": "100"}',NULL,NULL);
INSERT INTO "audit" VALUES('aud_00000000000b000000',1796017974894,'old','create','admin','eve','null','{"grants": [{"role": "viewer"}, {"role": "editor", "project": "research"}]}',NULL,NULL);
INSERT INTO "audit" VALUES('aud_00000000000c000000',1796017974910,'old','create','admin','off','null','{"active": false}',NULL,NULL);
INSERT INTO "audit" VALUES('aud_00000000000d000000',1796017974913,'old','create','token','eve/laptop','null','{"hint": "paig_admin_XlWa", "scopes": ["catalog:read"], "expires_at": null}',NULL,NULL);
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
INSERT INTO "counters" VALUES('lim_cbffc33b550b6a1a',1795996800,0,0);
INSERT INTO "counters" VALUES('lim_c849c06b1564e6f1',1795996800,0,0);
INSERT INTO "counters" VALUES('lim_83944d2a48d2a020',0,0,0);
INSERT INTO "counters" VALUES('lim_1ef0e47d100c165f',1793491200,0,0);
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
INSERT INTO "keys" VALUES('key_7377bf78cb0e0191','ci','d6a09515ae5d53cf662e837f08d32c7a5d4a9c2645c7b4dae52cf38d907dccf1','a-key','value:<stored>','proj_2d5d8188dbad5a32','user_c44117be8cbd4cc5','active',1896048000000,'["fast", "openai"]','["gpt-5*"]',1,1796017974842,1796017974842);
INSERT INTO "keys" VALUES('key_72f9560eb2df7aea','plain','db297c3e637b8fa7670e4834ba33fe5a1bde7ea9cda1616080bf71d5ac14bac9','paig_gI75',NULL,NULL,NULL,'active',NULL,'null','null',1,1796017974866,1796017974866);
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
INSERT INTO "limits" VALUES('lim_cbffc33b550b6a1a','project','proj_2d5d8188dbad5a32','usd','daily',2500000000,0);
INSERT INTO "limits" VALUES('lim_acd1b2a2aef66b86','project','proj_2d5d8188dbad5a32','requests','minute',60,0);
INSERT INTO "limits" VALUES('lim_c849c06b1564e6f1','user','user_c44117be8cbd4cc5','usd','weekly',7000000000,1);
INSERT INTO "limits" VALUES('lim_83944d2a48d2a020','key','key_7377bf78cb0e0191','usd','total',20000000000,0);
INSERT INTO "limits" VALUES('lim_1ef0e47d100c165f','organisation','','usd','monthly',100000000000,0);
CREATE TABLE meta (
	name VARCHAR NOT NULL, 
	value BIGINT NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "meta" VALUES('directory_version',13);
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
INSERT INTO "prices" VALUES('price_8287398257e3e55a','mine','{"model": "my-*", "provider": "groq", "input_mtok": "1.5", "output_mtok": "2"}',1,1796017974782,1796017974782);
CREATE TABLE projects (
	id VARCHAR NOT NULL, 
	name VARCHAR NOT NULL, 
	version INTEGER NOT NULL, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, telemetry JSON, 
	PRIMARY KEY (id), 
	UNIQUE (name)
);
INSERT INTO "projects" VALUES('proj_2d5d8188dbad5a32','research',1,1796017974798,1796017974798,'{"content": true, "redact": ["[0-9]{16}"]}');
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
INSERT INTO "providers" VALUES('prov_f5c4d66148f903dc','openai','openai',NULL,NULL,X'6741414141414272445138322D555267727A463973495763336C2D71766A32436C7372666A446C513263682D58495467425637505A7030736C4453505A2D674E754653706F694C6B3939546B52454235337254745048303966733534424C2D3155513D3D','{"inject_cost": false, "timeouts": {"connect": 3.0}}',1,1796017974731,1796017974731,'null');
INSERT INTO "providers" VALUES('prov_ec3156de096c2d2c','azure','azure','https://x.openai.azure.com',NULL,NULL,'{"api_version": "2024-10-21"}',1,1796017974754,1796017974754,'[{"reference": "env:AZURE_KEY"}, {"secret": "gAAAAABrDQ82seE2gG20pxGdkCxO4M__9t1Pel0z8SPPEZ428nnvtr3_NSUzzn3YA-be4ed4eixfYtWxywudJ_t9BCPq_MKBvQ=="}, {"secret": "gAAAAABrDQ825LM7ZI6SFbXWyb0zI5bH20HFlwokcWmvZPyExcofN0O1I4qBs6vrckcIO3UrtttlB47cECKDUlHsQ28Js5bicg=="}]');
INSERT INTO "providers" VALUES('prov_0db01c6ca808a031','groq','groq',NULL,'env:GROQ_KEY',NULL,'{}',1,1796017974757,1796017974757,'null');
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
INSERT INTO "routes" VALUES('rte_dcc747d9f8733a8f','fast','[{"provider": "groq", "priority": 10, "weight": 3}, {"provider": "openai", "models": {"a": "b"}}]','{"choice": "latency"}',1,1796017974770,1796017974770);
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
INSERT INTO "users" VALUES('user_c44117be8cbd4cc5','ada',1,1796017974826,1796017974826);
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
COMMIT;