BEGIN TRANSACTION;
CREATE TABLE attempts (
	dataset VARCHAR NOT NULL, 
	"key" VARCHAR NOT NULL, 
	number INTEGER NOT NULL, 
	run VARCHAR NOT NULL, 
	model VARCHAR NOT NULL, 
	bound_nano_usd BIGINT NOT NULL, 
	bound_centineurons BIGINT NOT NULL, 
	state VARCHAR NOT NULL, 
	"end" VARCHAR, 
	actual_nano_usd BIGINT, 
	actual_centineurons BIGINT, 
	sent_at_us BIGINT NOT NULL, 
	resolved_at_us BIGINT, 
	code VARCHAR, 
	message VARCHAR, 
	request_id VARCHAR, 
	PRIMARY KEY (dataset, "key", number)
)
 WITHOUT ROWID

;
INSERT INTO "attempts" VALUES('d1','lost-dec',1,'run-1','model-1',41250000,375000,'unknown','lost',NULL,NULL,1796086800000000,1796092200000000,NULL,'gone',NULL);
INSERT INTO "attempts" VALUES('d1','lost-nov',1,'run-1','model-1',41250000,375000,'unknown','lost',NULL,NULL,1796079600000000,1796085000000000,NULL,'gone',NULL);
INSERT INTO "attempts" VALUES('d1','made-dec',1,'run-1','model-1',41250000,375000,'posted','made',30937500,281250,1796086800000000,1796092200000000,NULL,NULL,'r');
INSERT INTO "attempts" VALUES('d1','made-nov',1,'run-1','model-1',41250000,375000,'posted','made',30937500,281250,1796079600000000,1796085000000000,NULL,NULL,'r');
INSERT INTO "attempts" VALUES('d1','sent-dec',1,'run-1','model-1',41250000,375000,'sent',NULL,NULL,NULL,1796086800000000,NULL,NULL,NULL,NULL);
INSERT INTO "attempts" VALUES('d1','sent-nov',1,'run-1','model-1',41250000,375000,'sent',NULL,NULL,NULL,1796079600000000,NULL,NULL,NULL,NULL);
INSERT INTO "attempts" VALUES('d1','void-dec',1,'run-1','model-1',41250000,375000,'void','throttled',NULL,NULL,1796086800000000,1796092200000000,'3040',NULL,NULL);
INSERT INTO "attempts" VALUES('d1','void-nov',1,'run-1','model-1',41250000,375000,'void','throttled',NULL,NULL,1796079600000000,1796085000000000,'3040',NULL,NULL);
INSERT INTO "attempts" VALUES('d2','made-nov',1,'run-1','model-1',41250000,375000,'posted','made',30937500,281250,1796079600000000,1796085000000000,NULL,NULL,'r');
CREATE TABLE booked_parts (
	dataset VARCHAR NOT NULL, 
	sha256 VARCHAR NOT NULL, 
	PRIMARY KEY (dataset, sha256)
);
INSERT INTO "booked_parts" VALUES('d1','ab');
CREATE TABLE datasets (
	dataset VARCHAR NOT NULL, 
	account VARCHAR NOT NULL, 
	folder VARCHAR NOT NULL, 
	cap_nano_usd BIGINT NOT NULL, 
	spent_nano_usd BIGINT DEFAULT 0 NOT NULL, 
	spent_centineurons BIGINT DEFAULT 0 NOT NULL, 
	reserved_nano_usd BIGINT DEFAULT 0 NOT NULL, 
	reserved_centineurons BIGINT DEFAULT 0 NOT NULL, 
	unknown_nano_usd BIGINT DEFAULT 0 NOT NULL, 
	unknown_centineurons BIGINT DEFAULT 0 NOT NULL, 
	PRIMARY KEY (dataset)
);
INSERT INTO "datasets" VALUES('d1','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','/pictures',412500000,61875000,562500,82500000,750000,82500000,750000);
INSERT INTO "datasets" VALUES('d2','bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb','/others',412500000,30937500,281250,0,0,0,0);
CREATE TABLE learned (
	account VARCHAR NOT NULL, 
	model VARCHAR NOT NULL, 
	in_flight INTEGER NOT NULL, 
	is_goal BOOLEAN NOT NULL, 
	rate_per_minute FLOAT, 
	latency_s FLOAT, 
	PRIMARY KEY (account, model)
);
INSERT INTO "learned" VALUES('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','model-1',8,1,NULL,NULL);
CREATE TABLE paces (
	account VARCHAR NOT NULL, 
	next_at_us BIGINT NOT NULL, 
	PRIMARY KEY (account)
);
INSERT INTO "paces" VALUES('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa',1796079600001000);
CREATE TABLE runs (
	run VARCHAR NOT NULL, 
	dataset VARCHAR NOT NULL, 
	manifest VARCHAR NOT NULL, 
	started_at_us BIGINT NOT NULL, 
	ended_at_us BIGINT, 
	stopped_by VARCHAR, 
	summary VARCHAR, 
	PRIMARY KEY (run)
);
INSERT INTO "runs" VALUES('run-1','d1','prompts.csv',1796079600000000,NULL,NULL,NULL);
CREATE TABLE schema_version (
	version INTEGER NOT NULL, 
	PRIMARY KEY (version)
);
INSERT INTO "schema_version" VALUES(1);
CREATE INDEX open_attempts ON attempts (dataset, state) WHERE state IN ('sent', 'unknown');
COMMIT;
