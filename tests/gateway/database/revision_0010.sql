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
INSERT INTO "counters" VALUES('lim_day',1795392000,3278,2000);
INSERT INTO "counters" VALUES('lim_pace',1795435380,30,0);
INSERT INTO "counters" VALUES('lim_pace',1795436280,30,0);
INSERT INTO "counters" VALUES('lim_pace',1795437180,30,0);
INSERT INTO "counters" VALUES('lim_pace',1795438080,30,0);
INSERT INTO "counters" VALUES('lim_pace',1795438980,30,0);
INSERT INTO "counters" VALUES('lim_pace',1795439880,30,0);
INSERT INTO "counters" VALUES('lim_pace',1795435200,15,0);
INSERT INTO "counters" VALUES('lim_pace',1795436400,0,100);
INSERT INTO "counters" VALUES('run:key_ci:nightly',0,0,1000);
INSERT INTO "counters" VALUES('lim_pace',1795436460,0,100);
INSERT INTO "counters" VALUES('lim_pace',1795436520,100,0);
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
INSERT INTO "limits" VALUES('lim_day','key','key_ci','usd','daily',1000000000,0);
CREATE TABLE meta (
	name VARCHAR NOT NULL, 
	value BIGINT NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "meta" VALUES('ledger_clock',1795435200014);
CREATE TABLE nodes (
	id VARCHAR NOT NULL, 
	host VARCHAR NOT NULL, 
	pid INTEGER NOT NULL, 
	started_at BIGINT NOT NULL, 
	beat_at BIGINT NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "nodes" VALUES('node_old','far-away old-boot/old-namespace 4711',42,1795435200000,1795435200000);
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
INSERT INTO "requests" VALUES('req_00000001','node_old','settled',1795435380000,1795435200000,'key_ci','ci','proj_lab','lab','user_ada','ada','openai','openai','gpt-5','openai-chat',0,'{"customer":"acmé"}',NULL,'[["lim_day",1795392000,1000,"usd"],["lim_pace",1795435380,100,"tokens"]]',1000,101,'exact','{"input_tokens":10,"output_tokens":5}','{"prompt_tokens":10}','openai/gpt-5',200,NULL,'[{"provider":"openai","model":"gpt-5","status":200,"error":null,"cost":"0","ms":1.0}]',NULL,NULL,NULL,NULL,NULL);
INSERT INTO "requests" VALUES('req_00000002','node_old','settled',1795435380000,1795435200001,'key_ci','ci','proj_lab','lab','user_ada','ada','openai','openai','gpt-5','openai-chat',1,'{"customer":"acmé"}',NULL,'[["lim_day",1795392000,1000,"usd"],["lim_pace",1795435380,100,"tokens"]]',1000,102,'exact','{"input_tokens":10,"output_tokens":5}','{"prompt_tokens":10}','openai/gpt-5',200,NULL,'[{"provider":"openai","model":"gpt-5","status":200,"error":null,"cost":"0","ms":1.0}]',NULL,NULL,NULL,NULL,NULL);
INSERT INTO "requests" VALUES('req_00000003','node_old','settled',1795436280000,1795435200002,'key_ci','ci','proj_lab','lab','user_ada','ada','openai','openai','gpt-5','openai-chat',0,'{"customer":"acmé"}',NULL,'[["lim_day",1795392000,1000,"usd"],["lim_pace",1795436280,100,"tokens"]]',1000,103,'exact','{"input_tokens":10,"output_tokens":5}','{"prompt_tokens":10}','openai/gpt-5',200,NULL,'[{"provider":"openai","model":"gpt-5","status":200,"error":null,"cost":"0","ms":1.0}]',NULL,NULL,NULL,NULL,NULL);
INSERT INTO "requests" VALUES('req_00000004','node_old','settled',1795436280000,1795435200003,'key_ci','ci','proj_lab','lab','user_ada','ada','openai','openai','gpt-5','openai-chat',1,'{"customer":"acmé"}',NULL,'[["lim_day",1795392000,1000,"usd"],["lim_pace",1795436280,100,"tokens"]]',1000,104,'exact','{"input_tokens":10,"output_tokens":5}','{"prompt_tokens":10}','openai/gpt-5',200,NULL,'[{"provider":"openai","model":"gpt-5","status":200,"error":null,"cost":"0","ms":1.0}]',NULL,NULL,NULL,NULL,NULL);
INSERT INTO "requests" VALUES('req_00000005','node_old','settled',1795437180000,1795435200004,'key_ci','ci','proj_lab','lab','user_ada','ada','openai','openai','gpt-5','openai-chat',0,'{"customer":"acmé"}',NULL,'[["lim_day",1795392000,1000,"usd"],["lim_pace",1795437180,100,"tokens"]]',1000,105,'exact','{"input_tokens":10,"output_tokens":5}','{"prompt_tokens":10}','openai/gpt-5',200,NULL,'[{"provider":"openai","model":"gpt-5","status":200,"error":null,"cost":"0","ms":1.0}]',NULL,NULL,NULL,NULL,NULL);
INSERT INTO "requests" VALUES('req_00000006','node_old','settled',1795437180000,1795435200005,'key_ci','ci','proj_lab','lab','user_ada','ada','openai','openai','gpt-5','openai-chat',1,'{"customer":"acmé"}',NULL,'[["lim_day",1795392000,1000,"usd"],["lim_pace",1795437180,100,"tokens"]]',1000,106,'exact','{"input_tokens":10,"output_tokens":5}','{"prompt_tokens":10}','openai/gpt-5',200,NULL,'[{"provider":"openai","model":"gpt-5","status":200,"error":null,"cost":"0","ms":1.0}]',NULL,NULL,NULL,NULL,NULL);
INSERT INTO "requests" VALUES('req_00000007','node_old','settled',1795438080000,1795435200006,'key_ci','ci','proj_lab','lab','user_ada','ada','openai','openai','gpt-5','openai-chat',0,'{"customer":"acmé"}',NULL,'[["lim_day",1795392000,1000,"usd"],["lim_pace",1795438080,100,"tokens"]]',1000,107,'exact','{"input_tokens":10,"output_tokens":5}','{"prompt_tokens":10}','openai/gpt-5',200,NULL,'[{"provider":"openai","model":"gpt-5","status":200,"error":null,"cost":"0","ms":1.0}]',NULL,NULL,NULL,NULL,NULL);
INSERT INTO "requests" VALUES('req_00000008','node_old','settled',1795438080000,1795435200007,'key_ci','ci','proj_lab','lab','user_ada','ada','openai','openai','gpt-5','openai-chat',1,'{"customer":"acmé"}',NULL,'[["lim_day",1795392000,1000,"usd"],["lim_pace",1795438080,100,"tokens"]]',1000,108,'exact','{"input_tokens":10,"output_tokens":5}','{"prompt_tokens":10}','openai/gpt-5',200,NULL,'[{"provider":"openai","model":"gpt-5","status":200,"error":null,"cost":"0","ms":1.0}]',NULL,NULL,NULL,NULL,NULL);
INSERT INTO "requests" VALUES('req_00000009','node_old','settled',1795438980000,1795435200008,'key_ci','ci','proj_lab','lab','user_ada','ada','openai','openai','gpt-5','openai-chat',0,'{"customer":"acmé"}',NULL,'[["lim_day",1795392000,1000,"usd"],["lim_pace",1795438980,100,"tokens"]]',1000,109,'exact','{"input_tokens":10,"output_tokens":5}','{"prompt_tokens":10}','openai/gpt-5',200,NULL,'[{"provider":"openai","model":"gpt-5","status":200,"error":null,"cost":"0","ms":1.0}]',NULL,NULL,NULL,NULL,NULL);
INSERT INTO "requests" VALUES('req_00000010','node_old','settled',1795438980000,1795435200009,'key_ci','ci','proj_lab','lab','user_ada','ada','openai','openai','gpt-5','openai-chat',1,'{"customer":"acmé"}',NULL,'[["lim_day",1795392000,1000,"usd"],["lim_pace",1795438980,100,"tokens"]]',1000,110,'exact','{"input_tokens":10,"output_tokens":5}','{"prompt_tokens":10}','openai/gpt-5',200,NULL,'[{"provider":"openai","model":"gpt-5","status":200,"error":null,"cost":"0","ms":1.0}]',NULL,NULL,NULL,NULL,NULL);
INSERT INTO "requests" VALUES('req_00000011','node_old','settled',1795439880000,1795435200010,'key_ci','ci','proj_lab','lab','user_ada','ada','openai','openai','gpt-5','openai-chat',0,'{"customer":"acmé"}',NULL,'[["lim_day",1795392000,1000,"usd"],["lim_pace",1795439880,100,"tokens"]]',1000,111,'exact','{"input_tokens":10,"output_tokens":5}','{"prompt_tokens":10}','openai/gpt-5',200,NULL,'[{"provider":"openai","model":"gpt-5","status":200,"error":null,"cost":"0","ms":1.0}]',NULL,NULL,NULL,NULL,NULL);
INSERT INTO "requests" VALUES('req_00000012','node_old','settled',1795439880000,1795435200011,'key_ci','ci','proj_lab','lab','user_ada','ada','openai','openai','gpt-5','openai-chat',1,'{"customer":"acmé"}',NULL,'[["lim_day",1795392000,1000,"usd"],["lim_pace",1795439880,100,"tokens"]]',1000,112,'exact','{"input_tokens":10,"output_tokens":5}','{"prompt_tokens":10}','openai/gpt-5',200,NULL,'[{"provider":"openai","model":"gpt-5","status":200,"error":null,"cost":"0","ms":1.0}]',NULL,NULL,NULL,NULL,NULL);
INSERT INTO "requests" VALUES('req_00000013','node_old','pending',1795435200000,1795435200012,'key_ci','ci','proj_lab','lab','user_ada','ada','openai','openai','gpt-5','openai-chat',0,NULL,NULL,'[["lim_day",1795392000,1000,"usd"],["lim_pace",1795435200,100,"tokens"]]',1000,1000,'ceiling','{"input_tokens":10,"output_tokens":5}','{"prompt_tokens":10}','openai/gpt-5',200,NULL,'[{"provider":"openai","model":"gpt-5","status":200,"error":null,"cost":"0","ms":1.0}]','resp_1',NULL,NULL,NULL,NULL);
INSERT INTO "requests" VALUES('req_00000014','node_old','settled',1795435200000,1795435200013,'key_ci','ci','proj_lab','lab','user_ada','ada','openai','openai','gpt-5','openai-chat',1,NULL,NULL,NULL,0,0,NULL,NULL,NULL,NULL,402,'limit-exceeded',NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "requests" VALUES('req_00000015','node_old','open',1795436400000,NULL,'key_ci','ci','proj_lab','lab','user_ada','ada','openai','openai','gpt-5','openai-chat',0,NULL,'nightly','[["lim_day",1795392000,1000,"usd"],["lim_pace",1795436400,100,"tokens"],["run:key_ci:nightly",0,1000,"usd"]]',1000,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'00000000000000000000000000000000');
INSERT INTO "requests" VALUES('req_00000016','node_old','open',1795436460000,NULL,'key_ci','ci','proj_lab','lab','user_ada','ada','openai','openai','gpt-5','openai-chat',1,'{"a":"b"}',NULL,'[["lim_day",1795392000,1000,"usd"],["lim_pace",1795436460,100,"tokens"]]',1000,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "requests" VALUES('req_00000017','node_old','swept',1795436520000,1795435200014,'key_ci','ci','proj_lab','lab','user_ada','ada','openai','openai','gpt-5','openai-chat',0,NULL,NULL,'[["lim_day",1795392000,1000,"usd"],["lim_pace",1795436520,100,"tokens"]]',1000,1000,'ceiling',NULL,NULL,NULL,NULL,'node-lost',NULL,NULL,NULL,NULL,NULL,NULL);
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
INSERT INTO "rollups" VALUES(1795435200000,'key_ci','proj_lab','user_ada','openai','openai','gpt-5',11,2,90,45,0,0,2836);
INSERT INTO "rollups" VALUES(1795438800000,'key_ci','proj_lab','user_ada','openai','openai','gpt-5',4,0,40,20,0,0,442);
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
INSERT INTO "runs" VALUES('run:key_ci:nightly',100000000,1795435200000);
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
COMMIT;
